"""Rewriting weights layer after layer, each on what the layers before it now make."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar, cast

from ocompress.ir import Facet, Model, Node
from ocompress.lossy.applying import twins_of
from ocompress.lossy.engine import Chosen, Plan, Proposal, Reason
from ocompress.lossy.layer_weights import LayerWeight, Rules, collect, weight_of
from ocompress.lossy.refit import Built, Job, refit
from ocompress.pipeline import Context, Outcome


class Rewrite(Protocol):
    """An edit that gives a weight other values."""

    @property
    def readers(self) -> tuple[str, ...]:
        """Labels of the nodes that read the weight."""
        ...

    @property
    def index(self) -> int:
        """Which input of the first of them it is."""
        ...

    @property
    def seen(self) -> bool:
        """Whether data tell what its layers read."""
        ...


E = TypeVar("E", bound=Rewrite)
R = TypeVar("R")


@dataclass(frozen=True)
class Walked(Built, Generic[R]):
    """A model with other weights.

    Attributes:
        rows: What became of each part.
    """

    rows: Mapping[str, R] = field(default_factory=dict)


def walk(
    model: Model,
    plan: Plan,
    kind: type[E],
    ctx: Context | None,
    job: Callable[[str, E, Sequence[Node], dict[str, R]], Job],
    alone: Callable[[Model, E], R | None],
    others: Callable[[Model], Sequence[Job]] = lambda _: (),
    prepare: Callable[[Model], None] = lambda _: None,
) -> Walked[R]:
    """Rewrite weights of a clone.

    Args:
        model: Not changed.
        plan: What becomes of each part.
        kind: The edits of it that count.
        ctx: Has the data that the layers are fitted to; None rewrites each weight by itself.
        job: Given a part, its edit, the nodes that read its weight and where to note what became
            of it, returns what fits its layers.
        alone: Rewrites a weight by itself and says what became of it; None if there is none.
        others: Returns what else of the clone is fitted, where there are data.
        prepare: Changes the clone before anything is fitted; the layers keep their labels.
    """
    edits = {part: cast("E", m.edit) for part, m in plan.items() if isinstance(m.edit, kind)}
    clone = model.clone()
    twins = twins_of(clone, model)
    prepare(clone)
    by_label = {n.label: n for _, n in clone.nodes()}
    made: dict[str, R] = {}
    fits = {}
    if ctx is not None:
        jobs = [
            job(part, edit, [by_label[r] for r in edit.readers], made)
            for part, edit in edits.items()
            if edit.seen and all(r in by_label for r in edit.readers)
        ]
        found = refit(model, clone, twins, [*jobs, *others(clone)], ctx)
        labels = {id(n): n.label for n in clone.graph.nodes}
        fits = {labels[key]: one for key, one in found.items()}
    for part, edit in edits.items():
        row = alone(clone, edit) if part not in made else None
        if row is not None:
            made[part] = row
    return Walked(clone, fits, frozenset(made), made)


def read_by(model: Model, edit: Rewrite) -> LayerWeight | None:
    """Return the weight that an edit rewrites; None if the model has none there."""
    node = model.labelled(edit.readers[0])
    found = weight_of(node) if node is not None else None
    return None if node is None or found is None else LayerWeight(*found, [node])


def collected(model: Model, rules: Rules, ctx: Context) -> list[LayerWeight]:
    """Return the weights to rewrite, in order of first use; each other one gets a remark."""
    found = []
    for weight in collect(model, rules, ctx):
        if weight.array.any():
            found.append(weight)
        else:
            ctx.skip_each(weight.nodes, ALL_ZERO.code, ALL_ZERO.why)
    return found


ALL_ZERO = Reason("all-zero", "all its weights are zero")
NOT_CHOSEN = Reason("not-chosen", "other weights save more at the same cost")


def finish(
    model: Model,
    weights: Sequence[LayerWeight],
    proposal: Proposal,
    chosen: Chosen,
    ctx: Context,
    details: dict[str, Any],
    done: str,
) -> Outcome:
    """Say of each weight that stays why, and let the model become the new one.

    Args:
        model: As it was; changed in place.
        weights: Those that were looked at.
        proposal: Knows reasons.
        chosen: What came of it.
        ctx: Is told.
        details: What the report holds.
        done: What is counted, for people.
    """
    for weight in weights:
        if weight.name not in chosen.plan:
            reason = proposal.reasons.get(weight.name, NOT_CHOSEN)
            ctx.skip_each(weight.nodes, reason.code, reason.why)
    if chosen.built is None:
        return Outcome(details=details)
    changed = Facet.WEIGHTS
    if _inputs(chosen.built.model) != _inputs(model):  # a bias makes up for a mean
        changed |= Facet.TOPOLOGY | Facet.NAMES
    model.become(chosen.built.model)
    return Outcome(changed, {done: len(chosen.built.done)}, details)


def _inputs(model: Model) -> int:
    return sum(len(node.inputs) for _, node in model.nodes())

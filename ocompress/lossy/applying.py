"""Making the model of chosen moves, and saying what was done: what most passes need."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ocompress.analysis.linear_rows import Site, site_of
from ocompress.ir import Model, Node
from ocompress.lossy.ablation import cost_together
from ocompress.lossy.layer_times import measured
from ocompress.lossy.refit import Built, Job, refit
from ocompress.pipeline import Context, Outcome
from ocompress.planning import Move

if TYPE_CHECKING:
    from ocompress.lossy.engine import Chosen, LossyPass, Proposal


def build(model: Model, plan: Mapping[str, Move], ctx: Context, *, fit: bool) -> Built:
    """Apply edits to a clone; fit the layers behind to what the original's layers make.

    Layers that a move changed keep what it gave them: a fit would take them off their grid.

    Args:
        model: Not changed.
        plan: The moves, by part.
        ctx: Has the data.
        fit: Whether layers are fitted.
    """
    clone = model.clone()
    twins = twins_of(clone, model)
    done = {part for part, move in plan.items() if move.edit and move.edit.apply(clone)}
    clone.sort()
    changed = {n.label for n in clone.graph.nodes if n.label in done}
    # of parts that are no layers it is not known what stands behind
    if not fit or not done or changed != done:
        return Built(clone, done=frozenset(done))
    jobs = jobs_behind(clone, changed, done)
    labels = {id(n): n.label for n in clone.graph.nodes}
    fits = refit(model, clone, twins, jobs, ctx)
    return Built(clone, {labels[key]: made for key, made in fits.items()}, frozenset(done))


def twins_of(clone: Model, model: Model) -> dict[int, Node]:
    """Return the original's node by id of its clone's; the clone must still be as it was made."""
    pairs = zip(clone.graph.nodes, model.graph.nodes, strict=True)
    return {id(node): twin for node, twin in pairs}


def jobs_behind(
    model: Model, first: Iterable[str], without: Iterable[str] = (), *, masked: bool = True
) -> list[Job]:
    """Return a job for every weight whose layers all come behind the first of some nodes.

    Args:
        model: Sorted.
        first: Labels of nodes that were changed; none means that every layer is fitted.
        without: Labels of layers that are not fitted.
        masked: Whether weights that are zero stay zero.
    """
    changed, left = set(first), set(without)
    place = next((at for at, n in enumerate(model.graph.nodes) if n.label in changed), -1)
    jobs: dict[int, list[Node]] = {}
    for at, node in enumerate(model.graph.nodes):
        site = site_of(node)
        if isinstance(site, Site):
            readers = jobs.setdefault(id(node.inputs[site.layer.weight_at]), [])
            readers.append(node)
            if at <= place or node.label in left:
                left.update(n.label for n in readers)
    open_ = [nodes for nodes in jobs.values() if not any(n.label in left for n in nodes)]
    return [Job(nodes, masked=masked, by_place=not masked) for nodes in open_]


def finish(
    item: LossyPass, model: Model, proposal: Proposal, chosen: Chosen, ctx: Context
) -> Outcome:
    """Say of each part what was done or why nothing, and let the model become the new one."""
    plan, built = chosen.plan, chosen.built
    done = set(plan) & built.done if built is not None else set[str]()
    nodes = {n.label: n for _, n in model.nodes()}
    times = measured(model, built.model, ctx) if built is not None and done else None
    rows: list[dict[str, Any]] = []
    for part, labels in proposal.layers.items():
        row: dict[str, Any] = {"name": part}
        own = [nodes[label] for label in labels if label in nodes]
        if part in done:
            move = plan[part]
            row |= {"method": move.method, "setting": move.setting, "predicted_error": move.error}
            if own:
                ctx.applied(own[0], item.name, f"{move.method}, {move.setting}")
        elif own:
            reason = proposal.reasons.get(part)
            code, why = (reason.code, reason.why) if reason is not None else _NOT_CHOSEN
            ctx.skip_each(own, code, why)
            row |= {"code": code, "why": why}
        rows.append(row | (proposal.times_of(part, times) if times is not None else {}))
    details: dict[str, Any] = {"moves": rows}
    if built is None or not done:
        return Outcome(details=details)
    details |= together(model, built, sum(plan[part].error for part in done), ctx)
    model.become(built.model)
    return Outcome(item.may_change, {f"{item.noun} made": len(done)}, details)


_NOT_CHOSEN = ("not-chosen", "others save more at the same cost")


def together(
    model: Model, built: Built, predicted: float, ctx: Context, *, judge: bool = True
) -> dict[str, Any]:
    """Return what the report says of all moves together.

    Args:
        model: As it was.
        built: What became of it; what fitting did is told.
        predicted: What all moves were thought to cost.
        ctx: Has the data.
        judge: Whether what they do cost is measured, where there are data.
    """
    found: dict[str, Any] = {}
    if built.fits:
        found["fits"] = [
            {"name": name, "output_error": fit.before, "refitted_error": fit.after}
            for name, fit in built.fits.items()
        ]
    reached = cost_together(model, built.model, ctx) if judge and ctx.has_data else None
    if reached is not None:
        found["error"] = {"predicted": predicted, "reached": reached}
    return found

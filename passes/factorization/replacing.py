"""What all passes share that put chains in place of layers: survey, choice, proof."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from ocompress.diagnostics import Severity
from ocompress.errors import OptionError, RuntimeFailureError
from ocompress.ir import Facet, Model, Node
from ocompress.pipeline import Context, Numerics, Outcome, Pass, option
from ocompress.planning import CandidateTable, Resource
from ocompress.profiling import time_layers
from passes.factorization.building import Builder, Built, Target
from passes.factorization.forms import Form
from passes.factorization.layers import survey
from passes.factorization.offers import Offer, offers
from passes.pruning import candidates
from passes.reconstruction.budget_search import FASTER, BudgetSearch
from passes.reconstruction.trying import Trial, tried

_OPERATORS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_SMALLEST = 256
_ERROR = 0.01
"""Error that is spent if nothing says how much: a hundredth of a nat, about."""

Plan = dict[str, int]
"""Position of the candidate of each part that is changed."""


@dataclass
class Choices:
    """All candidates of all layers.

    Attributes:
        table: Their errors, sizes and times.
        offers: What makes them, at the same places.
        minds: What an error of each output costs, by part.
        parts: Labels of the nodes of each part.
        by: What is saved: time where it was measured, else multiply-accumulates.
    """

    table: CandidateTable
    offers: dict[str, list[Offer]]
    minds: dict[str, np.ndarray]
    parts: dict[str, list[str]]
    by: Resource

    def targets(self, plan: Mapping[str, int]) -> dict[str, Target]:
        """Return what becomes of the parts that a plan changes."""
        found = {}
        for part, at in plan.items():
            offer = self.offers[part][at]
            if offer.form is not None:
                found[part] = Target(offer.form, offer.ranks, self.minds[part])
        return found


class Replace(Pass):
    """Put chains of cheaper layers in place of layers; the forms are a matter of the subclass."""

    name: ClassVar[str] = ""
    numerics = Numerics.LOSSY
    may_change = Facet.TOPOLOGY | Facet.WEIGHTS | Facet.NAMES

    max_macs: float = option(
        0.0,
        help="Multiply-accumulates that may be left, relative to before; 0 for any.",
        at_least=0,
        at_most=1,
    )
    max_error: float = option(
        0.0,
        help="Error that may be spent in all, as twice the divergence from the original in nats "
        "(noise over signal where outputs are no scores); 0 leaves it to the budget.",
        at_least=0,
    )
    exclude: tuple[str, ...] = option((), help="Globs of node names that stay as they are.")
    refit: bool = option(True, help="With data, fit factors and the layers behind.")

    def forms(self) -> Sequence[Form]:
        """Return the forms that are tried."""
        raise NotImplementedError

    def run(self, model: Model, ctx: Context) -> Outcome:
        """Replace layers.

        Raises:
            OptionError: If a name pattern matches nothing.
        """
        names = [n.label for _, n in model.nodes()]
        wrong = candidates.check_patterns("exclude", self.exclude, names)
        if wrong is not None:
            raise OptionError(wrong.replace("prune:", f"{self.name}:", 1))
        rules = candidates.Rules(_OPERATORS, self.exclude, False, False, _SMALLEST)
        weights = candidates.collect(model, rules, ctx)
        choices = self._survey(model, weights, ctx)
        if not choices.table.rows:
            return Outcome()
        builder = Builder(model, choices.parts, self.refit and ctx.has_data, ctx)
        plan, built = self._choose(choices, builder, ctx)
        return self._finish(model, choices, plan, built, ctx)

    def _survey(
        self, model: Model, weights: Sequence[candidates.Candidate], ctx: Context
    ) -> Choices:
        timed = any(g.kind == "latency" for g in ctx.guards)
        choices = Choices(CandidateTable(), {}, {}, {}, "ms" if timed else "macs")
        trials: dict[str, Trial] = {}
        multiple = ctx.target.channel_multiple
        stage = f"{ctx.source}: trying forms"
        for done, layer in enumerate(survey(model, weights, ctx), 1):
            ctx.progress(stage, done, len(weights))
            found = offers(layer, self.forms(), multiple, model.opset, timed=timed, seed=ctx.seed)
            if timed and found.rows[0].row.ms is None:
                ctx.skip(layer.site.node, "not-timed", "this runtime cannot run it alone")
                continue
            part = layer.name
            choices.offers[part] = found.rows
            choices.minds[part] = np.stack([p.scale**2 for p in layer.problems])
            choices.parts[part] = [s.node.label for s in layer.sites]
            if found.probe is not None:
                trials[part] = found.probe
            if len(found.rows) == 1:
                why = "no form has fewer weights and less to multiply without losing half of it"
                ctx.skip(layer.site.node, "no-form", why)
        times = tried(model, trials, ctx) if ctx.has_data and trials else {}
        for part, rows in choices.offers.items():
            for offer in rows:
                error = offer.row.error * times.get(part, 1.0)
                choices.table.add(replace(offer.row, error=error))
        if timed:
            choices.table.drop_slower("ms", "it is not measured faster here", margin=1 - FASTER)
        return choices

    def _choose(
        self, choices: Choices, builder: Builder, ctx: Context
    ) -> tuple[Plan, Built | None]:
        search = BudgetSearch(
            builder.model,
            lambda left: self._share(choices, choices.by, left),
            lambda plan, fit: builder.build(choices.targets(plan), fit=None if fit else False),
            ctx,
        )
        plan: Plan | None
        built: Built | None
        if not self.max_macs and not self.max_error and (search.limited or search.hurried):
            found = search.farthest() if search.limited else search.nearest()
            if found is None:
                code = "too-lossy" if search.limited else "too-slow"
                _say_all(choices, builder.model, code, "no choice of forms keeps to the limit", ctx)
                return {}, None
            plan, built = found
        else:
            plan = self._given(choices)
            built = builder.build(choices.targets(plan)) if plan else None
        if not plan or built is None or search.is_faster(built) is not False:
            return plan or {}, built
        plan = _paying(plan, built, choices, builder.model, ctx)
        built = builder.build(choices.targets(plan)) if plan else None
        if built is None or search.is_faster(built) is not False:
            return plan, built
        why = "with cheaper layers the model is not measured faster here: nothing was changed"
        ctx.remark(Severity.DECLINED, "not-faster", why)
        return {}, None

    def _given(self, choices: Choices) -> Plan:
        """Return the plan that the options ask for."""
        table = choices.table
        if self.max_macs:
            return self._share(choices, "macs", self.max_macs) or {}
        return _changed(table.cheapest(choices.by, self.max_error or _ERROR))

    def _share(self, choices: Choices, by: Resource, left: float) -> Plan | None:
        table = choices.table
        limit = table.total({}, by) * left
        return _changed(table.within(by, limit)) or None

    def _finish(
        self, model: Model, choices: Choices, plan: Plan, built: Built | None, ctx: Context
    ) -> Outcome:
        nodes = {n.label: n for n in model.graph.nodes}
        details: dict[str, Any] = {"candidates": choices.table.lines(plan)}
        done = 0
        for part, rows in choices.table.rows.items():
            node = nodes[part]
            if part in plan and built is not None:
                row = rows[plan[part]]
                what = f"{row.method}, {row.setting}: {row.macs / rows[0].macs:.0%} of the work"
                ctx.applied(node, "replaced", what)
                done += 1
            elif len(rows) > 1:
                ctx.skip(node, *_why_kept(choices.table, part))
        if built is None:
            return Outcome(details=details)
        details["fits"] = [
            {"name": name, "output_error": fit.before, "refitted_error": fit.after}
            for name, fit in built.fits.items()
        ]
        before, after = (choices.table.total(p, "macs") for p in ({}, plan))
        details["macs"] = {"before": round(before), "after": round(after)}
        model.become(built.model)
        return Outcome(self.may_change, {"layers replaced": done}, details)


def _changed(choice: Mapping[str, int]) -> Plan:
    return {part: at for part, at in choice.items() if at}


def _why_kept(table: CandidateTable, part: str) -> tuple[str, str]:
    if len(table.open(part)) == 1:
        return "not-faster", "none of its forms is measured faster here"
    return "not-chosen", "other layers save more for what they cost"


def _say_all(choices: Choices, model: Model, code: str, why: str, ctx: Context) -> None:
    nodes: dict[str, Node] = {n.label: n for n in model.graph.nodes}
    for part in choices.parts:
        ctx.skip(nodes[part], code, why)


def _paying(plan: Plan, built: Built, choices: Choices, model: Model, ctx: Context) -> Plan:
    """Leave those layers as they are whose chain takes as long within the model."""
    feeds = next(iter(ctx.data.take(1))) if ctx.has_data else None
    if feeds is None:
        return {}
    try:
        before, after = time_layers([model, built.model], feeds)
    except RuntimeFailureError:
        return {}
    found = {}
    for part, at in plan.items():
        old = sum(before.get(label, 0.0) for label in choices.parts[part])
        new = sum(
            ns
            for label, ns in after.items()
            if any(label == x or label.startswith(f"{x}_factor") for x in choices.parts[part])
        )
        if new < old * FASTER:
            found[part] = at
        else:
            choices.table.drop(part, at, "its layers are not measured faster within the model")
    return found

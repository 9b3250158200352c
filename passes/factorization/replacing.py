"""What all passes share that put chains in place of layers: survey, choice, proof."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar

import numpy as np

from ocompress.analysis.work import one_sample, work_of
from ocompress.errors import OptionError
from ocompress.ir import Facet, Model, Node
from ocompress.lossy.ablation import Trial, cost_together, tried
from ocompress.lossy.budget_search import FASTER, BudgetSearch
from ocompress.lossy.layer_times import measured
from ocompress.lossy.layer_weights import LayerWeight, Rules, collect
from ocompress.pipeline import Context, Numerics, Outcome, Pass, option
from ocompress.pipeline.naming import check_patterns, matches
from ocompress.planning import CandidateTable, Resource
from passes import order
from passes.factorization import ladders
from passes.factorization import offers as offering
from passes.factorization.building import Builder, Chained
from passes.factorization.choices import Choices, Plan, add_times, changed, paying, why_kept
from passes.factorization.forms import Form
from passes.factorization.layers import is_too_old, survey
from passes.factorization.previewing import preview

_OPERATORS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_SMALLEST = 256
_NO_FORM = "no form has fewer weights and less to multiply without losing half of it"
_ERROR = 0.01
"""Error, in nats, that is spent if nothing says how much."""


class Replace(Pass):
    """Put chains of cheaper layers in place of layers; the forms are a matter of the subclass."""

    name: ClassVar[str] = ""
    operators: ClassVar[tuple[str, ...]] = _OPERATORS
    after = order.TO_REPLACE
    numerics = Numerics.LOSSY
    weights_of = ("Conv", "ConvTranspose", "Gemm", "MatMul")
    goals = ("max_macs", "max_error", "max_weights", "rank", "energy", "evbmf")
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
    max_weights: float = option(
        0.0,
        help="Weights that each layer may have left, relative to before; the form with the least "
        "error is taken; 0 for any.",
        at_least=0,
        at_most=1,
    )
    rank: int = option(
        0,
        help="Rank that every layer gets, in the form with the least error.",
        at_least=0,
    )
    energy: float = option(
        0.0,
        help="Share of each layer's output that has to be kept, in power; the fastest form that "
        "does is taken.",
        at_least=0,
        at_most=1,
    )
    evbmf: bool = option(
        False,
        help="Give every layer the rank of what is no noise, by variational Bayes, in the fastest "
        "form.",
    )
    layers: tuple[str, ...] = option((), help="Globs of the node names to look at; all if empty.")
    exclude: tuple[str, ...] = option((), help="Globs of node names that stay as they are.")
    refit: bool = option(True, help="With data, fit factors and the layers behind.")
    data_free: bool = option(False, help="Go by the weights alone, even where there are data.")

    def forms(self) -> Sequence[Form]:
        """Return the forms that are tried."""
        raise NotImplementedError

    def run(self, model: Model, ctx: Context) -> Outcome:
        """Replace layers.

        Raises:
            OptionError: If a name pattern matches nothing, or two rules for ranks are given.
        """
        self._check(model)
        choices = self._survey(model, self._weights(model, ctx), ctx)
        if not choices.table.rows:
            return Outcome()
        builder = Builder(model, choices.parts, self.refit and self._seen(ctx), ctx)
        plan, built = self._choose(choices, builder, ctx)
        return self._finish(model, choices, plan, built, ctx)

    def preview(self, model: Model, ctx: Context) -> Outcome:
        """Count the layers that a form suits."""
        self._check(model)
        return preview(model, self._weights(model, ctx), self.forms(), ctx)

    def _check(self, model: Model) -> None:
        for key in ("layers", "exclude"):
            check_patterns(model, getattr(self, key), self.name, key)
        if len(self.goals_given) > 1:
            named = " and ".join(self.goals_given)
            msg = f"{self.name}: give one of {named}; each says how far to go"
            raise OptionError(msg)
        if self.evbmf and all(form.spectra is None for form in self.forms()):
            msg = f"{self.name}: evbmf finds ranks of cuts of a matrix; no form here is one"
            raise OptionError(msg)

    def _seen(self, ctx: Context) -> bool:
        return ctx.has_data and not self.data_free

    def _weights(self, model: Model, ctx: Context) -> list[LayerWeight]:
        rules = Rules(_OPERATORS, self.exclude, False, False, _SMALLEST)
        found = [] if is_too_old(model, ctx) else collect(model, rules, ctx)
        return [w for w in found if self._looks_at(w, ctx)]

    def _looks_at(self, weight: LayerWeight, ctx: Context) -> bool:
        if any(not n.is_op(*self.operators) for n in weight.nodes):
            ctx.skip(weight.nodes[0], "op-type", f"it is no {' or '.join(self.operators)}")
            return False
        named = not self.layers or any(matches(n.label, self.layers) for n in weight.nodes)
        if not named:
            ctx.skip(weight.nodes[0], "not-named", "no pattern of 'layers' matches it")
        return named

    def _takes(self, node: Node) -> bool:
        """Whether neither `layers` nor `exclude` leaves a node out."""
        wanted = not self.layers or matches(node.label, self.layers)
        return wanted and not matches(node.label, self.exclude)

    def _search(self, opset: int, ctx: Context) -> offering.Search:
        multiple = ctx.target.channel_multiple
        ranks: ladders.RanksOf = partial(ladders.ladder, multiple)
        if self.rank:
            ranks = partial(ladders.given, self.rank)
        elif self.evbmf:
            ranks = ladders.variational
        elif self.max_weights:
            ranks = partial(ladders.within, self.max_weights, multiple)
        timed = any(g.kind == "latency" for g in ctx.guards)
        return offering.Search(self.forms(), ranks, timed, opset, ctx.seed)

    def _survey(self, model: Model, weights: Sequence[LayerWeight], ctx: Context) -> Choices:
        search = self._search(model.opset, ctx)
        choices = Choices(CandidateTable(), {}, {}, {}, {}, {}, "ms" if search.timed else "macs")
        trials: dict[str, Trial] = {}
        for done, layer in enumerate(survey(model, weights, ctx, blind=self.data_free), 1):
            ctx.progress(f"{ctx.source}: trying forms", done, len(weights))
            found = offering.offers(layer, search)
            if search.timed and found.rows[0].row.ms is None:
                ctx.skip(layer.site.node, "not-timed", "this runtime cannot run it alone")
                continue
            part = layer.name
            choices.offers[part] = found.rows
            choices.power[part] = found.power
            choices.shapes[part] = layer.shape
            choices.minds[part] = np.stack([p.minds for p in layer.problems])
            choices.parts[part] = [s.node.label for s in layer.sites]
            if found.probe is not None:
                trials[part] = found.probe
            if len(found.rows) == 1:
                ctx.skip(layer.site.node, "no-form", _NO_FORM)
        ours = sum(rows[0].row.macs for rows in choices.offers.values())
        work = work_of(model, one_sample(model, ctx.analyses.data))
        choices.rest = max(0.0, sum(work.values()) - ours)
        times = tried(model, trials if self._seen(ctx) else {}, ctx)
        for part, rows in choices.offers.items():
            choices.power[part] *= times.of(part)
            for offer in rows:
                error = offer.row.error * times.of(part)
                choices.table.add(replace(offer.row, error=error))
        choices.drop_ruinous()
        if search.timed:
            choices.table.drop_slower("ms", "it is not measured faster here", margin=1 - FASTER)
        return choices

    def _choose(
        self, choices: Choices, builder: Builder, ctx: Context
    ) -> tuple[Plan, Chained | None]:
        search = BudgetSearch(
            builder.model,
            lambda left: self._share(choices, choices.by, left),
            lambda plan, fit: builder.build(choices.targets(plan), fit=None if fit else False),
            ctx,
        )
        plan: Plan | None
        built: Chained | None
        if not self.goals_given and (search.limited or search.hurried):
            found = search.farthest() if search.limited else search.nearest()
            if found is None:
                code = "too-lossy" if search.limited else "too-slow"
                choices.verdict = code, "no choice of forms keeps to the limit"
                return {}, None
            plan, built = found
        else:
            plan = self._given(choices)
            built = builder.build(choices.targets(plan)) if plan else None
        if not plan or built is None or search.is_faster(built) is not False:
            return plan or {}, built
        plan = paying(plan, built, choices, builder.model, ctx)
        built = builder.build(choices.targets(plan)) if plan else None
        if built is not None and search.is_faster(built) is not False:
            return plan, built
        why = "with cheaper layers the model is not measured faster here: nothing was changed"
        choices.verdict = "not-faster", why
        return {}, None

    def _given(self, choices: Choices) -> Plan:
        """Return the plan that the options ask for."""
        table = choices.table
        if self.max_macs:
            return self._within_macs(choices)
        if set(self.goals_given) - {"max_error"}:
            return changed({part: self._best(choices, part) for part in table.rows})
        return changed(table.cheapest(choices.by, self.max_error or _ERROR))

    def _within_macs(self, choices: Choices) -> Plan:
        """Return the plan for `max_macs`; none if even the cheapest forms leave more."""
        table = choices.table
        plan = self._share(choices, "macs", self.max_macs) or {}
        whole, left = (table.total(p, "macs") + choices.rest for p in ({}, plan))
        if left <= self.max_macs * whole * (1 + 1e-9):
            return plan
        forms = "forms that are measured faster" if choices.by == "ms" else "cheapest forms"
        why = f"the {forms} leave {left / whole:.1%} of the work, more than max_macs allows"
        choices.verdict = "not-reached", why
        return {}

    def _best(self, choices: Choices, part: str) -> int:
        """Return the candidate of a part that a rule for each layer takes."""
        table, rows = choices.table, choices.table.rows[part]
        open_ = table.open(part)[1:]
        if self.max_weights:
            open_ = [at for at in open_ if rows[at].bytes <= self.max_weights * rows[0].bytes]
        if self.energy:
            most = (1 - self.energy) * choices.power[part]
            open_ = [at for at in open_ if rows[at].error <= most]
        if not open_:
            return 0
        if self.energy or self.evbmf:
            return min(open_, key=lambda at: (rows[at].of(choices.by), rows[at].error))
        return min(open_, key=lambda at: rows[at].error)

    def _share(self, choices: Choices, by: Resource, left: float) -> Plan | None:
        table = choices.table
        rest = choices.rest if by == "macs" else 0.0
        limit = (table.total({}, by) + rest) * left - rest
        return changed(table.within(by, limit)) or None

    def _finish(
        self, model: Model, choices: Choices, plan: Plan, built: Chained | None, ctx: Context
    ) -> Outcome:
        nodes = {n.label: n for n in model.graph.nodes}
        meant = set(plan)
        if built is not None:
            plan = {part: at for part, at in plan.items() if part in built.replaced}
        lines = choices.table.lines(plan)
        details: dict[str, Any] = {"candidates": lines}
        done = 0
        for part, rows in choices.table.rows.items():
            node = nodes[part]
            if built is not None and part in built.replaced:
                row = rows[plan[part]]
                what = f"{row.method}, {row.setting}: {row.macs / rows[0].macs:.0%} of the work"
                ctx.applied(node, "replaced", what)
                done += 1
            elif part in meant:
                why = "nothing finite reached it, or its type cannot hold the factors"
                ctx.skip(node, "not-held", why)
            elif len(rows) > 1:
                ctx.skip(node, *why_kept(choices, part))
        if built is None or not built.replaced:
            return Outcome(details=details)
        details["fits"] = [
            {"name": name, "output_error": fit.before, "refitted_error": fit.after}
            for name, fit in built.fits.items()
        ]
        add_times(lines, plan, choices, measured(model, built.model, ctx))
        reached = cost_together(model, built.model, ctx) if self._seen(ctx) else None
        if reached is not None:
            details["error"] = {"predicted": choices.table.error(plan), "reached": reached}
        before, after = (choices.table.total(p, "macs") + choices.rest for p in ({}, plan))
        details["macs"] = {"before": round(before), "after": round(after)}
        model.become(built.model)
        return Outcome(self.may_change, {"layers replaced": done}, details)

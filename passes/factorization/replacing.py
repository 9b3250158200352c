"""What all passes share that put chains in place of layers: survey, choice, proof."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from glob import escape
from typing import Any, ClassVar

from ocompress.analysis.work import one_sample, work_of
from ocompress.errors import OptionError
from ocompress.ir import Facet, Model, Node
from ocompress.lossy import applying
from ocompress.lossy.ablation import tried
from ocompress.lossy.engine import FASTER, Chosen, LossyPass, Plan
from ocompress.lossy.layer_times import measured
from ocompress.lossy.layer_weights import LayerWeight, Rules, collect
from ocompress.lossy.refit import Built
from ocompress.pipeline import Context, Limit, Outcome, option
from ocompress.pipeline.goals import Gauge
from ocompress.pipeline.naming import check_patterns, matches
from ocompress.planning import MoveTable, Resource
from passes import order
from passes.factorization import ladders
from passes.factorization import offers as offering
from passes.factorization.building import ChainEdit, build
from passes.factorization.choices import Chains, text_of
from passes.factorization.forms import ChainForm, Ranks
from passes.factorization.layers import LayerGroup, is_too_old, survey
from passes.factorization.previewing import preview
from passes.factorization.timing import ChainClock

_OPERATORS = ("Conv", "ConvTranspose", "Gemm", "MatMul")
_SMALLEST = 256
_NO_FORM = "no form saves weights and multiplications without losing half of its output"
_FOR_TIME = {"max_time", "max_error", "energy", "evbmf"}
"""Goals for which the quickest chains are taken."""
_ERROR = 0.01
"""Error, in nats, that is spent if nothing says how much."""


class Replace(LossyPass):
    """Put chains of cheaper layers in place of layers; the forms are a matter of the subclass."""

    name: ClassVar[str] = ""
    operators: ClassVar[tuple[str, ...]] = _OPERATORS
    after = order.TO_REPLACE
    noun = "forms"
    weights_of = ("Conv", "ConvTranspose", "Gemm", "MatMul")
    goals = (
        "max_macs",
        "max_time",
        "max_error",
        "max_weights",
        "rank",
        "energy",
        "evbmf",
        "chains",
    )
    aims = ("max_macs", "max_time", "max_error")
    may_change = Facet.TOPOLOGY | Facet.WEIGHTS | Facet.NAMES

    max_macs: float = option(
        0.0,
        help="Largest share of multiply-accumulates to keep; 0 sets no limit.",
        at_least=0,
        at_most=1,
    )
    max_time: float = option(
        0.0,
        help="Largest share to keep of the time that these layers take, once quantized, by the "
        "table of the target; 0 sets no limit. For `quant` after it.",
        at_least=0,
        at_most=1,
    )
    max_error: float = option(
        0.0,
        help="Total error to spend, as twice the divergence from the original in nats (noise "
        "over signal where outputs are not scores); 0 leaves it to the budget.",
        at_least=0,
    )
    max_weights: float = option(
        0.0,
        help="Largest share of weights for each layer to keep, in the form with the least error; "
        "0 sets no limit.",
        at_least=0,
        at_most=1,
    )
    rank: int = option(
        0,
        help="Rank of every layer, in the form with the least error.",
        at_least=0,
    )
    energy: float = option(
        0.0,
        help="Share of each layer's output power to keep, in the fastest form that does.",
        at_least=0,
        at_most=1,
    )
    evbmf: bool = option(
        False,
        help="Choose each layer's rank by variational Bayes (EVBMF), in the fastest form.",
    )
    chains: dict[str, str] = option(
        {}, help="Chain of each layer as the report has it (`input, rank 8`); others stay."
    )
    layers: tuple[str, ...] = option((), help="Globs of node names to include; empty means all.")
    exclude: tuple[str, ...] = option((), help="Globs of node names to leave alone.")
    refit: bool = option(True, help="With data, fit the factors and the layers after them.")
    data_free: bool = option(False, help="Use the weights alone, even with data.")

    def forms(self) -> Sequence[ChainForm]:
        """Return the forms that are tried."""
        raise NotImplementedError

    def propose(self, model: Model, ctx: Context) -> Chains:
        """Try forms for every layer.

        Raises:
            OptionError: If a name or pattern matches nothing, or two rules for ranks are given.
        """
        self._check(model)
        return self._survey(model, self._weights(model, ctx), ctx)

    def build(self, model: Model, plan: Plan, ctx: Context, *, fit: bool) -> Built:
        """Return the model with layers replaced, first layer first, all behind fitted."""
        chains = {
            part: move.edit for part, move in plan.items() if isinstance(move.edit, ChainEdit)
        }
        fits = fit and self.refit and self._seen(ctx)
        return build(model, chains, self._takes, ctx if fits else None)

    def preview(self, model: Model, ctx: Context) -> Outcome:
        """Count the layers that a form suits."""
        self._check(model)
        return preview(model, self._weights(model, ctx), self.forms(), ctx)

    def _check(self, model: Model) -> None:
        for key in ("layers", "exclude"):
            check_patterns(model, getattr(self, key), self.name, key)
        check_patterns(model, tuple(map(escape, self.chains)), self.name, "chains")
        if len(self.goals_given) > 1:
            named = " and ".join(self.goals_given)
            msg = f"{self.name}: {named} are mutually exclusive; give one"
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
            ctx.skip_each(weight.nodes, "op-type", f"it is no {' or '.join(self.operators)}")
            return False
        named = not self.layers or any(matches(n.label, self.layers) for n in weight.nodes)
        if not named:
            ctx.skip_each(weight.nodes, "not-named", "no pattern of 'layers' matches it")
        return named

    def _takes(self, node: Node) -> bool:
        """Whether neither `layers` nor `exclude` leaves a node out."""
        wanted = not self.layers or matches(node.label, self.layers)
        return wanted and not matches(node.label, self.exclude)

    def _search(self, opset: int, ctx: Context) -> offering.OfferSearch:
        multiple = ctx.target.channel_multiple
        ranks: ladders.RanksOf = partial(ladders.ladder, multiple)
        if self.rank:
            ranks = partial(ladders.given, self.rank)
        elif self.evbmf:
            ranks = ladders.variational
        elif self.max_weights:
            ranks = partial(ladders.within, self.max_weights, multiple)
        timed = bool(self.max_time) or (ctx.allowance.has(Limit.LATENCY) and not self.chains)
        return offering.OfferSearch(
            self.forms(),
            ranks,
            timed=timed,
            opset=opset,
            clock=ChainClock(ctx.seed),
            chain=self._chain,
            named=bool(self.rank or self.chains),
            wanted=self.chains,
            target=ctx.target,
            hurried=timed and not set(self.goals_given) - _FOR_TIME,
            priced=bool(self.max_time),
        )

    def _chain(self, layer: LayerGroup, form: ChainForm, ranks: Ranks) -> ChainEdit:
        labels = tuple(s.node.label for s in layer.sites)
        return ChainEdit(self, labels, form.name, ranks, layer.curvature, layer.shape)

    def _survey(self, model: Model, weights: Sequence[LayerWeight], ctx: Context) -> Chains:
        search = self._search(model.opset, ctx)
        offers: dict[str, offering.Offers] = {}
        layers: dict[str, list[str]] = {}
        for done, layer in enumerate(survey(model, weights, ctx, blind=self.data_free), 1):
            ctx.progress(f"{ctx.source}: trying forms", done, len(weights))
            if self.chains and layer.name not in self.chains:
                ctx.skip(layer.site.node, "not-named", "'chains' has none for it")
                continue
            found = offering.offers(layer, search)
            if search.timed and found.rows[0].ms is None:
                ctx.skip(layer.site.node, "not-timed", "ONNX Runtime cannot run it alone")
                continue
            offers[layer.name] = found
            layers[layer.name] = [s.node.label for s in layer.sites]
            if len(found.rows) == 1:
                ctx.skip(layer.site.node, "no-form", _NO_FORM)
        probes = {part: o.probe for part, o in offers.items() if o.probe is not None}
        times = tried(model, probes if self._seen(ctx) else {}, ctx)
        table = MoveTable()
        for part, found in offers.items():
            for move in found.rows:
                table.add(replace(move, error=move.error * times.of(part)))
        work = sum(work_of(model, one_sample(model, ctx.analyses.data)).values()) if offers else 0
        rest = max(0.0, work - sum(o.rows[0].macs for o in offers.values()))
        power = {part: o.power * times.of(part) for part, o in offers.items()}
        proposal = Chains(layers, table, "ms" if search.timed else "macs", rest, power)
        proposal.drop_ruinous()
        if search.timed:
            table.drop_slower("ms", "it does not measure faster here", margin=1 - FASTER)
        return proposal

    def asked(self, proposal: Chains) -> Plan:
        """Return the plan that the options ask for."""
        table = proposal.table
        if self.chains:
            return proposal.named(self.chains)
        if self.max_macs or self.max_time:
            by: Resource = "macs" if self.max_macs else "ms"
            return proposal.reaching(by, self.max_macs or self.max_time)
        if set(self.goals_given) - {"max_error"}:
            fastest = bool(self.energy or self.evbmf)
            rule = partial(
                proposal.best, left=self.max_weights, energy=self.energy, fastest=fastest
            )
            return proposal.plan({part: rule(part) for part in table.rows})
        return proposal.plan(table.cheapest(proposal.by, self.max_error or _ERROR))

    def gauges(
        self, model: Model, proposal: Chains, chosen: Chosen, ctx: Context
    ) -> Iterator[Gauge]:
        """Yield the work, the time or the weights that are left."""
        if self.max_time:
            share, unit = proposal.left(chosen.plan, "ms"), "of the time of these layers"
            yield Gauge("max_time", self.max_time, share, unit)
        if self.max_weights:
            share, unit = proposal.left(chosen.plan, "bytes"), "of the weights of these layers"
            yield Gauge("max_weights", self.max_weights, share, unit)
        yield from super().gauges(model, proposal, chosen, ctx)

    def settled(self, proposal: Chains, chosen: Chosen) -> dict[str, Any]:
        """Return what stands in for which layer, where limits and clocks said that."""
        done = chosen.built.done if chosen.built is not None else frozenset[str]()
        made = {
            part: text_of(move.method, move.setting)
            for part, move in chosen.plan.items()
            if part in done
        }
        return {"chains": made} if made and not self.goals_given else {}

    def finish(self, model: Model, proposal: Chains, chosen: Chosen, ctx: Context) -> Outcome:
        """Say of each layer what became of it, and change the model."""
        built, done = chosen.built, chosen.built.done if chosen.built else frozenset[str]()
        plan = {part: move for part, move in chosen.plan.items() if part in done}
        nodes = {n.label: n for n in model.graph.nodes}
        for part, rows in proposal.table.rows.items():
            if part in plan:
                move = plan[part]
                what = f"{move.method}, {move.setting}: {move.macs / rows[0].macs:.0%} of the work"
                ctx.applied(nodes[part], "replaced", what)
            elif part in chosen.plan:
                why = "nothing finite reached it, or its type cannot hold the factors"
                ctx.skip(nodes[part], "not-held", why)
            elif len(rows) > 1:
                reason = proposal.why_kept(part)
                ctx.skip(nodes[part], reason.code, reason.why)
        if not proposal.table.rows:
            return Outcome()
        times = measured(model, built.model, ctx) if built is not None and plan else None
        details: dict[str, Any] = {"candidates": proposal.lines(plan, times)}
        if built is None or not plan:
            return Outcome(details=details)
        predicted = sum(move.error for move in plan.values())
        details |= applying.together(model, built, predicted, ctx, judge=self._seen(ctx))
        rest, rows_ = proposal.rest["macs"], proposal.table.rows
        before = rest + sum(r[0].macs for r in rows_.values())
        after = rest + sum(plan.get(part, r[0]).macs for part, r in rows_.items())
        details["macs"] = {"before": round(before), "after": round(after)}
        model.become(built.model)
        return Outcome(self.may_change, {"layers replaced": len(plan)}, details)

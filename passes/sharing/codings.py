"""Which codebooks weights could have, and what each would cost."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from ocompress.analysis.linear_layer import Refusal
from ocompress.analysis.linear_rows import Site
from ocompress.ir import Model
from ocompress.lossy.ablation import Factors, tried
from ocompress.lossy.engine import Plan
from ocompress.lossy.layer_weights import LayerWeight, sites_of
from ocompress.pipeline import Context
from ocompress.planning import KEEP, Move, MoveTable
from passes.pruning.costs import View, Views
from passes.pruning.reordering import Reorder
from passes.sharing.common_words import CommonWords, common_words, may_share
from passes.sharing.moved_views import moved_views
from passes.sharing.pricing import place
from passes.sharing.reorders import orders_for
from passes.sharing.sizes import SizedProposal
from passes.sharing.word_costs import WordCosts, word_costs
from passes.sharing.word_settings import Asked, Settings, reason_against, settings_of, size_of
from passes.sharing.words import Encode, clone_in_order

_SEVERAL = 2
"""Weights from which on words are shared."""


class Codings(SizedProposal):
    """Weights that may be made of words; each part is a weight."""

    coarsest, largest = 0.01, 0.25

    def __init__(
        self, weights: Sequence[LayerWeight], table: MoveTable, counts: Sequence[int] = ()
    ) -> None:
        """Start with the moves of each weight, the one that options ask for first.

        Args:
            weights: The weights, of the model whose channels are in order.
            table: Their moves.
            counts: Numbers of words that all weights could have alike, if they share them.
        """
        super().__init__(weights, table)
        self._counts = counts

    def first(self) -> Plan:
        """Return the first move of each weight."""
        return {part: rows[1] for part, rows in self.table.rows.items() if len(rows) > 1}

    def taking(self, part: float) -> Plan:
        """Return the plan with the least error that takes no more than a part of the bytes."""
        if not self._counts:
            return super().taking(part)
        limit = part * self.table.total({}, "bytes")
        plans = [self._with_words(count) for count in sorted(self._counts, reverse=True)]
        return next((plan for plan in plans if self._size(plan) <= limit), {})

    def _with_words(self, count: int) -> Plan:
        """Return the moves with so many words."""
        rows = ((part, rows[1:]) for part, rows in self.table.rows.items())
        own = {part: [m for m in moves if _encode(m).count <= count] for part, moves in rows}
        return {part: max(m, key=lambda m: _encode(m).count) for part, m in own.items() if m}

    def _size(self, plan: Plan) -> int:
        """Return the bytes of a plan, words that several weights share once."""
        shared = {id(c): c.table.size for m in plan.values() if (c := _encode(m).common)}
        rest = (plan[p].bytes if p in plan else m[0].bytes for p, m in self.table.rows.items())
        return sum(shared.values()) + sum(rest)


def _encode(move: Move) -> Encode:
    assert isinstance(move.edit, Encode)
    return move.edit


def codings(
    model: Model,
    weights: Sequence[LayerWeight],
    asked: Asked,
    ctx: Context,
    *,
    seen: bool,
    permute: bool = False,
    exclude: Sequence[str] = (),
) -> Codings:
    """Return the moves of weights: so many words of so many weights, at what cost.

    Args:
        model: The model as it is.
        weights: Its weights; those that cannot be made of words get a remark.
        asked: What options say.
        ctx: Has the data, if there are any.
        seen: Whether data may be looked at.
        permute: Whether channels may be put in another order first.
        exclude: Globs of labels of nodes whose channels stay as they are.
    """
    sites = {w.name: s for w in weights if (s := _site(w, model, ctx)) is not None}
    good = [w for w in weights if w.name in sites]
    settings = settings_of(good, sites, asked)
    views = Views(model, [w for w in good if settings[w.name]], ctx, "k-means") if seen else None
    orders: tuple[Reorder, ...] = ()
    if permute and not asked.together:
        orders = orders_for(model, good, sites, settings, ctx, views, exclude)
    told: Iterable[View] = views or ()
    if orders:
        model, twins, moved = clone_in_order(model, orders)
        good = [w.twin(twins) for w in good]
        sites = {w.name: s for w in good if (s := _site(w, model, ctx)) is not None}
        told = moved_views(told, {w.name: w for w in good}, sites, moved)
    known = _all_costs(good, sites, settings, told, asked, ctx)
    trials = {name: costs.tried for name, costs in known.items()}
    factors = tried(model, trials, ctx) if seen and trials else Factors()
    found = _codings(good, sites, settings, known, factors, orders, asked)
    for weight in good:
        if not settings[weight.name]:
            found.reasons[weight.name] = reason_against(weight, sites[weight.name], asked)
    return found


def _all_costs(
    weights: Sequence[LayerWeight],
    sites: Mapping[str, Site],
    settings: Mapping[str, Settings],
    views: Iterable[View],
    asked: Asked,
    ctx: Context,
) -> dict[str, WordCosts]:
    """Look at all weights that may be made of words, by name."""
    known: dict[str, WordCosts] = {}
    total, done = sum(len(each) for each in settings.values()), itertools.count(1)

    def tick() -> None:
        ctx.progress(f"{ctx.source}: trying words", next(done), total)

    def look(weight: LayerWeight, site: Site, view: View | None) -> None:
        known[weight.name] = word_costs(weight, site, view, settings[weight.name], asked, tick)

    for view in views:
        look(view.candidate, view.site, view)
    for weight in weights:
        if settings[weight.name] and weight.name not in known:
            look(weight, sites[weight.name], None)
    return known


def _codings(
    good: Sequence[LayerWeight],
    sites: Mapping[str, Site],
    settings: Mapping[str, Settings],
    known: Mapping[str, WordCosts],
    factors: Factors,
    orders: tuple[Reorder, ...],
    asked: Asked,
) -> Codings:
    """Return the moves of weights whose channels are in order."""
    coded = [w for w in good if settings[w.name]]
    shared = _shared(coded, sites, known, factors, asked) if asked.together else {}
    table = MoveTable()
    for weight in good:
        table.add(Move(weight.name, KEEP, "", 0.0, weight.array.nbytes, 0.0))
        if weight.name in known:
            costs, factor = known[weight.name], factors.of(weight.name)
            for move in _moves(weight, costs, factor, shared.get(weight.name, {}), asked):
                table.add(_ordered(move, orders))
    counts = {count for each in settings.values() for _, count in each} if asked.together else ()
    return Codings(good, table, tuple(counts))


def _ordered(move: Move, orders: tuple[Reorder, ...]) -> Move:
    """Return a move with what puts channels in order before."""
    return replace(move, edit=replace(_encode(move), orders=orders)) if orders else move


_Shared = Mapping[tuple[int, int], tuple[CommonWords, float]]
"""By length and number of words, the words and what a layer costs with them."""


def _moves(
    weight: LayerWeight, costs: WordCosts, factor: float, shared: _Shared, asked: Asked
) -> Iterator[Move]:
    """Yield the moves of a weight."""
    readers = tuple(n.label for n in weight.nodes)
    curvature = None if costs.curvature is None else costs.curvature * factor
    for (block, count), error in costs.errors.items():
        common, found = shared.get((block, count), (None, factor * error))
        own = Encode(readers, place(weight), block, count, curvature, asked.seed, common)
        size = size_of(weight, block, count, alone=common is None)
        yield Move(weight.name, "codebook", f"{count} words of {block}", found, size, 0.0, edit=own)


def _shared(
    weights: Sequence[LayerWeight],
    sites: Mapping[str, Site],
    known: Mapping[str, WordCosts],
    factors: Factors,
    asked: Asked,
) -> dict[str, dict[tuple[int, int], tuple[CommonWords, float]]]:
    """Return words that layers share, and what they cost each, by layer and setting."""
    found: dict[str, dict[tuple[int, int], tuple[CommonWords, float]]] = {}
    able = [w for w in weights if may_share(w)]
    seen = [w for w in able if known[w.name].metrics]
    able = seen or able  # errors of both kinds do not compare
    for setting in dict.fromkeys(s for w in able for s in known[w.name].errors):
        own = [w for w in able if setting in known[w.name].errors]
        if len(own) < _SEVERAL:
            continue
        layers = []
        for weight in own:
            metric = known[weight.name].metrics.get(setting[0])
            if metric is not None:
                metric = replace(metric, outputs=metric.outputs * factors.of(weight.name))
            matrix = sites[weight.name].matrix(weight.array.astype(np.float64))
            layers.append((matrix, metric))
        words, costs = common_words(layers, *setting, asked.seed)
        for weight, cost in zip(own, costs, strict=True):
            found.setdefault(weight.name, {})[setting] = words, cost
    return found


def _site(weight: LayerWeight, model: Model, ctx: Context) -> Site | None:
    found = sites_of(weight.nodes, model)
    if isinstance(found, Refusal):
        for node in weight.nodes:
            ctx.skip(node, found.code, found.why)
        return None
    return found[0]

"""Which groups of channels are put in another order before weights are made of words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ocompress.analysis.channels import ChannelGroups, Group
from ocompress.analysis.linear_rows import MOST_INPUTS, Site
from ocompress.ir import Model
from ocompress.lossy.layer_weights import LayerWeight
from ocompress.pipeline import Context
from ocompress.pipeline.naming import matches
from passes.pruning.channel_readers import rows_of
from passes.pruning.costs import Views
from passes.pruning.reordering import Reorder, movable
from passes.sharing.channel_orders import Seating, best_order, products_of, seats_of
from passes.sharing.codebooks import idle_blocks
from passes.sharing.layer_problem import cost_of
from passes.sharing.pricing import relative
from passes.sharing.word_settings import PER_WORD, Settings
from passes.sharing.word_starts import BlockMetric, joined, split, start

_FALL = 0.98
"""What words may cost in another order, relative to the order there is: others are within what
other draws do."""
_LOOKED_AT, _LEAST_OUTPUTS = 1 << 16, 16
"""Weights of a layer that orders are judged by, and outputs that those are of at least."""
_TRIED, _DRAWS = (16, 64), 3
"""Numbers of words that orders are judged by beside those asked for; draws where there are none."""


@dataclass
class _Reader:
    """A weight that reads channels which may trade places.

    Attributes:
        weight: The weight.
        site: Its layer.
        settings: Lengths and numbers of words of which it could be made, as far as orders matter.
        rows: Rows of each channel, (channels, places), by group.
        seats: Places of channels in blocks, (blocks, block), by group and length.
    """

    weight: LayerWeight
    site: Site
    settings: Settings
    rows: dict[int, np.ndarray] = field(default_factory=dict)
    seats: dict[int, dict[int, np.ndarray]] = field(default_factory=dict)

    @property
    def matrix(self) -> np.ndarray:
        """The weight, (1, inputs, outputs)."""
        found: np.ndarray = self.site.matrix(self.weight.array.astype(np.float64))
        return found

    @property
    def tries(self) -> Settings:
        """Words to judge orders by: what is asked for, and others or other draws of the same."""
        others = [s for s in self.settings[1:] if s[1] in _TRIED]
        return [self.settings[0], *(others or (_DRAWS - 1) * [self.settings[0]])]


@dataclass(frozen=True)
class Errors:
    """What errors of a weight cost.

    Attributes:
        hessian: What an error does at the outputs, (1, inputs, inputs); None: all cost alike.
        curvature: What errors of outputs cost, (1, outputs, outputs) or (1, outputs).
    """

    hessian: np.ndarray | None
    curvature: np.ndarray

    def metric(self, block: int, inputs: int) -> BlockMetric:
        """Return what errors of blocks cost, each by itself."""
        if self.hessian is not None:
            return BlockMetric.of(self.hessian, self.curvature, block)
        grams = np.broadcast_to(np.eye(block), (1, inputs // block, block, block))
        return BlockMetric(grams, self.curvature)

    def moved(self, source: np.ndarray) -> Errors:
        """Return the same of a layer whose inputs come from elsewhere, (inputs,)."""
        if self.hessian is None:
            return self
        return Errors(self.hessian[:, source][:, :, source], self.curvature)

    def of_outputs(self, some: np.ndarray) -> Errors:
        """Return the same of a layer that has only some outputs, (outputs,)."""
        curvature = self.curvature[:, some]
        return Errors(self.hessian, curvature[:, :, some] if curvature.ndim == 3 else curvature)

    def cost(self, matrix: np.ndarray, block: int, count: int, seed: int) -> float:
        """Return what words of a weight, (1, inputs, outputs), cost, each block by itself."""
        metric, blocks = self.metric(block, matrix.shape[1]), split(matrix, block)
        words = start([(blocks, metric)], count, seed)
        off = joined(words[metric.nearest(blocks, words)[0]] - blocks)
        if self.hessian is None:
            return float((np.square(off).sum(axis=1) * self.curvature).sum())
        return cost_of(self.hessian, self.curvature, off)


def orders_for(
    model: Model,
    weights: Sequence[LayerWeight],
    sites: Mapping[str, Site],
    settings: Mapping[str, Settings],
    ctx: Context,
    views: Views | None,
    exclude: Sequence[str] = (),
) -> tuple[Reorder, ...]:
    """Find orders of channels in which words cost less (Martinez et al., 2021).

    For each group of channels that may trade places an order is searched in which words say more of
    all layers together that read them (`channel_orders`). It is taken if words, each block by
    itself, then cost less in these layers. Channels stay where a layer reads blocks of zeros.

    Args:
        model: The model as it is; not changed.
        weights: Weights that may be made of words.
        sites: Their layers, by name.
        settings: Lengths and numbers of words, by name, what is asked for first.
        ctx: Is told how far it is.
        views: What data tell of the weights; None if nothing.
        exclude: Globs of labels of nodes that are left alone, and so their channels are.
    """
    asked = ChannelGroups()
    groups = ctx.analysis(asked, model)
    readers = _readers(groups, weights, sites, settings, exclude)
    if not readers:
        return ()
    orders: dict[int, np.ndarray] = {}
    stage = f"{ctx.source}: putting channels in order"
    seatings = _seatings(readers, views)
    for done, (at, own) in enumerate(seatings.items()):
        ctx.progress(stage, done, len(seatings))
        orders[at] = best_order(own, groups[at].size, ctx.seed)
    ctx.progress(stage, len(seatings), len(seatings))
    before: dict[int, float] = defaultdict(float)
    after: dict[int, float] = defaultdict(float)
    for reader, errors in _errors(readers, views):
        if orders.keys().isdisjoint(reader.rows):
            continue
        cost, change = _change(reader, errors, orders, ctx.seed)
        for at in reader.rows:
            before[at] += cost
            after[at] += cost * change
    kept = [at for at in orders if after[at] < _FALL * before[at]]
    return tuple(Reorder(asked, at, tuple(int(c) for c in orders[at])) for at in kept)


def _readers(
    groups: Sequence[Group],
    weights: Sequence[LayerWeight],
    sites: Mapping[str, Site],
    settings: Mapping[str, Settings],
    exclude: Sequence[str],
) -> list[_Reader]:
    """Return the weights in whose blocks lie channels that may trade places."""
    found: dict[int, _Reader] = {}
    known = {id(w.value): w for w in weights if settings[w.name]}
    for at, group in enumerate(groups):
        cuts = [c for c in group.consumers if id(c.value) in known]
        if any(matches(c.node.label, exclude) for c in group.cuts):
            continue
        for cut in cuts if cuts and movable(group) else ():
            weight = known[id(cut.value)]
            site = sites[weight.name]
            if cut.node is not weight.nodes[0] or site.groups > 1 or site.inputs > MOST_INPUTS:
                continue
            rows = rows_of(cut, site, 0, group.size)
            lengths = dict.fromkeys(block for block, _ in settings[weight.name])
            seats = {n: s for n in lengths if (s := seats_of(rows, site.inputs, n)) is not None}
            if seats:
                own = [s for s in settings[weight.name] if s[0] in seats]
                reader = found.setdefault(id(cut.value), _Reader(weight, site, own))
                reader.rows[at], reader.seats[at] = rows, seats
    return list(found.values())


def _seatings(readers: Sequence[_Reader], views: Views | None) -> dict[int, list[Seating]]:
    """Return how layers read the channels of each group; none of those that are to stay."""
    found: dict[int, list[Seating]] = defaultdict(list)
    idle: set[int] = set()
    for reader, errors in _errors(readers, views):
        matrix = reader.matrix
        single = errors.metric(1, matrix.shape[1])
        for at, rows in reader.rows.items():
            products = products_of(rows, matrix, single)
            found[at] += [Seating(s, products) for s in reader.seats[at].values()]
        if any(idle_blocks(matrix != 0, block) is not None for block, _ in reader.settings):
            idle.update(reader.rows)
    return {at: own for at, own in found.items() if at not in idle}


def _errors(readers: Sequence[_Reader], views: Views | None) -> Iterator[tuple[_Reader, Errors]]:
    """Yield what errors of weights cost, as far as that is known."""
    if views is None:
        for reader in readers:
            yield reader, Errors(None, relative(reader.weight))
        return
    known = {id(r.weight.value): r for r in readers}
    for view in views:
        seen = known.get(id(view.candidate.value))
        if seen is not None:
            yield seen, Errors(view.hessian, view.curvature)


def _change(
    reader: _Reader, errors: Errors, orders: Mapping[int, np.ndarray], seed: int
) -> tuple[float, float]:
    """Return what words cost in the order there is, and what they do in others relative to that.

    One draw of words can be off by a tenth, so the mean over several is taken. Of a large layer
    some outputs tell.
    """
    matrix = reader.matrix
    inputs, outputs = matrix.shape[1:]
    most = max(_LEAST_OUTPUTS, _LOOKED_AT // inputs)
    some = np.sort(np.random.default_rng(seed).permutation(outputs)[:most])
    matrix, errors = matrix[:, :, some], errors.of_outputs(some)
    source = np.arange(inputs)
    for at, rows in reader.rows.items():
        if at in orders:
            source[rows] = rows[orders[at]]
    before, after = errors, errors.moved(source)
    costs, logs = [], []
    for draw, (block, count) in enumerate(reader.tries):
        fewer = max(matrix.size // block // PER_WORD, 2)
        given = block, min(count, fewer), seed + draw
        costs.append(before.cost(matrix, *given))
        now = after.cost(matrix[:, source], *given)
        logs.append(np.log(max(now, 1e-300)) - np.log(max(costs[-1], 1e-300)))
    return costs[0] * outputs / len(some), float(np.exp(np.mean(logs)))

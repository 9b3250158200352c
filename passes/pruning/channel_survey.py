"""What there is to know of each group of channels: who reads it, and what going costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ocompress.analysis.channels import Cut, Group
from ocompress.analysis.linear_rows import MOST_INPUTS, Site, bias_place, site_of
from ocompress.analysis.shelf import Shelf
from ocompress.ir import Model
from ocompress.pipeline import Context
from passes.pruning import channel_costs
from passes.pruning.channel_costs import Order, Reader
from passes.pruning.lasso import lasso
from passes.reconstruction import looking
from passes.reconstruction.importance import importance
from passes.reconstruction.trying import Change, Trial, tried

DATA_FREE = ("l1", "l2", "fpgm")
WITH_DATA = ("activation", "deviation", "taylor", "thinet", "lasso", "obs")
CRITERIA = ("auto", *DATA_FREE, *WITH_DATA)
_HELD = 512 << 20


@dataclass
class Survey:
    """The orders in which the channels of groups go.

    Attributes:
        orders: By position of the group.
        measured: Positions of the groups whose costs come from data and can be compared.
    """

    orders: dict[int, Order] = field(default_factory=dict)
    measured: set[int] = field(default_factory=set)


def survey(model: Model, groups: Sequence[Group], criterion: str, ctx: Context) -> Survey:
    """Find for each group in which order its channels go, and at what cost.

    Args:
        model: The model as it is.
        groups: Groups that are not refused.
        criterion: One of `CRITERIA` but `auto`.
        ctx: Has the data, if the criterion needs them.
    """
    found = Survey()
    if criterion in DATA_FREE:
        for at, group in enumerate(groups):
            found.orders[at] = channel_costs.by_score(_norms(group, criterion))
        return found
    if not groups:
        return found
    read = {at: _read(group, model) for at, group in enumerate(groups)}
    sites = {id(s.node): s for pairs in read.values() for _, s in pairs or ()}
    minds = importance(model, list(sites.values()), ctx)
    seen = _Seen(model, list(sites.values()), ctx)
    trials: dict[str, Trial] = {}
    stage = f"{ctx.source}: what it costs to take channels"
    for at, group in enumerate(groups):
        ctx.progress(stage, at, len(groups))
        readers = _readers(group, read[at], seen, minds, criterion)
        if readers is None:
            found.orders[at] = channel_costs.by_score(_norms(group, "l2"))
            continue
        order = _order(readers, group.size, criterion)
        if order.probed:
            changes = _probe(read[at] or (), order.probe, group, seen)
            trials[f"{at}"] = Trial(changes, float(order.costs[order.probed - 1]))
        found.orders[at] = order
        found.measured.add(at)
    ctx.progress(stage, len(groups), len(groups))
    for name, times in tried(model, trials, ctx).items():
        order = found.orders[int(name)]
        found.orders[int(name)] = replace(order, costs=order.costs * times)
    return found


def _probe(
    read: Sequence[tuple[Cut, Site]],
    matrices: Sequence[np.ndarray],
    group: Group,
    seen: _Seen,
) -> list[Change]:
    """Return the weights of a group's readers as its order left them when it was probed."""
    changes: list[Change] = []
    left = list(matrices)
    for cut, site in read:
        matrix = site.matrix(site.layer.weight.astype(np.float64))
        made = matrix.copy()
        for at in range(site.groups):
            if (_rows(cut, site, at, group.size) >= 0).any():
                made[at] = left.pop(0)
        shift = None
        if bias_place(site) is not None:
            shift = np.einsum("gi,gio->go", seen.mean(site), made - matrix).reshape(-1)
        changes.append(Change(site.node.label, site.layer.weight_at, site.weight(made), shift))
    return changes


class _Seen:
    """Sums of what each layer reads, on a shelf."""

    def __init__(
        self,
        model: Model,
        sites: list[Site],
        ctx: Context,
    ) -> None:
        self._shelf = Shelf(_HELD)
        self._means: dict[int, np.ndarray] = {}
        for site, _, sums in looking.look(model, [(s, [s]) for s in sites], ctx):
            if sums is not None:
                self._means[id(site.node)] = sums.x
                self._shelf.put(id(site.node), sums.xx)

    def mean(self, site: Site) -> np.ndarray:
        """Return the mean of what a layer reads, (groups, inputs)."""
        return self._means[id(site.node)]

    def get(self, site: Site, *, centred: bool) -> np.ndarray | None:
        """Return mean products, about the mean if `centred`; None if nothing was seen."""
        mean = self._means.get(id(site.node))
        if mean is None or mean.shape != (site.groups, site.inputs):
            return None
        found = self._shelf.get(id(site.node))
        return found if centred else found + mean[:, :, None] * mean[:, None, :]


def _read(group: Group, model: Model) -> list[tuple[Cut, Site]] | None:
    """Return all that reads the channels as rows of a matrix; None if something else does."""
    if group.sinks or not group.consumers:
        return None
    found = []
    for cut in group.consumers:
        site = site_of(cut.node) if cut.node.graph is model.graph else None
        if not isinstance(site, Site) or site.layer.weight_at != cut.index:
            return None
        if site.inputs > MOST_INPUTS:
            return None
        found.append((cut, site))
    return found


def _readers(
    group: Group,
    read: list[tuple[Cut, Site]] | None,
    seen: _Seen,
    minds: Mapping[str, np.ndarray],
    criterion: str,
) -> list[Reader] | None:
    if read is None:
        return None
    found = []
    for cut, site in read:
        centred = bias_place(site) is not None and criterion != "activation"
        hessian = seen.get(site, centred=centred or criterion == "deviation")
        if hessian is None:
            return None
        matrix = site.matrix(site.layer.weight.astype(np.float64))
        minded = _minded(site, hessian, matrix, minds)
        for at in range(site.groups):
            rows = _rows(cut, site, at, group.size)
            if (rows >= 0).any():
                found.append(Reader(matrix[at], hessian[at], minded[at], rows))
    return found


def _minded(
    site: Site, hessian: np.ndarray, matrix: np.ndarray, minds: Mapping[str, np.ndarray]
) -> np.ndarray:
    known = minds.get(site.node.output.name)
    if known is not None and known.shape == (site.groups, site.outputs):
        return known
    total = max(float((matrix * (hessian @ matrix)).sum()), 1e-30)
    return np.full((site.groups, site.outputs), 1 / total)


def _rows(cut: Cut, site: Site, group: int, size: int) -> np.ndarray:
    """Return the rows that each channel has in the matrix of one group of a layer."""
    positions = cut.positions
    each = len(cut.channel) // site.groups if site.window is not None else len(cut.channel)
    taps = site.inputs // each
    inside = (positions >= group * each) & (positions < (group + 1) * each)
    first = np.where(inside, (positions - group * each) * taps, -1)
    rows = np.where(first[:, :, None] >= 0, first[:, :, None] + np.arange(taps), -1)
    found = np.full((size, rows.shape[1] * taps), -1)
    found[: len(rows)] = rows.reshape(len(rows), -1)
    return np.take_along_axis(found, np.argsort(found < 0, axis=1, kind="stable"), axis=1)


def _order(readers: Sequence[Reader], size: int, criterion: str) -> Order:
    if criterion == "obs":
        return channel_costs.surgeon(readers, size)
    if criterion == "lasso":
        return lasso(readers, size)
    if criterion == "thinet":
        return channel_costs.greedy(readers, size)
    if criterion == "taylor":
        return channel_costs.by_score(channel_costs.alone(readers, size))
    return channel_costs.by_score(channel_costs.power(readers, size))


def _norms(group: Group, criterion: str) -> np.ndarray:
    """Score channels by the weights that make them.

    The distance to the geometric median is the sum of distances to all others: He et al.,
    Filter Pruning via Geometric Median, 2019; norms: Li et al., Pruning Filters, 2017.
    """
    total = np.zeros(group.size)
    for cut in group.producers or group.constants:
        weight = cut.value.constant
        if weight is None:
            continue
        filters = np.moveaxis(weight.astype(np.float64), cut.axis, 0)
        if len(filters) != len(cut.channel):
            continue  # the axis counts within groups
        filters = filters.reshape(len(filters), -1)
        positions = cut.positions
        rows = np.where((positions >= 0)[:, :, None], filters[positions.clip(0)], 0)
        rows = rows.reshape(len(rows), -1)
        if criterion == "fpgm":
            square = np.square(rows).sum(axis=1)
            apart = (square[:, None] + square[None] - 2 * rows @ rows.T).clip(0)
            scores = np.sqrt(apart).sum(axis=1)
        elif criterion == "l1":
            scores = np.abs(rows).sum(axis=1)
        else:
            scores = np.square(rows).sum(axis=1)
        total[: len(scores)] += scores / max(float(scores.sum()), 1e-30)
    return total

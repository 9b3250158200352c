"""What there is to know of each group of channels: who reads it, and what going costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ocompress.analysis.channels import Group
from ocompress.analysis.linear_layer import Refusal
from ocompress.ir import Model
from ocompress.lossy.ablation import Trial, tried
from ocompress.lossy.channel_fisher import vanishing
from ocompress.lossy.fisher import curvature
from ocompress.pipeline import Context
from passes.pruning import channel_costs, channel_readers
from passes.pruning.channel_costs import Order, Reader
from passes.pruning.channel_readers import ReaderSums
from passes.pruning.lasso import lasso

DATA_FREE = ("l1", "l2", "fpgm")
WITH_DATA = ("activation", "deviation", "taylor", "thinet", "lasso", "obs")
CRITERIA = ("auto", *DATA_FREE, *WITH_DATA)
WITHOUT_SUMS = ("activation", "deviation")
"""Criteria that look at what layers read, and at nothing else."""


@dataclass
class ChannelSurvey:
    """The orders in which the channels of groups go.

    Attributes:
        orders: By position of the group.
        measured: Positions of the groups whose costs come from data and can be compared.
        unknown: Why nothing could be measured of the others, by position.
    """

    orders: dict[int, Order] = field(default_factory=dict)
    measured: set[int] = field(default_factory=set)
    unknown: dict[int, str] = field(default_factory=dict)


def survey(model: Model, groups: Sequence[Group], criterion: str, ctx: Context) -> ChannelSurvey:
    """Find for each group in which order its channels go, and at what cost.

    Args:
        model: The model as it is.
        groups: Groups that are not refused.
        criterion: One of `CRITERIA` but `auto`.
        ctx: Has the data, if the criterion needs them.
    """
    found = ChannelSurvey()
    if criterion in DATA_FREE:
        for at, group in enumerate(groups):
            found.orders[at] = channel_costs.by_score(_norms(group, criterion))
        return found
    if not groups:
        return found
    behind = {at: channel_readers.layers_behind(group, model) for at, group in enumerate(groups)}
    found.unknown = {at: b.why for at, b in behind.items() if isinstance(b, Refusal)}
    layers = {at: b for at, b in behind.items() if not isinstance(b, Refusal)}
    sites = {id(s.node): s for pairs in layers.values() for _, s in pairs}
    curvatures = curvature(model, list(sites.values()), ctx)
    seen = ReaderSums(model, list(sites.values()), ctx)
    ends = {at: g for at, g in enumerate(groups) if g.sinks and at in layers}
    sums = vanishing(model, ends, ctx) if ends and criterion not in WITHOUT_SUMS else {}
    trials: dict[str, Trial] = {}
    stage = f"{ctx.source}: measuring the cost of removing channels"
    for at, group in enumerate(groups):
        ctx.progress(stage, at, len(groups))
        readers = None
        if at in layers and (not group.sinks or at in sums):
            readers = channel_readers.readers_of(group, layers[at], seen, curvatures, criterion)
        if readers is None:
            found.orders[at] = channel_costs.by_score(_norms(group, "l2"))
            continue
        readers += [channel_readers.sum_reader(sums[at])] if at in sums else []
        order = _order(readers, group.size, criterion)
        if order.probed:
            trials[f"{at}"] = channel_readers.trial_of(group, layers[at], order, seen)
        found.orders[at] = order
        found.measured.add(at)
    ctx.progress(stage, len(groups), len(groups))
    times = tried(model, trials, ctx)
    for at in found.measured:
        order = found.orders[at]
        found.orders[at] = replace(order, costs=order.costs * times.of(f"{at}"))
    return found


def _order(readers: Sequence[Reader], size: int, criterion: str) -> Order:
    if criterion == "obs":
        return channel_costs.judged(channel_costs.surgeon(readers, size), readers)
    if criterion == "lasso":
        return channel_costs.judged(lasso(readers, size), readers)
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

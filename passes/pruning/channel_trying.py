"""Trying out one group without some of its channels, to see what that really does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from ocompress.analysis.linear_rows import Site, site_of
from ocompress.analysis.sensitivity import Edit, sensitivity
from ocompress.ir import Model, edit
from ocompress.pipeline import Context
from passes.pruning.channel_costs import Order
from passes.pruning.refitting import shift_bias
from passes.pruning.trying import factor, samples_for


@dataclass(frozen=True)
class Change:
    """Another weight for a layer.

    Attributes:
        label: Label of its node.
        index: Input of the weight.
        weight: The weight, of the layer's shape.
        shift: What it adds to the mean of each output, for a bias to make up for; None if the
            layer has none.
    """

    label: str
    index: int
    weight: np.ndarray
    shift: np.ndarray | None


@dataclass(frozen=True)
class Probe:
    """The readers of a group that do without some of its channels.

    Attributes:
        name: What the group is called.
        changes: Their weights.
    """

    name: str
    changes: Sequence[Change]


def tried(
    model: Model, orders: Mapping[int, Order], probes: Mapping[int, Probe], ctx: Context
) -> dict[int, float]:
    """Return by what the costs of groups are to be multiplied, for what was measured.

    Errors of neighbouring places add up where they are pooled, and large ones are not what
    gradients say: what is predicted is off by up to ten times, and by another factor for every
    group.

    Args:
        model: The model as it is.
        orders: With the predicted costs, by position of the group.
        probes: What is tried, by position.
        ctx: Has the data.
    """
    variants = {f"{at}": _variant(probe) for at, probe in probes.items()}
    stage = f"{ctx.source}: trying groups one at a time"
    samples = samples_for(model, len(variants), ctx)
    seen = sensitivity(model, variants, ctx.data, partial(ctx.progress, stage), samples=samples)
    found = {}
    for at in probes:
        if f"{at}" in seen:
            order = orders[at]
            predicted = float(order.costs[order.probed - 1])
            found[at] = factor(seen[f"{at}"], predicted)
    return found


def _variant(probe: Probe) -> Edit:
    def put(model: Model) -> bool:
        by_label = {n.label: n for n in model.graph.nodes}
        for change in probe.changes:
            node = by_label.get(change.label)
            if node is None:
                return False
            value = edit.own_weight(node, change.index)
            assert value.data is not None
            edit.set_weight(value, change.weight.astype(value.data.dtype))
            site = site_of(node)
            if change.shift is not None and isinstance(site, Site):
                shift_bias(site, -change.shift)
        return True

    return put

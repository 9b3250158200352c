"""Who reads the channels of a group: layers, and sums without weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ocompress.analysis.channels import Cut, Group
from ocompress.analysis.linear_layer import LINEAR, Refusal
from ocompress.analysis.linear_rows import MOST_INPUTS, Site, bias_place, site_of
from ocompress.analysis.spill_store import SpillStore
from ocompress.ir import Model
from ocompress.lossy import input_moments
from ocompress.lossy.ablation import Change, Mask, Trial
from ocompress.pipeline import Context
from passes.pruning.channel_costs import Order, Reader

_HELD = 256 << 20
"""Bytes of sums that are held in memory, at most; the rest is on disk meanwhile."""
Layers = Sequence[tuple[Cut, Site]]


class ReaderSums:
    """Sums of what each layer reads, on a shelf."""

    def __init__(self, model: Model, sites: list[Site], ctx: Context) -> None:
        """Look at what some layers read, in one walk."""
        self._shelf = SpillStore(_HELD)
        self._means: dict[int, np.ndarray] = {}
        self._parts: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        for site, _, sums in input_moments.look(model, [(s, [s]) for s in sites], ctx):
            if sums is None:
                continue
            self._means[id(site.node)] = sums.x
            self._shelf.put(id(site.node), sums.xx)
            if sums.parts is not None:
                self._parts[id(site.node)] = sums.parts[0].x, sums.parts[1].x
                for at, part in enumerate(sums.parts):
                    self._shelf.put((id(site.node), at), part.xx)

    def mean(self, site: Site) -> np.ndarray:
        """Return the mean of what a layer reads, (groups, inputs)."""
        return self._means[id(site.node)]

    def get(self, site: Site, *, centred: bool) -> np.ndarray | None:
        """Return mean products, about the mean if `centred`; None if nothing was seen."""
        mean = self._means.get(id(site.node))
        if mean is None or mean.shape != (site.groups, site.inputs):
            return None
        return _about(self._shelf.get(id(site.node)), mean, centred=centred)

    def parts(self, site: Site, *, centred: bool) -> tuple[np.ndarray, np.ndarray] | None:
        """Return what `get` does of the samples to fit to and of those to judge by.

        Returns:
            None where rows are plenty, or were not seen.
        """
        means = self._parts.get(id(site.node))
        if means is None:
            return None
        fit, judge = (
            _about(self._shelf.get((id(site.node), at)), mean, centred=centred)
            for at, mean in enumerate(means)
        )
        return fit, judge


def layers_behind(group: Group, model: Model) -> Layers | Refusal:
    """Return the layers that read the channels as rows of a matrix; or what else reads them.

    Sums without weights are no layers, and are not looked at here.
    """
    found = []
    for cut in group.consumers:
        site = site_of(cut.node) if cut.node.graph is model.graph else None
        if not isinstance(site, Site) or site.layer.weight_at != cut.index:
            return Refusal("not-measured", f"{cut.node.label!r} reads them, {_why_none(cut, site)}")
        if site.inputs > MOST_INPUTS:
            why = f"{cut.node.label!r} reads more than {MOST_INPUTS:,} inputs"
            return Refusal("not-measured", why)
        found.append((cut, site))
    outside = next((s.node.label for s in group.sinks if s.node.graph is not model.graph), None)
    if outside is not None:
        return Refusal("not-measured", f"{outside!r} reads them in a body of control flow")
    if not found and not group.sinks:
        return Refusal("not-measured", "no layer reads them")
    return found


def _why_none(cut: Cut, site: Site | Refusal | None) -> str:
    if isinstance(site, Refusal):
        return f"and {site.why}"
    if site is None and cut.node.is_op(*LINEAR):
        return "with a weight that is computed, as of a table that is also looked up"
    return "where no weight multiplies them or nothing can be observed"


def readers_of(
    group: Group,
    layers: Layers,
    seen: ReaderSums,
    curvatures: Mapping[str, np.ndarray],
    criterion: str,
) -> list[Reader] | None:
    """Return the matrices that read the channels; None if what they read was not seen.

    Args:
        group: The channels.
        layers: Their readers, with where they read.
        seen: What readers read.
        curvatures: What errors of a layer's outputs cost, (groups, outputs, outputs) or (groups,
            outputs), by name of its output.
        criterion: Of the pass.
    """
    found = []
    for cut, site in layers:
        centred = bias_place(site) is not None and criterion != "activation"
        hessian = seen.get(site, centred=centred or criterion == "deviation")
        if hessian is None:
            return None
        matrix = site.matrix(site.layer.weight.astype(np.float64))
        own = _curvature_of(site, hessian, matrix, curvatures)
        parts = seen.parts(site, centred=centred)
        for at in range(site.groups):
            rows = rows_of(cut, site, at, group.size)
            if (rows >= 0).any():
                both = None if parts is None else (parts[0][at], parts[1][at])
                found.append(Reader(matrix[at], hessian[at], own[at], rows, parts=both))
    return found


def sum_reader(information: np.ndarray) -> Reader:
    """Return sums without weights as a reader that adds the channels up.

    Args:
        information: Of a factor on each channel, (channels, channels), see
            `ocompress.lossy.channel_fisher`.
    """
    size = len(information)
    return Reader(np.ones((size, 1)), information, np.ones(1), np.arange(size)[:, None], fixed=True)


def trial_of(group: Group, layers: Layers, order: Order, seen: ReaderSums) -> Trial:
    """Return what to try: layers as the order left them when it was probed, sums cut alike."""
    changes: list[Change] = []
    left = list(order.probe)
    for cut, site in layers:
        matrix = site.matrix(site.layer.weight.astype(np.float64))
        made = matrix.copy()
        for at in range(site.groups):
            if (rows_of(cut, site, at, group.size) >= 0).any():
                made[at] = left.pop(0)
        shift = None
        if bias_place(site) is not None:
            shift = np.einsum("gi,gio->go", seen.mean(site), made - matrix).reshape(-1)
        changes.append(Change(site.node.label, site.layer.weight_at, site.weight(made), shift))
    gone = order.channels[: order.probed]
    masks = [
        Mask(s.node.label, s.index, s.axis, np.isin(s.channel, gone, invert=True))
        for s in group.sinks
    ]
    cost = float(order.costs[order.probed - 1])
    return Trial(changes, cost, masks, left_out=order.left_out)


def _about(products: np.ndarray, mean: np.ndarray, *, centred: bool) -> np.ndarray:
    """Return mean products about the mean or zero, given those about the mean."""
    return products if centred else products + mean[:, :, None] * mean[:, None, :]


def _curvature_of(
    site: Site, hessian: np.ndarray, matrix: np.ndarray, curvatures: Mapping[str, np.ndarray]
) -> np.ndarray:
    known = curvatures.get(site.node.output.name)
    if known is not None and known.shape[:2] == (site.groups, site.outputs):
        return known
    total = max(float((matrix * (hessian @ matrix)).sum()), 1e-30)
    return np.full((site.groups, site.outputs), 1 / total)


def rows_of(cut: Cut, site: Site, group: int, size: int) -> np.ndarray:
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

"""How many values weights could share, and what each number of them would cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ocompress.ir import Model
from ocompress.lossy.ablation import Change, Factors, Trial, tried
from ocompress.lossy.engine import Plan, Reason
from ocompress.lossy.fisher import alone
from ocompress.lossy.layer_weights import LayerWeight
from ocompress.pipeline import Context
from ocompress.planning import KEEP, Move, MoveTable
from passes.pruning.costs import View, Views
from passes.sharing.clusters import ShareValues, nearest
from passes.sharing.layer_problem import cost_of
from passes.sharing.palettes import find
from passes.sharing.pricing import place
from passes.sharing.sizes import SizedProposal

BITS = tuple(range(1, 9))
_TRIED = 3
"""Bits at which each weight is tried alone, to see what errors of it really cost."""
_PER_VALUE = 2
"""Weights to a value of a palette at least: fewer save nothing."""


@dataclass(frozen=True)
class Wanted:
    """What options say.

    Attributes:
        start: How k-means starts.
        channels: Outputs that share a palette; 0 for all of a layer.
        together: Whether all layers share one palette.
        seed: Draws.
    """

    start: str
    channels: int
    together: bool
    seed: int


class Counts(SizedProposal):
    """Weights that may share values; each part is a weight."""

    def __init__(self, weights: Sequence[LayerWeight], table: MoveTable, wanted: Wanted) -> None:
        """Start with the moves of each weight."""
        super().__init__(weights, table)
        self._together = wanted.together
        for part, rows in table.rows.items():
            if len(rows) == 1:
                self.reasons[part] = _few_values(BITS[0])

    def taking(self, part: float) -> Plan:
        """Return the plan with the least error that takes no more than a part of the bytes."""
        if not self._together:
            return super().taking(part)
        limit = part * self.table.total({}, "bytes")
        plans = [self.with_bits(dict.fromkeys(self.layers, bits)) for bits in BITS]
        sizes = [self._size(plan) for plan in plans]
        return next((p for p, s in zip(plans[::-1], sizes[::-1], strict=True) if s <= limit), {})

    def with_bits(self, bits: Mapping[str, int]) -> Plan:
        """Return the moves with so many bits, by part; notes why a part has none."""
        found = {}
        for part, rows in self.table.rows.items():
            own = [m for m in rows if isinstance(m.edit, ShareValues) and m.edit.bits == bits[part]]
            if own:
                found[part] = own[0]
            else:
                self.reasons[part] = _few_values(bits[part])
        return found

    def _size(self, plan: Plan) -> int:
        return sum(plan[p].bytes if p in plan else m[0].bytes for p, m in self.table.rows.items())


def _few_values(bits: int) -> Reason:
    why = f"it has few different values, or too few weights for {1 << bits}"
    return Reason("few-values", why)


@dataclass(frozen=True)
class _Metric:
    """What errors of a weight cost: squared errors of each element, and all together."""

    costs: np.ndarray
    curvature: np.ndarray | None
    errors: Mapping[int, float]
    tried: Trial | None


def counts(
    model: Model, weights: Sequence[LayerWeight], wanted: Wanted, ctx: Context, *, seen: bool
) -> Counts:
    """Return the moves of weights: so many values, at what cost.

    Costs are those of the nearest values by k-means, of which second order leaves a part that
    hardly depends on the layer.

    Args:
        model: The model as it is.
        weights: Its weights.
        wanted: What options say.
        ctx: Has the data, if there are any.
        seen: Whether data may be looked at.
    """
    metrics: dict[str, _Metric] = {}
    if seen:
        for view in Views(model, weights, ctx, "k-means"):
            metrics[view.candidate.name] = _metric(view.candidate, view, wanted)
    for weight in weights:
        if weight.name not in metrics:
            metrics[weight.name] = _metric(weight, None, wanted)
    trials = {name: m.tried for name, m in metrics.items() if m.tried is not None}
    factors = tried(model, trials, ctx) if seen and trials else Factors()
    tables = _common(weights, metrics, factors, wanted) if wanted.together else {}
    table = MoveTable()
    for weight in weights:
        metric, factor = metrics[weight.name], factors.of(weight.name)
        table.add(Move(weight.name, KEEP, "", 0.0, weight.array.nbytes, 0.0))
        for bits, error in metric.errors.items():
            curvature = None if metric.curvature is None else metric.curvature * factor
            readers = tuple(n.label for n in weight.nodes)
            own = (bits, wanted.start, wanted.channels, curvature, tables.get(bits), wanted.seed)
            share = ShareValues(readers, place(weight), *own)
            setting = f"{1 << bits} values"
            size = _size(weight, bits, wanted)
            row = (weight.name, "clusters", setting, factor * error, size, 0.0)
            table.add(Move(*row, edit=share))
    return Counts(weights, table, wanted)


def _metric(weight: LayerWeight, view: View | None, wanted: Wanted) -> _Metric:
    """Look at a weight: by what its layer reads and is read for, or by itself."""
    array = weight.array.astype(np.float64)
    power = max(float(np.square(array).sum()), 1e-300)
    costs, curvature = np.full(array.shape, 1 / power, np.float32), None
    if view is not None:
        single = np.einsum("gii->gi", view.hessian)[:, :, None]
        curvature = view.curvature
        costs = view.site.weight(single * alone(curvature)[:, None]).astype(np.float32)
    errors, trial = {}, None
    for bits in _possible(weight, wanted):
        move = ShareValues((), 0, bits, wanted.start, wanted.channels, None, seed=wanted.seed)
        made, _ = nearest(weight, move, costs)
        off = made.astype(np.float64) - array
        if view is None:
            errors[bits] = float((np.square(off) * costs).sum())
        else:
            errors[bits] = cost_of(view.hessian, view.curvature, view.site.matrix(off))
        if trial is None or bits <= _TRIED:
            change = Change(
                weight.nodes[0].label,
                place(weight),
                made,
                view.shift(off) if view is not None else None,
            )
            trial = Trial([change], errors[bits])
    return _Metric(costs, curvature, errors, trial)


def _possible(weight: LayerWeight, wanted: Wanted) -> list[int]:
    """Return the bits that save something."""
    distinct = len(np.unique(weight.array))
    palettes = _palettes(weight, wanted)
    most = weight.array.size / (_PER_VALUE * palettes)
    return [bits for bits in BITS if 1 << bits < distinct and 1 << bits <= most]


def _palettes(weight: LayerWeight, wanted: Wanted) -> int:
    outputs = weight.form.outputs
    return -(-outputs // wanted.channels) if wanted.channels else 1


def _size(weight: LayerWeight, bits: int, wanted: Wanted) -> int:
    """Return the bytes of places and palettes."""
    values = _palettes(weight, wanted) << bits
    return -(-weight.array.size * bits // 8) + values * weight.array.itemsize


def _common(
    weights: Sequence[LayerWeight],
    metrics: Mapping[str, _Metric],
    factors: Factors,
    wanted: Wanted,
) -> dict[int, np.ndarray]:
    """Return palettes for all layers together, by bits."""
    arrays = [w.array.astype(np.float64).reshape(-1) for w in weights]
    if not arrays:
        return {}
    each = [metrics[w.name].costs.reshape(-1) * factors.of(w.name) for w in weights]
    values, costs = np.concatenate(arrays), np.concatenate(each)
    used = values != 0
    given = values[used], costs[used].astype(np.float64)
    return {
        bits: find(*given, 1 << bits, wanted.start, zero=not used.all(), seed=wanted.seed)
        for bits in BITS
    }

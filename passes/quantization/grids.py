"""One grid per tensor: calibrated ranges, and grids that several tensors share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ocompress.analysis.ranges import Histogram
from ocompress.ir import Value
from passes.quantization.placement import owners
from passes.quantization.rules import Sharing
from passes.quantization.scheme import ActivationGrid, affine_grid
from passes.quantization.units import Unit

_LIKED = 1.6
"""Concat inputs share a grid if their own is at most this much finer, or nobody else reads them."""


@dataclass
class _Range:
    low: float
    high: float
    from_zero: bool
    """Whether a tail wants zero to be the lowest integer."""
    ceiling: float
    """What the highest number may not exceed."""

    def join(self, other: _Range) -> _Range:
        return _Range(
            min(self.low, other.low),
            max(self.high, other.high),
            self.from_zero or other.from_zero,
            min(self.ceiling, other.ceiling),
        )

    @property
    def consistent(self) -> bool:
        return not (self.from_zero and self.low < 0) and self.high <= self.ceiling


class _Classes:
    """Union-find over values by id; every class has one range."""

    def __init__(self) -> None:
        self._parent: dict[int, int] = {}
        self.ranges: dict[int, _Range] = {}

    def find(self, key: int) -> int:
        while (up := self._parent.get(key, key)) != key:
            self._parent[key] = self._parent.get(up, up)
            key = up
        return key

    def join(self, key: int, other: int, joined: _Range) -> None:
        first, second = self.find(key), self.find(other)
        if first != second:
            self._parent[second] = first
            self.ranges.pop(second, None)
        self.ranges[first] = joined


def integer_values(units: Sequence[Unit]) -> dict[int, Value]:
    """Return the values that exist as integers once `units` are integer operators, by id."""
    makers, sinks = owners(units)
    found: dict[int, Value] = {}
    for unit in units:
        for _, value in unit.data:
            found[id(value)] = value
        for value in unit.outputs:
            read = any((id(n), i) in sinks for n, i in value.users)
            if read or not unit.output_optional:
                found[id(value)] = value
    return {k: v for k, v in found.items() if k in makers or v.users}


def assign_grids(
    units: Sequence[Unit],
    ranges: Callable[[str], tuple[float, float]],
    dtype: str,
    *,
    symmetric: bool,
) -> dict[int, ActivationGrid]:
    """Return the grid of every integer value, by id.

    Args:
        units: The integer operators, in graph order.
        ranges: Gives the calibrated range of a value by name.
        dtype: `uint8` or `int8`.
        symmetric: Whether ranges are symmetric around zero.
    """
    values = integer_values(units)
    tails = {id(u.outputs[0]): u for u in units if u.tail is not None}
    classes = _Classes()
    for key, value in values.items():
        low, high = ranges(value.name)
        unit = tails.get(key)
        ceiling = float("inf")
        if unit is not None:
            ceiling = float("inf") if unit.ceiling is None else unit.ceiling
            low, high = max(0.0, low), min(high, ceiling)
        classes.ranges[key] = _Range(min(0.0, low), max(0.0, high), unit is not None, ceiling)
    for unit in units:
        if unit.same_grid:
            _join_same(unit, classes)
    for unit in units:
        if unit.rule.sharing is Sharing.LIKED:
            _join_liked(unit, classes)
    return {key: _grid(classes.ranges[classes.find(key)], dtype, symmetric) for key in values}


def _join_same(unit: Unit, classes: _Classes) -> None:
    source = id(unit.data[0][1])
    kept = classes.ranges[classes.find(source)]
    for value in unit.outputs:
        # integers only move, so the outputs take over the range that the input has
        first, second = classes.find(source), classes.find(id(value))
        if first != second:
            classes.join(first, second, kept)


def _join_liked(unit: Unit, classes: _Classes) -> None:
    target = id(unit.outputs[0])
    for _, value in unit.data:
        ours = classes.ranges[classes.find(target)]
        theirs = classes.ranges[classes.find(id(value))]
        joined = ours.join(theirs)
        extent, own = joined.high - joined.low, theirs.high - theirs.low
        alone = value.use_count == 1
        if joined.consistent and (alone or extent <= _LIKED * own):
            classes.join(target, id(value), joined)


def _grid(span: _Range, dtype: str, symmetric: bool) -> ActivationGrid:
    return affine_grid(span.low, span.high, dtype, symmetric=symmetric and not span.from_zero)


def ideal_error(histogram: Histogram, grid: ActivationGrid) -> float:
    """Return the expected squared error of a value on its grid relative to its mean square."""
    import numpy as np

    from ocompress.analysis.calibrators import expected_error

    counts = histogram.counts.astype(np.float64)
    power = float((counts * histogram.centres**2).sum() / max(1.0, counts.sum()))
    if power == 0 or counts.sum() == 0:
        return 0.0
    error = expected_error(histogram, np.array([grid.low]), np.array([grid.high]))
    return float(error[0]) / power

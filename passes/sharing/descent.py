"""Moving levels, one at a time, to where error and bits together are least."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ocompress.coding import LevelRates
from passes.sharing.layer_problem import LayerProblem, sweep

LARGEST = 2.0**15
"""Largest magnitude of a level, about."""
_SWEEPS = 6
_STILL = 1e-4
"""Share of the levels that a sweep has to change for another one to follow."""


@dataclass(frozen=True)
class RoundingProblem(LayerProblem):
    """A layer to round: the error, plus a price times the bits.

    Attributes:
        mask: Which weights are expected not to be zero.
        price: What a bit costs.
    """

    mask: np.ndarray
    price: float


def descend(
    problem: RoundingProblem,
    levels: np.ndarray,
    step: np.ndarray,
    sweeps: int = _SWEEPS,
    *,
    at_once: bool = False,
) -> None:
    """Move every level in turn to where error and bits are least, until they are still.

    Args:
        problem: The layer.
        levels: Changed in place.
        step: One number.
        sweeps: How often, at most.
        at_once: Whether many levels of an input may move at once, see `sweep`.
    """
    for _ in range(sweeps):
        rates = LevelRates.of(levels)
        row_of = _rows(problem, levels, rates)
        if sweep(problem, levels, float(step), row_of, at_once=at_once) <= _STILL * levels.size:
            break


def _rows(
    problem: RoundingProblem, levels: np.ndarray, rates: LevelRates
) -> Callable[[int, np.ndarray, np.ndarray], _Row]:
    """Return what makes the row of an input."""

    def row(at: int, slope: np.ndarray, bend: np.ndarray) -> _Row:
        own = rates.at(slice(at, at + 1))
        return _Row(levels[:, at], slope, bend, problem.free[:, at], own, problem.price)

    return row


@dataclass
class _Row:
    """All levels of one input, (groups, outputs)."""

    values: np.ndarray
    slope: np.ndarray
    bend: np.ndarray
    free: np.ndarray
    rates: LevelRates
    price: float

    def best(self) -> tuple[np.ndarray, np.ndarray]:
        """Return where each level would go alone, and what that changes (negative or zero)."""
        now = self.price * self.rates.bits(self.values[:, None])[:, 0]
        wanted = self.values - self.slope / np.maximum(self.bend, 1e-300)
        near = np.rint(np.clip(wanted, -LARGEST, LARGEST))
        found, gain = self.values, np.zeros_like(self.slope)
        for levels in (near, near - np.sign(near), np.zeros_like(near)):
            by = levels - self.values
            rate = self.price * self.rates.bits(levels[:, None])[:, 0] - now
            change = by * (2 * self.slope + self.bend * by) + rate
            better = (change < gain) & self.free
            found, gain = np.where(better, levels, found), np.where(better, change, gain)
        return found, gain

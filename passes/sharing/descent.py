"""Moving levels, one at a time, to where error and bits together are least."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ocompress.coding import LevelRates
from ocompress.lossy.fisher import across, alone

LARGEST = 2.0**15
"""Largest magnitude of a level, about."""
_SWEEPS = 6
_STILL = 1e-4
"""Share of the levels that a sweep has to change for another one to follow."""


@dataclass(frozen=True)
class RoundingProblem:
    """A layer to round: tr(G D^T H D) for an error D, plus a price times the bits.

    Attributes:
        target: The weight that would cost nothing, (groups, inputs, outputs), float64.
        hessian: H, what an error does at the layer's outputs, (groups, inputs, inputs).
        curvature: G, what errors of outputs cost, (groups, outputs, outputs) in pairs, or (groups,
            outputs).
        mask: Which weights are expected not to be zero.
        free: Which weights may be other than zero.
        price: What a bit costs.
        precision: Bits of a number of the weight's type.
    """

    target: np.ndarray
    hessian: np.ndarray
    curvature: np.ndarray
    mask: np.ndarray
    free: np.ndarray
    price: float
    precision: int = 24


def descend(
    problem: RoundingProblem, levels: np.ndarray, step: np.ndarray, sweeps: int = _SWEEPS
) -> None:
    """Move every level in turn to where error and bits are least, until they are still.

    Args:
        problem: The layer.
        levels: Changed in place.
        step: One number.
        sweeps: How often, at most.
    """
    for _ in range(sweeps):
        if _sweep(problem, levels, step, LevelRates.of(levels)) <= _STILL * levels.size:
            break


def _sweep(
    problem: RoundingProblem, levels: np.ndarray, step: np.ndarray, rates: LevelRates
) -> int:
    """Move every level to where error and bits together are least, the others as they are.

    Args:
        problem: The layer.
        levels: Changed in place.
        step: One number.
        rates: Bits of levels.

    Returns:
        How many levels moved.
    """
    size = float(step)
    off = levels * size - problem.target
    single = alone(problem.curvature)
    moved = 0
    for at in range(levels.shape[1]):
        slope = across(problem.hessian[:, at : at + 1] @ off, problem.curvature)[:, 0]
        row = _Row(
            levels[:, at],
            slope * size,
            problem.hessian[:, at, at, None] * single * size**2,
            problem.free[:, at],
            rates.at(slice(at, at + 1)),
            problem.price,
        )
        before = row.levels.copy()
        if problem.curvature.ndim == 2:
            row.levels[...] = row.best()[0]
        else:
            _one_by_one(row, problem, at, size)
        changed = row.levels != before
        if changed.any():
            moved += int(changed.sum())
            levels[:, at] = row.levels
            off[:, at] = row.levels * size - problem.target[:, at]
    return moved


@dataclass
class _Row:
    """All levels of one input, (groups, outputs)."""

    levels: np.ndarray
    slope: np.ndarray
    bend: np.ndarray
    free: np.ndarray
    rates: LevelRates
    price: float

    def best(self) -> tuple[np.ndarray, np.ndarray]:
        """Return where each level would go alone, and what that changes (negative or zero)."""
        now = self.price * self.rates.bits(self.levels[:, None])[:, 0]
        wanted = self.levels - self.slope / np.maximum(self.bend, 1e-300)
        near = np.rint(np.clip(wanted, -LARGEST, LARGEST))
        found, gain = self.levels, np.zeros_like(self.slope)
        for levels in (near, near - np.sign(near), np.zeros_like(near)):
            by = levels - self.levels
            rate = self.price * self.rates.bits(levels[:, None])[:, 0] - now
            change = by * (2 * self.slope + self.bend * by) + rate
            better = (change < gain) & self.free
            found, gain = np.where(better, levels, found), np.where(better, change, gain)
        return found, gain


_MOST_MOVES = 64


def _one_by_one(row: _Row, problem: RoundingProblem, at: int, size: float) -> None:
    """Move levels of one input that make up for one another, the one that gains most first."""
    groups = np.arange(len(row.levels))
    scale = problem.hessian[:, at, at] * size**2
    for _ in range(_MOST_MOVES):
        found, gain = row.best()
        most = gain.argmin(axis=1)
        by = found[groups, most] - row.levels[groups, most]
        if not by.any():
            return
        row.levels[groups, most] += by
        row.slope = row.slope + (scale * by)[:, None] * problem.curvature[groups, most]

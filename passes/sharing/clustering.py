"""Giving weights values of a palette by second order, and palettes the best values."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ocompress.lossy.fisher import alone
from passes.sharing.layer_problem import LayerProblem, error_of, in_parts, sweep
from passes.sharing.palettes import Palettes, find
from passes.sharing.shared_values import fitted_values

_PARTS = 16
_ROUNDS = 4
"""How often values of palettes and places in them take turns."""
_SWEEPS = 2
_STEPS = 40


@dataclass(frozen=True)
class Clustered:
    """A layer on palettes.

    Attributes:
        palettes: The palettes.
        places: Where in its table each weight is, (groups, inputs, outputs).
        error: What the layer costs at the model's outputs.
    """

    palettes: Palettes
    places: np.ndarray
    error: float

    @property
    def matrix(self) -> np.ndarray:
        """The weight, (groups, inputs, outputs), float64."""
        return self.palettes.values(self.places)


def start(
    problem: LayerProblem, which: np.ndarray, count: int, how: str, seed: int = 0
) -> Palettes:
    """Return palettes by k-means, weights counting as much as errors of them cost.

    Args:
        problem: The layer.
        which: Palette of each output, (groups, outputs).
        count: Values of a palette.
        how: One of `palettes.STARTS`.
        seed: Draws.
    """
    costs = np.einsum("gii->gi", problem.hessian)[:, :, None] * alone(problem.curvature)[:, None]
    own = np.broadcast_to(which[:, None], problem.target.shape)
    tables = []
    for palette in range(int(which.max()) + 1):
        mine = own == palette
        free = mine & problem.free
        zero = bool((mine & ~problem.free).any())
        values, weights = problem.target[free], costs[free]
        tables.append(find(values, weights, count, how, zero=zero, seed=seed))
    return Palettes(np.stack(tables), which)


def cluster(problem: LayerProblem, palettes: Palettes, *, fixed: bool = False) -> Clustered:
    """Put a layer on palettes.

    Inputs get their values in parts, and what is left is fitted after each. Then values of the
    palettes, in closed form, and places in them, one weight at a time, take turns: neither can
    make the error larger.

    Args:
        problem: The layer.
        palettes: To start with.
        fixed: Whether palettes stay as they are.
    """
    places = np.zeros(problem.target.shape, np.intp)

    def place(matrix: np.ndarray, taken: np.ndarray) -> np.ndarray:
        near = palettes.nearest(matrix[:, taken] * problem.free[:, taken])
        places[:, taken] = near
        return palettes.values(near)

    order = np.random.default_rng(0).permutation(problem.target.shape[1])
    in_parts(problem, problem.free, np.array_split(order, min(_PARTS, len(order))), place)
    for _ in range(_ROUNDS):
        if not fixed:
            palettes = refitted(problem, palettes, places)
        palettes, places, moved = _descend(problem, palettes, places)
        if not moved:
            break
    if not fixed:
        palettes = refitted(problem, palettes, places)
    return Clustered(palettes, places, error_of(problem, palettes.values(places)))


def refitted(problem: LayerProblem, palettes: Palettes, places: np.ndarray) -> Palettes:
    """Return the palettes with the least error for given places, zeros as they are."""
    values = palettes.tables.reshape(-1)
    own = palettes.which[:, None] * palettes.tables.shape[1] + places
    found = fitted_values(problem, values, own, values != 0, min(_STEPS, 2 * values.size))
    return replace(palettes, tables=found.reshape(palettes.tables.shape))


def _descend(
    problem: LayerProblem, palettes: Palettes, places: np.ndarray
) -> tuple[Palettes, np.ndarray, int]:
    """Move weights, one at a time, to the best value of their palettes, given all others."""
    order = np.argsort(palettes.tables, axis=1, kind="stable")
    palettes = replace(palettes, tables=np.take_along_axis(palettes.tables, order, 1))
    values = palettes.values(np.argsort(order, axis=1)[palettes.which[:, None], places])
    moved = 0

    def row(at: int, slope: np.ndarray, bend: np.ndarray) -> _Row:
        return _Row(values[:, at], slope, bend, problem.free[:, at], palettes)

    for _ in range(_SWEEPS):
        now = sweep(problem, values, 1.0, row)
        moved += now
        if not now:
            break
    return palettes, palettes.nearest(values), moved


@dataclass
class _Row:
    """The values of one input, (groups, outputs)."""

    values: np.ndarray
    slope: np.ndarray
    bend: np.ndarray
    free: np.ndarray
    palettes: Palettes

    def best(self) -> tuple[np.ndarray, np.ndarray]:
        """Return where each value would go alone, and what that changes (negative or zero)."""
        wanted = self.values - self.slope / np.maximum(self.bend, 1e-300)
        near = self.palettes.values(self.palettes.nearest(wanted))
        by = near - self.values
        change = by * (2 * self.slope + self.bend * by)
        better = (change < 0) & self.free
        return np.where(better, near, self.values), np.where(better, change, 0.0)

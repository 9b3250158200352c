"""What errors of a layer's weight cost, and moving values one at a time to where that is least."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ocompress.analysis.linear_rows import Site
from ocompress.analysis.regression import Regression
from ocompress.analysis.weight_form import epsilon
from ocompress.lossy.fisher import across, alone
from ocompress.lossy.inverses import solved
from ocompress.lossy.least_squares import Fit, conjugate_gradients, size_of

_DAMPING = 0.1
"""Largest ridge, relative to the mean variance of the inputs: more would charge errors of rounding
for what inputs hardly do."""
_LEAST_LEVEL = 0.1
"""Variance of a group's inputs, relative to that of all groups, below which the ridge gets no
smaller: what hardly varied in the samples at hand may vary in others."""
_MOST_MOVES = 64
_PARTS = 4
"""Parts of the outputs of a row of which each moves at once."""
_BLOCK = 64
"""Inputs whose slopes are found at once: one product of matrices for them all."""
_FIRST_ROUNDS, _ROUNDS, _TOLERANCE = 60, 8, 1e-3
"""Of conjugate gradients, for all weights and for what is left of them."""


@dataclass(frozen=True)
class LayerProblem:
    """A layer whose weight is to get other values: tr(G D^T H D) is what an error D costs.

    Attributes:
        target: The weight that would cost nothing, (groups, inputs, outputs), float64.
        hessian: H, what an error does at the layer's outputs, (groups, inputs, inputs).
        curvature: G, what errors of outputs cost, (groups, outputs, outputs) in pairs, or (groups,
            outputs).
        free: Which weights may be other than zero.
        precision: Bits of a number of the weight's type.
        ridge: What the diagonal of H has beside products of inputs, (groups,).
        rows: Rows that these are means over.
    """

    target: np.ndarray
    hessian: np.ndarray
    curvature: np.ndarray
    free: np.ndarray
    precision: int
    ridge: np.ndarray
    rows: int


class Row(Protocol):
    """The values of one input, (groups, outputs), and where they could go.

    Attributes:
        values: Changed in place, as they move.
        slope: Half of what the cost grows by with each value.
        bend: Half of what `slope` grows by.
    """

    values: np.ndarray
    slope: np.ndarray
    bend: np.ndarray

    def best(self) -> tuple[np.ndarray, np.ndarray]:
        """Return where each value would go alone, and what that changes (negative or zero)."""
        ...


def layer_problem(
    site: Site,
    original: np.ndarray,
    fit: Fit,
    sums: Regression,
    curvature: np.ndarray,
    ridge: float | None = None,
) -> LayerProblem:
    """Return what is to be approximated: the best weight for what the layer reads now.

    Args:
        site: The layer.
        original: Its weight as it was; zeros stay.
        fit: What fitting it found.
        sums: What it reads, and what it should make.
        curvature: What errors of its outputs cost.
        ridge: Of H, relative to the mean variance of the inputs; None for the one that proved
            itself in fitting, or a small one.
    """
    start = site.matrix(original.astype(np.float64))
    products = sums.shrunk().xx
    hessian = damped(products, ridge or min(_DAMPING, fit.damping or _DAMPING))
    added = hessian[:, 0, 0] - products[:, 0, 0]
    if ridge is None:
        # what the samples do not tell about is to stay as it is
        told = 1 - sums.shares[:, None, None]
        wanted = told * sums.xy + (hessian - told * sums.xx) @ start
        target = solved(hessian, wanted)
    else:
        target = _proven(start, fit, sums)
    precision = precision_of(original)
    return LayerProblem(target, hessian, curvature, start != 0, precision, added, sums.count)


def _proven(start: np.ndarray, fit: Fit, sums: Regression) -> np.ndarray:
    """Return the best weight for what the layer reads now, as far as samples left out agree."""
    if fit.damping is None:
        return start
    told = 1 - sums.shares[:, None, None]
    hessian = sums.shrunk().xx
    diagonal = np.einsum("gii->gi", hessian)
    diagonal += np.maximum(diagonal.mean(axis=1, keepdims=True), 1e-30) * fit.damping
    return np.asarray(start + solved(hessian, told * (sums.xy - sums.xx @ start)))


def damped(hessian: np.ndarray, ridge: float = _DAMPING) -> np.ndarray:
    """Return products of inputs with a ridge, relative to their mean variance.

    Args:
        hessian: (groups, inputs, inputs).
        ridge: The ridge.
    """
    found = hessian.copy()
    diagonal = np.einsum("gii->gi", found)
    level = diagonal.mean(axis=1, keepdims=True)
    level = np.maximum(level, max(_LEAST_LEVEL * float(level.mean()), 1e-30))
    diagonal += level * ridge
    return found


def precision_of(weight: np.ndarray) -> int:
    """Return the bits of a number of a weight's type, the leading one included."""
    return 1 - int(np.rint(np.log2(epsilon(weight.dtype))))


def error_of(problem: LayerProblem, matrix: np.ndarray) -> float:
    """Return what a weight, (groups, inputs, outputs), costs at the model's outputs."""
    return cost_of(problem.hessian, problem.curvature, matrix - problem.target)


def cost_of(hessian: np.ndarray, curvature: np.ndarray, off: np.ndarray) -> float:
    """Return what an error of a weight, (groups, inputs, outputs), costs at the model's outputs."""
    return float((off * across(hessian @ off, curvature)).sum())


def relative_error(
    sums: Regression, matrix: np.ndarray, bias: np.ndarray, curvature: np.ndarray
) -> float:
    """Return the error of a layer's outputs relative to their variance, by what outputs cost."""
    weights = alone(curvature)
    power = max(float((weights * sums.yy).sum()), 1e-30)
    return float((weights * sums.errors(matrix, bias)).sum()) / power


def in_parts(
    problem: LayerProblem,
    mask: np.ndarray,
    parts: Sequence[np.ndarray],
    place: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> None:
    """Give inputs their values part by part, what is left fitted after each to make up for errors.

    It is what optimal brain quantization does (Frantar et al., 2022), for masks of any kind, and
    outputs that make up for one another.

    Args:
        problem: The layer.
        mask: Which weights may be other than zero.
        parts: Inputs of each part.
        place: Given the weight as it is fitted and the inputs of a part, returns their values,
            (groups, inputs of the part, outputs).
    """
    matrix, left = problem.target, mask.copy()
    level = size_of(problem.hessian)  # both of the size of 1, for single precision
    hessian = (problem.hessian / level).astype(np.float32)
    wanted = problem.hessian @ problem.target
    pairs = None
    if problem.curvature.ndim == 3:
        pairs = problem.curvature / max(float(alone(problem.curvature).max()), 1e-300)
        pairs = pairs.astype(np.float32)
    values = np.zeros_like(matrix)
    for at, taken in enumerate(parts):
        rest = ((wanted - problem.hessian @ values) / level).astype(np.float32)
        start = (matrix * left).astype(np.float32)
        rounds = _ROUNDS if at else _FIRST_ROUNDS
        given = (hessian, rest, start, left, rounds, _TOLERANCE, pairs)
        matrix = conjugate_gradients(*given).astype(np.float64)
        values[:, taken] = place(matrix, taken)
        left[:, taken] = False


def sweep(
    problem: LayerProblem,
    values: np.ndarray,
    unit: float,
    row_of: Callable[[int, np.ndarray, np.ndarray], Row],
    *,
    at_once: bool = False,
) -> int:
    """Move every value to where its row says that it is best, the others as they are.

    Args:
        problem: The layer.
        values: (groups, inputs, outputs), in units; changed in place.
        unit: What weights are multiples of.
        row_of: Makes the row of an input, of views of `values`, given slope and bend.
        at_once: Whether many values of an input may move before those that make up for them do:
            much faster where outputs and moves are many.

    Returns:
        How many values moved.
    """
    off = values * unit - problem.target
    single = alone(problem.curvature)
    moved = 0
    for start in range(0, values.shape[1], _BLOCK):
        block = slice(start, start + _BLOCK)
        # slopes of a block at once; what moves within it is added as it moves
        slopes = across(problem.hessian[:, block] @ off, problem.curvature)
        for at in range(start, start + slopes.shape[1]):
            bend = problem.hessian[:, at, at, None] * single * unit**2
            row = row_of(at, slopes[:, at - start] * unit, bend)
            before = row.values.copy()
            if problem.curvature.ndim == 2:
                row.values[...] = row.best()[0]
                seen = (row.values - before) * problem.curvature
            else:
                move = _part_by_part if at_once else _one_by_one
                seen = move(row, problem, at, unit)
            changed = row.values != before
            if changed.any():
                moved += int(changed.sum())
                off[:, at] = row.values * unit - problem.target[:, at]
                shared = problem.hessian[:, block, at, None]
                slopes += shared * (unit * seen)[:, None]
    return moved


def _one_by_one(row: Row, problem: LayerProblem, at: int, unit: float) -> np.ndarray:
    """Move values of one input that make up for one another, the one that gains most first.

    Returns:
        All moves together times the curvature, (groups, outputs).
    """
    groups = np.arange(len(row.values))
    scale = problem.hessian[:, at, at] * unit**2
    seen = np.zeros_like(row.slope)
    for _ in range(_MOST_MOVES):
        found, gain = row.best()
        most = gain.argmin(axis=1)
        by = found[groups, most] - row.values[groups, most]
        if not by.any():
            break
        row.values[groups, most] += by
        turned = by[:, None] * problem.curvature[groups, most]
        seen += turned
        row.slope = row.slope + scale[:, None] * turned
    return seen


def _part_by_part(row: Row, problem: LayerProblem, at: int, unit: float) -> np.ndarray:
    """Move values of one input that make up for one another, those of a part of outputs at once.

    Returns:
        All moves together times the curvature, (groups, outputs).
    """
    scale = problem.hessian[:, at, at] * unit**2
    single = alone(problem.curvature)
    seen = np.zeros_like(row.slope)
    for part in range(_PARTS):
        found, gain = row.best()
        own = np.arange(row.values.shape[1]) % _PARTS == part
        by = np.where(own, found - row.values, 0)
        moved = np.flatnonzero(by.any(axis=0))
        turned = (by[:, None, moved] @ problem.curvature[:, moved])[:, 0]
        together = scale * (by * (turned - by * single)).sum(axis=1)
        worse = together + gain[:, own].sum(axis=1) > 0
        by[worse] = turned[worse] = 0
        row.values += by
        seen += turned
        row.slope = row.slope + scale[:, None] * turned
    return seen

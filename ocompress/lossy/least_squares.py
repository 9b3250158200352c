"""Fitting the weights that are left to the outputs that are wanted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from ocompress.analysis.regression import Regression
from ocompress.lossy.fisher import across, alone
from ocompress.lossy.inverses import solved

DAMPINGS = (1e-3, 1e-2, 1e-1, 1.0)
"""Ridges tried, relative to the mean variance of the inputs; the samples left out choose."""
_ROUNDS = 60
_LEAST_ROUNDS = 8
_OPERATIONS = 4e11
"""Spent on fitting a layer to one ridge, about, at most."""
_SMALL = 1e-7
_NOISE = 1e-5
"""Part of an output's variance that no fit is worth: sums in single precision know no better."""


@dataclass(frozen=True)
class Fit:
    """A fitted layer.

    Attributes:
        matrix: (groups, inputs, outputs).
        bias: (groups, outputs); zero where the layer can have none.
        before: Error of the weight it started from, its bias corrected, relative to the variance
            of the outputs, on samples that nothing was fitted to.
        after: The error of this one, on the same samples.
        moved: Share of the outputs that were fitted.
        damping: The ridge that proved itself, relative to the mean variance of the inputs; None if
            none did.
    """

    matrix: np.ndarray
    bias: np.ndarray
    before: float
    after: float
    moved: float
    damping: float | None = None


def size_of(hessian: np.ndarray) -> float:
    """Return the largest number on the diagonals of matrices, (groups, inputs, inputs), above 0."""
    return max(float(np.einsum("gii->gi", hessian).max()), 1e-300)


def conjugate_gradients(
    hessian: np.ndarray,
    wanted: np.ndarray,
    start: np.ndarray,
    mask: np.ndarray | None,
    rounds: int = _ROUNDS,
    tolerance: float = _SMALL,
    curvature: np.ndarray | None = None,
) -> np.ndarray:
    """Solve H W = B for all columns of W at once, on the elements that a mask keeps.

    Every column has a mask of its own, so no factorization serves them all; the method of
    conjugate gradients (Hestenes and Stiefel, 1952), preconditioned by the diagonal, costs one
    product of matrices a round, two where outputs make up for one another.

    Args:
        hessian: (groups, inputs, inputs), positive definite.
        wanted: (groups, inputs, outputs).
        start: (groups, inputs, outputs); what the mask drops must be 0.
        mask: Which elements may be other than 0; None for all.
        rounds: Rounds at most.
        tolerance: Columns whose error is smaller than this part of what is wanted are left.
        curvature: What errors of pairs of outputs cost, (groups, outputs, outputs), so that weights
            that a mask keeps in one output compensate for losses in others. Outputs count singly
            with (groups, outputs) or None.
    """
    curvature = None if curvature is None or curvature.ndim == 2 else curvature
    keep = np.ones((), start.dtype) if mask is None else mask.astype(start.dtype)
    inverse = (1 / np.einsum("gii->gi", hessian))[:, :, None]
    axes: tuple[int, ...] = (1,)
    if curvature is not None:
        inverse = inverse / alone(curvature)[:, None]
        axes = (1, 2)
    seen = _identity if curvature is None else partial(across, curvature=curvature)
    solution = start.copy()
    residual = seen(wanted - hessian @ solution) * keep
    direction = step = residual * inverse
    power = (residual * step).sum(axis=axes, keepdims=True)
    least = np.square(seen(wanted) * keep) * inverse
    least = tolerance**2 * least.sum(axis=axes, keepdims=True)
    for _ in range(rounds):
        active = power > least
        if not active.any():
            break
        turned = seen(hessian @ direction) * keep
        bend = (direction * turned).sum(axis=axes, keepdims=True)
        length = np.where(active & (bend > 0), power / np.where(bend > 0, bend, 1), 0)
        solution += length * direction
        residual -= length * turned
        step = residual * inverse
        next_power = (residual * step).sum(axis=axes, keepdims=True)
        direction = step + np.where(active, next_power / np.where(active, power, 1), 0) * direction
        power = np.where(active, next_power, 0)
    return solution


def round_work(shape: Sequence[int], curvature: np.ndarray | None) -> float:
    """Return the operations of a round of conjugate gradients.

    Args:
        shape: Of the weight, (groups, inputs, outputs).
        curvature: What errors of outputs cost; None if each is on its own.
    """
    groups, inputs, outputs = shape
    wide = inputs if curvature is None or curvature.ndim == 2 else inputs + outputs
    return 2.0 * groups * inputs * outputs * wide


def rounds_within(operations: float, each: float, most: int) -> int:
    """Return how many rounds may be spent.

    Args:
        operations: What may be spent.
        each: Operations of a round.
        most: Rounds that are enough.
    """
    return max(_LEAST_ROUNDS, min(most, int(operations / max(each, 1.0))))


def fit(
    parts: tuple[Regression, Regression],
    whole: Regression,
    start: np.ndarray,
    mask: np.ndarray | None,
    *,
    biased: bool,
    curvature: np.ndarray | None = None,
) -> Fit:
    """Fit a layer to its targets by ridge regression about the weight it has.

    An output is fitted only if that makes its error smaller on the samples that were left out;
    outputs that make up for one another are fitted together or not at all.

    Args:
        parts: Sums to fit to and to judge by.
        whole: Sums over all samples, which the fit that proved itself is then made from.
        start: The weight, (groups, inputs, outputs), 0 where the mask drops.
        mask: Which elements may be other than 0; None for all.
        biased: Whether the layer has a bias, which then makes up for means.
        curvature: What errors of outputs cost, (groups, outputs, outputs) in pairs or (groups,
            outputs); None if all cost alike. Only a mask makes a difference of it.
    """
    curvature = None if mask is None or curvature is None or curvature.ndim == 2 else curvature
    if not biased:
        parts, whole = (parts[0].about_zero(), parts[1].about_zero()), whole.about_zero()
    train, judge = parts
    plain = judge.errors(start, _bias(train, start, biased=biased))
    errors, damping, least = plain, None, _cost(judge, start, plain, curvature)
    for ridge in DAMPINGS:
        tried = _solve(train, start, mask, ridge, curvature)
        left = judge.errors(tried, _bias(train, tried, biased=biased))
        cost = _cost(judge, tried, left, curvature)
        if cost < least:
            errors, damping, least = left, ridge, cost
    better = errors < plain - _NOISE * judge.yy
    if curvature is not None:
        better[:] = damping is not None
    matrix = start
    if damping is not None:
        matrix = np.where(better[:, None], _solve(whole, start, mask, damping, curvature), start)
    weights = np.ones_like(plain) if curvature is None else alone(curvature)
    power = max(float((weights * judge.yy).sum()), 1e-30)
    return Fit(
        matrix,
        _bias(whole, matrix, biased=biased),
        float((weights * plain).sum()) / power,
        float((weights * np.where(better, errors, plain)).sum()) / power,
        float(better.mean()),
        damping,
    )


def _cost(
    sums: Regression, matrix: np.ndarray, errors: np.ndarray, curvature: np.ndarray | None
) -> float:
    """Return what errors cost, less what is the same for every matrix."""
    if curvature is None:
        return float(errors.sum())
    # the bias makes the mean error zero on the samples fitted to: what is left of it is small
    return float((across(matrix, curvature) * (sums.xx @ matrix - 2 * sums.xy)).sum())


def _identity(array: np.ndarray) -> np.ndarray:
    return array


def _bias(sums: Regression, matrix: np.ndarray, *, biased: bool) -> np.ndarray:
    return sums.bias(matrix) if biased else np.zeros_like(sums.y)


def _solve(
    sums: Regression,
    start: np.ndarray,
    mask: np.ndarray | None,
    damping: float,
    curvature: np.ndarray | None,
) -> np.ndarray:
    hessian = sums.xx.copy()
    diagonal = np.einsum("gii->gi", hessian)
    level = np.maximum(diagonal.mean(axis=1, keepdims=True), 1e-30)
    ridge = damping * level
    diagonal += ridge
    wanted = sums.xy + ridge[:, :, None] * start
    if mask is None:
        try:
            return solved(hessian, wanted)
        except np.linalg.LinAlgError:  # rounding ate the ridge: nothing can be told of it
            return start
    size = size_of(hessian)  # all of the size of 1, for single precision
    a, b, first = (array.astype(np.float32) for array in (hessian / size, wanted / size, start))
    each = None
    if curvature is not None:
        each = (curvature / max(float(alone(curvature).max()), 1e-30)).astype(np.float32)
    rounds = rounds_within(_OPERATIONS, round_work(start.shape, each), _ROUNDS)
    return conjugate_gradients(a, b, first, mask, rounds, curvature=each).astype(np.float64)

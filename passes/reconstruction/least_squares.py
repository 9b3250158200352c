"""Fitting the weights that are left to the outputs that are wanted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ocompress.analysis.regression import Regression

DAMPINGS = (1e-3, 1e-2, 1e-1, 1.0)
"""Ridges tried, relative to the mean variance of the inputs; the samples left out choose."""
_ROUNDS = 60
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
    """

    matrix: np.ndarray
    bias: np.ndarray
    before: float
    after: float
    moved: float


def conjugate_gradients(
    hessian: np.ndarray,
    wanted: np.ndarray,
    start: np.ndarray,
    mask: np.ndarray | None,
    rounds: int = _ROUNDS,
    tolerance: float = _SMALL,
) -> np.ndarray:
    """Solve H W = B for all columns of W at once, on the elements that a mask keeps.

    Every column has a mask of its own, so no factorization serves them all; the method of
    conjugate gradients (Hestenes and Stiefel, 1952), preconditioned by the diagonal, costs one
    product of matrices a round.

    Args:
        hessian: (groups, inputs, inputs), positive definite.
        wanted: (groups, inputs, outputs).
        start: (groups, inputs, outputs); what the mask drops must be 0.
        mask: Which elements may be other than 0; None for all.
        rounds: Rounds at most.
        tolerance: Columns whose error is smaller than this part of what is wanted are left.
    """
    keep = np.ones((), start.dtype) if mask is None else mask.astype(start.dtype)
    inverse = (1 / np.einsum("gii->gi", hessian))[:, :, None]
    solution = start.copy()
    residual = (wanted - hessian @ solution) * keep
    direction = step = residual * inverse
    power = (residual * step).sum(axis=1, keepdims=True)
    least = tolerance**2 * (np.square(wanted * keep) * inverse).sum(axis=1, keepdims=True)
    for _ in range(rounds):
        active = power > least
        if not active.any():
            break
        across = (hessian @ direction) * keep
        bend = (direction * across).sum(axis=1, keepdims=True)
        length = np.where(active & (bend > 0), power / np.where(bend > 0, bend, 1), 0)
        solution += length * direction
        residual -= length * across
        step = residual * inverse
        next_power = (residual * step).sum(axis=1, keepdims=True)
        direction = step + np.where(active, next_power / np.where(active, power, 1), 0) * direction
        power = np.where(active, next_power, 0)
    return solution


def fit(
    parts: tuple[Regression, Regression],
    whole: Regression,
    start: np.ndarray,
    mask: np.ndarray | None,
    *,
    biased: bool,
) -> Fit:
    """Fit a layer to its targets by ridge regression about the weight it has.

    An output is fitted only if that makes its error smaller on the samples that were left out.

    Args:
        parts: Sums to fit to and to judge by.
        whole: Sums over all samples, which the fit that proved itself is then made from.
        start: The weight, (groups, inputs, outputs), 0 where the mask drops.
        mask: Which elements may be other than 0; None for all.
        biased: Whether the layer has a bias, which then makes up for means.
    """
    if not biased:
        parts, whole = (parts[0].about_zero(), parts[1].about_zero()), whole.about_zero()
    train, judge = parts
    plain = judge.errors(start, _bias(train, start, biased=biased))
    best_errors, best_damping = plain, None
    for damping in DAMPINGS:
        tried = _solve(train, start, mask, damping)
        errors = judge.errors(tried, _bias(train, tried, biased=biased))
        if errors.sum() < best_errors.sum():
            best_errors, best_damping = errors, damping
    matrix = start
    better = best_errors < plain - _NOISE * judge.yy
    if best_damping is not None:
        final = _solve(whole, start, mask, best_damping)
        matrix = np.where(better[:, None], final, start)
    power = max(float(judge.yy.sum()), 1e-30)
    return Fit(
        matrix,
        _bias(whole, matrix, biased=biased),
        float(plain.sum()) / power,
        float(np.minimum(plain, best_errors).sum()) / power,
        float(better.mean()) if best_damping is not None else 0.0,
    )


def _bias(sums: Regression, matrix: np.ndarray, *, biased: bool) -> np.ndarray:
    return sums.bias(matrix) if biased else np.zeros_like(sums.y)


def _solve(
    sums: Regression, start: np.ndarray, mask: np.ndarray | None, damping: float
) -> np.ndarray:
    hessian = sums.xx.copy()
    diagonal = np.einsum("gii->gi", hessian)
    level = np.maximum(diagonal.mean(axis=1, keepdims=True), 1e-30)
    ridge = damping * level
    diagonal += ridge
    wanted = sums.xy + ridge[:, :, None] * start
    if mask is None:
        found: np.ndarray = np.linalg.solve(hessian, wanted)
        return found
    a, b, first = (array.astype(np.float32) for array in (hessian, wanted, start))
    return conjugate_gradients(a, b, first, mask).astype(np.float64)

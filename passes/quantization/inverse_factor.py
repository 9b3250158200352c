"""How the rounding of an input is made up for by the inputs behind it."""

from __future__ import annotations

import numpy as np

COLUMNS = 32
"""Inputs that are rounded one by one before the others hear of it: the fewer, the more of the work
is a product of matrices; the result is the same."""
_SMALL = 96


def inverse_factor(hessians: np.ndarray) -> np.ndarray:
    """Return the upper Cholesky factors of the inverses of positive definite matrices.

    The inverse itself is never made: with the axes reversed, the Cholesky factor of a matrix is
    upper, and its inverse is the factor that is looked for (a fifth of the time).

    Args:
        hessians: float64, shape (groups, inputs, inputs).

    Returns:
        U with U'U = H^-1 of the same shape.

    Raises:
        numpy.linalg.LinAlgError: If one is not positive definite.
    """
    turned = np.linalg.cholesky(hessians[:, ::-1, ::-1])
    return _inverse(np.ascontiguousarray(turned[:, ::-1, ::-1]))


def _inverse(upper: np.ndarray) -> np.ndarray:
    """Return the inverses of upper triangular matrices, by blocks."""
    inputs = upper.shape[1]
    if inputs <= _SMALL:
        return np.triu(np.linalg.inv(upper))
    half = inputs // 2
    found = np.zeros_like(upper)
    found[:, :half, :half] = _inverse(upper[:, :half, :half])
    found[:, half:, half:] = _inverse(upper[:, half:, half:])
    found[:, :half, half:] = -found[:, :half, :half] @ (
        upper[:, :half, half:] @ found[:, half:, half:]
    )
    return found

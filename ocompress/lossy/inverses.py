"""Inverses of what errors cost, and equations in it: of large matrices by the Cholesky factor.

The factor is as badly conditioned as the square root of its matrix only, so that single precision
does for its inverse where it would not for that of the matrix. Equations take half of what they
take without knowing that a matrix is positive definite.
"""

from __future__ import annotations

import numpy as np

EXACT = 1024
"""Inputs up to which matrices are inverted, and kept, in double precision."""
_SMALL, _BLOCK = 96, 128
"""Rows of a triangle that are inverted, or solved for, at once."""


def kind_of(inputs: int) -> type[np.floating]:
    """Return the type in which matrices of so many inputs are kept."""
    return np.float64 if inputs <= EXACT else np.float32


def inverse_of(hessian: np.ndarray) -> np.ndarray:
    """Return the inverse of a positive definite matrix (inputs, inputs), see `kind_of`."""
    lower = _root(hessian)
    if lower is None:
        return np.asarray(np.linalg.inv(hessian)).astype(kind_of(len(hessian)))
    found = inverse_of_lower(lower)
    return np.asarray(found.T @ found)


def inverse_of_lower(lower: np.ndarray) -> np.ndarray:
    """Return the inverse of a lower triangular matrix (inputs, inputs), by blocks, of its type."""
    inputs = len(lower)
    if inputs <= _SMALL:
        return np.tril(np.linalg.inv(lower))
    half = inputs // 2
    found = np.zeros_like(lower)
    found[:half, :half] = inverse_of_lower(lower[:half, :half])
    found[half:, half:] = inverse_of_lower(lower[half:, half:])
    found[half:, :half] = -found[half:, half:] @ (lower[half:, :half] @ found[:half, :half])
    return found


def solved(hessians: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return X of H X = wanted, in double precision.

    Args:
        hessians: H, positive definite, (groups, inputs, inputs).
        wanted: (groups, inputs, outputs).

    Raises:
        numpy.linalg.LinAlgError: If one is singular.
    """
    if hessians.shape[1] <= EXACT:
        return np.asarray(np.linalg.solve(hessians, wanted))
    try:
        return np.stack([_solved(h, w) for h, w in zip(hessians, wanted, strict=True)])
    except np.linalg.LinAlgError:  # by rounding, one is not positive definite, which need not be
        return np.asarray(np.linalg.solve(hessians, wanted))


def _solved(hessian: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    lower = np.linalg.cholesky(hessian.astype(np.float64, copy=False))
    found = wanted.astype(np.float64)
    blocks = [slice(at, at + _BLOCK) for at in range(0, len(lower), _BLOCK)]
    for block in blocks:
        found[block] = np.linalg.solve(lower[block, block], found[block])
        found[block.stop :] -= lower[block.stop :, block] @ found[block]
    for block in reversed(blocks):
        found[block] = np.linalg.solve(lower[block, block].T, found[block])
        found[: block.start] -= lower[block, : block.start].T @ found[block]
    return found


def variances_left(hessians: np.ndarray) -> np.ndarray:
    """Return what is left of each input's variance if all others make up for it.

    That is 1 / diag(H^-1).

    Args:
        hessians: Positive definite, (groups, inputs, inputs).

    Returns:
        (groups, inputs).
    """
    roots = [_root(hessian) for hessian in hessians]
    if any(root is None for root in roots):
        return np.asarray(1 / np.einsum("gii->gi", np.linalg.inv(hessians)))
    each = [np.square(inverse_of_lower(r)).sum(axis=0) for r in roots if r is not None]
    return np.asarray(1 / np.stack(each))


def _root(hessian: np.ndarray) -> np.ndarray | None:
    """Return the lower Cholesky factor of a large matrix; None of others, or where none is."""
    if len(hessian) <= EXACT:
        return None
    try:
        return np.linalg.cholesky(hessian.astype(np.float64)).astype(kind_of(len(hessian)))
    except np.linalg.LinAlgError:
        return None

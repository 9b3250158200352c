"""The best values of weights that share them."""

from __future__ import annotations

import numpy as np

from ocompress.lossy.fisher import across, alone
from ocompress.lossy.least_squares import size_of
from passes.sharing.layer_problem import LayerProblem

_SMALL = 1e-8
"""Part of the first residual, by what it costs, that is left."""


def fitted_values(
    problem: LayerProblem, values: np.ndarray, own: np.ndarray, moves: np.ndarray, steps: int
) -> np.ndarray:
    """Return the values with the least error, given which one each weight has.

    Outputs of the layer are linear in the values, so conjugate gradients find them.

    Args:
        problem: The layer.
        values: To start with, float64 [n].
        own: Place of each weight's value, int (groups, inputs, outputs).
        moves: Which values may change, bool [n].
        steps: Of conjugate gradients, at most.
    """
    solution = values.copy()
    # of the size of 1, for single precision
    level = size_of(problem.hessian)
    hessian = (problem.hessian / level).astype(np.float32)

    def gathered(matrix: np.ndarray) -> np.ndarray:
        found: np.ndarray = np.bincount(own.reshape(-1), matrix.reshape(-1), len(values)) * moves
        return found

    def turned(off: np.ndarray) -> np.ndarray:
        return gathered(across(hessian @ off.astype(np.float32), single).astype(np.float64))

    curvature = problem.curvature / max(float(alone(problem.curvature).max()), 1e-300)
    single = curvature.astype(np.float32)
    costs = np.einsum("gii->gi", hessian)[:, :, None] * alone(curvature)[:, None]
    diagonal = gathered(np.broadcast_to(costs, own.shape))
    inverse = np.where(diagonal > 0, 1 / np.where(diagonal > 0, diagonal, 1), 0)
    off = problem.target - solution[own]
    residual = gathered(across(problem.hessian @ off, curvature)) / level
    direction = step = residual * inverse
    power = float(residual @ step)
    least = _SMALL * power
    for _ in range(steps):
        if power <= least:
            break
        seen = turned(direction[own])
        length = power / max(float(direction @ seen), 1e-300)
        solution += length * direction
        residual = residual - length * seen
        step = residual * inverse
        before, power = power, float(residual @ step)
        direction = step + power / before * direction
    return solution

"""Layers made up of random numbers, and what they lose without some channels."""

from __future__ import annotations

import numpy as np

from passes.pruning.channel_costs import Reader
from passes.pruning.obs import damped


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def reader(channels: int, each: int, outputs: int, seed: int = 0) -> Reader:
    inputs = channels * each
    mix = rng(seed).standard_normal((inputs, inputs))
    hessian = mix @ mix.T / inputs + 0.1 * np.eye(inputs)
    weight = rng(seed + 1).standard_normal((inputs, outputs))
    curvature = rng(seed + 2).uniform(0.5, 2, outputs)
    rows = np.arange(inputs).reshape(channels, each)
    return Reader(weight, hessian, curvature, rows)


def error_without(found: Reader, channels: list[int], *, refit: bool) -> float:
    """Return the error of a reader that has lost channels, by least squares."""
    gone = np.unique(found.rows[channels])
    keep = np.setdiff1d(np.arange(len(found.matrix)), gone)
    hessian = damped(found.hessian[None])[0] if refit else found.hessian
    matrix = np.zeros_like(found.matrix)
    matrix[keep] = found.matrix[keep]
    if refit:
        part = hessian[np.ix_(keep, keep)]
        matrix[keep] = np.linalg.solve(part, hessian[keep] @ found.matrix)
    lost = matrix - found.matrix
    return float(((lost * (hessian @ lost)).sum(axis=0) * found.curvature).sum())

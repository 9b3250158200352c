"""Where factors start from: singular value decompositions with inputs and taps whitened."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from passes.factorization.evbmf import Spectrum
from passes.factorization.problem import Problem

_RIDGE = 1e-6


def outputs_first(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """Return the best factors of every rank between all inputs and the outputs.

    The outputs' principal components on data: the minimum of the error of rank r is the
    projection on the first r of them (Zhang et al., Accelerating Very Deep Convolutional
    Networks, 2015; whitened singular value decomposition by another name).

    Returns:
        (inputs, ranks) and (ranks, outputs), best first; their error is the sum of what is left.
    """
    matrix = problem.matrix
    inputs, outputs = matrix.shape
    if outputs <= inputs:
        gram = matrix.T @ problem.weighed(matrix)
        basis = _eigenvectors(gram)
        return matrix @ basis, basis.T
    root = _root(problem.whole())
    basis = _eigenvectors(root.T @ (matrix @ (matrix.T @ root)))
    return np.linalg.solve(root.T, basis), basis.T @ (root.T @ matrix)


def bisected(problem: Problem, rows: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Return factors of every rank between some input axes and all other axes.

    Both sides are whitened by the metric's marginals: the error is that of a metric which is
    their Kronecker product.

    Args:
        problem: What is taken apart.
        rows: Input axes on the left, counted from 0, rising.

    Returns:
        (extent of the rows, ranks) and (ranks, *other axes), best first.
    """
    inputs = problem.tensor.ndim - 1
    others = [axis for axis in range(inputs) if axis not in rows]
    turned = problem.tensor.transpose(*rows, *others, inputs)
    extents = [problem.tensor.shape[a] for a in others]
    size, across = int(np.prod([problem.tensor.shape[a] for a in rows])), int(np.prod(extents))
    blocks = turned.reshape(size, across, problem.outputs)
    left = _root(problem.marginal(rows))
    right = problem.marginal(others) if others else np.ones((1, 1))
    white = np.einsum("ra,rtn->atn", left, blocks, optimize=True)
    weighed = np.einsum("atn,ts->asn", white, right, optimize=True)
    gram = white.reshape(size, -1) @ weighed.reshape(size, -1).T
    basis = _eigenvectors((gram + gram.T) / 2)
    first = np.linalg.solve(left.T, basis)
    second = basis.T @ white.reshape(size, -1)
    return first, second.reshape(size, *extents, problem.outputs)


def per_channel(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """Return factors between the taps of each input channel and the outputs.

    Network decoupling (Guo et al., 2018), whitened by the covariance of each channel's patch.

    Returns:
        (channels, ranks, *kernel) and (channels, ranks, outputs), best first.
    """
    channels, taps = problem.channels, problem.taps
    blocks = problem.tensor.reshape(channels, taps, problem.outputs)
    own = np.broadcast_to(np.eye(taps), (channels, taps, taps))
    if problem.metric is not None:
        at = np.arange(channels)
        own = problem.metric.reshape(channels, taps, channels, taps)[at, :, at]
    roots = _root(own)
    white = roots.transpose(0, 2, 1) @ blocks
    basis = _eigenvectors(white @ white.transpose(0, 2, 1))
    first = np.linalg.solve(roots.transpose(0, 2, 1), basis).transpose(0, 2, 1)
    second = basis.transpose(0, 2, 1) @ white
    return first.reshape(channels, taps, *problem.kernel), second


def per_output(problem: Problem) -> tuple[np.ndarray, np.ndarray]:
    """Return factors between the input channels and the taps of each output.

    Network decoupling (Guo et al., 2018), pointwise first.

    Returns:
        (channels, outputs, ranks) and (outputs, ranks, *kernel), best first.
    """
    channels, taps = problem.channels, problem.taps
    blocks = problem.tensor.reshape(channels, taps, -1).transpose(2, 0, 1)
    root = _root(problem.marginal(range(1, problem.tensor.ndim - 1)))
    white = blocks @ root
    gram = white.transpose(0, 2, 1) @ (problem.marginal([0]) @ white)
    basis = _eigenvectors(gram)
    first = (white @ basis).transpose(1, 0, 2)
    second = basis.transpose(0, 2, 1) @ np.linalg.inv(root)
    return first, second.reshape(problem.outputs, taps, *problem.kernel)


def rank_one_terms(problem: Problem, count: int) -> list[np.ndarray]:
    """Return terms of channels times taps times outputs, the largest first.

    Each rank between channels and the rest is taken apart again between taps and outputs; all of
    them together are exact.

    Returns:
        (channels, count), (*kernel, count) and (count, outputs).
    """
    left, rest = bisected(problem, [0])
    taps, outputs = problem.taps, problem.outputs
    u, s, v = np.linalg.svd(rest.reshape(len(rest), taps, outputs), full_matrices=False)
    power = np.square(s) * np.square(left).sum(axis=0)[:, None]
    first = np.argsort(-power, axis=None, kind="stable")[:count]
    outer, inner = np.unravel_index(first, power.shape)
    size = np.sqrt(s[outer, inner])
    shape = (*problem.kernel, len(first))
    return [
        left[:, outer],
        (u[outer, :, inner] * size[:, None]).T.reshape(shape),
        v[outer, inner] * size[:, None],
    ]


def seen_through(problem: Problem, inner: np.ndarray, core: np.ndarray) -> Problem:
    """Return the problem of what stands behind a projection of the channels, solved for it.

    Args:
        problem: The whole.
        inner: The projection, (channels, ranks).
        core: An array of the shape of what stands behind it, (ranks, *kernel, outputs).
    """
    taps, channels, rank = problem.taps, problem.channels, inner.shape[1]
    if problem.metric is None:
        gram = inner.T @ inner
        solved = np.linalg.solve(gram, inner.T @ problem.tensor.reshape(channels, -1))
        return Problem(solved.reshape(core.shape), np.kron(gram, np.eye(taps)), problem.scale)
    whole = problem.whole().reshape(channels, taps, channels * taps)
    half = np.tensordot(inner, whole, (0, 0)).reshape(rank * taps, channels, taps)
    metric = np.tensordot(half, inner, (1, 0)).transpose(0, 2, 1).reshape(rank * taps, -1)
    metric = (metric + metric.T) / 2
    wanted = half.reshape(rank * taps, -1) @ problem.matrix
    damped = metric + 1e-11 * np.trace(metric) / len(metric) * np.eye(len(metric))
    solved = np.linalg.solve(damped, wanted).reshape(core.shape)
    return Problem(solved, metric, problem.scale)


def seen_through_modes(problem: Problem, down: np.ndarray, right: np.ndarray) -> Problem:
    """Return the problem of what stands behind projections of both spatial axes, solved for it.

    Args:
        problem: The whole, with two spatial axes.
        down: The projection of the first, (extent, ranks).
        right: The projection of the second, (extent, ranks).
    """
    shape = problem.tensor.shape[:-1]
    half = problem.whole().reshape(*shape, -1)
    half = np.einsum("cuvm,up->cpvm", half, down, optimize=True)
    half = np.einsum("cpvm,vq->cpqm", half, right, optimize=True)
    ranks = half.shape[:-1]
    rows = half.reshape(-1, *shape)
    rows = np.einsum("mcuv,up->mcpv", rows, down, optimize=True)
    metric = np.einsum("mcpv,vq->mcpq", rows, right, optimize=True).reshape(len(rows), -1)
    metric = (metric + metric.T) / 2
    wanted = half.reshape(len(rows), -1) @ problem.matrix
    damped = metric + 1e-11 * np.trace(metric) / len(metric) * np.eye(len(metric))
    solved = np.linalg.solve(damped, wanted)
    return Problem(solved.reshape(*ranks, problem.outputs), metric, problem.scale)


def spectrum(problem: Problem, rows: Sequence[int]) -> Spectrum:
    """Return the singular values between some input axes and all others, both sides whitened."""
    first, second = bisected(problem, rows)
    left = _root(problem.marginal(rows))
    white = left.T @ first @ second.reshape(len(second), -1)
    return Spectrum(np.linalg.svd(white, compute_uv=False), white.shape)


def _root(metric: np.ndarray) -> np.ndarray:
    """Return L with L L^T = M, for one matrix or a stack; what is singular is damped."""
    size = metric.shape[-1]
    trace = np.einsum("...ii->...", metric)[..., None, None] / size
    damped = metric + np.maximum(_RIDGE * trace, 1e-30) * np.eye(size)
    found: np.ndarray = np.linalg.cholesky(damped)
    return found


def _eigenvectors(gram: np.ndarray) -> np.ndarray:
    """Return eigenvectors as columns, the largest eigenvalue first."""
    found: np.ndarray = np.linalg.eigh(gram)[1][..., ::-1]
    return found

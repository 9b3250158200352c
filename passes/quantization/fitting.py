"""Choosing the integers of a weight: rounding, second-order (GPTQ), robust (half-quadratic)."""

from __future__ import annotations

import numpy as np

from ocompress.lossy.feedback import Feedback
from passes.quantization.blockwise import (
    BlockGrid,
    BlockWeight,
    assemble,
    blocks_of,
    plain_grid,
    round_to,
)

_DAMPING = 0.01
_ROUNDS = 20
_POWER = 0.7


def nearest(rows: np.ndarray, grid: BlockGrid) -> BlockWeight:
    """Round every element to the nearest integer of a grid that holds the whole range.

    Args:
        rows: Weight, shape (channels, inputs).
        grid: The integers.
    """
    blocks = blocks_of(rows.astype(np.float32), grid)
    scales, zeros = plain_grid(blocks, grid)
    integers = round_to(blocks, scales[..., None], zeros[..., None], grid)
    return assemble(_unblocked(integers, rows.shape), scales, zeros, grid)


def second_order(rows: np.ndarray, grid: BlockGrid, moments: np.ndarray) -> BlockWeight:
    """Round input by input and let the inputs to come make up for the error.

    After Frantar et al., GPTQ: Accurate Post-Training Quantization for Generative Pre-trained
    Transformers (2022), by `ocompress.lossy.feedback`. An input that was always zero is rounded as
    is.

    Args:
        rows: Weight, shape (channels, inputs).
        grid: The integers.
        moments: Second moments of the inputs up to a factor, shape (inputs, inputs).
    """
    inputs = rows.shape[1]
    sweep = _feedback(moments).sweep(rows.T[None].astype(np.float64))
    width = grid.width(inputs)
    count = -(-inputs // width)
    integers = np.zeros(rows.shape, np.float32)
    scales, zeros = (
        np.ones((len(rows), count), np.float32),
        np.zeros((len(rows), count), np.float32),
    )
    for column in range(inputs):
        block = column // width
        if column % width == 0:
            part = sweep.ahead(min(width, inputs - column))[0].T.astype(np.float32)
            scales[:, block], zeros[:, block] = plain_grid(part, grid)
        scale, zero = scales[:, block], zeros[:, block]
        integers[:, column] = round_to(sweep.wanted[0, column], scale, zero, grid)
        sweep.give(column, ((integers[:, column] - zero) * scale)[None])
    return assemble(integers, scales, zeros, grid)


def robust(rows: np.ndarray, grid: BlockGrid) -> BlockWeight:
    """Fit scales and zero points so that the sum of |error|^0.7 is small; needs no data.

    Half-quadratic splitting, after Badri and Shaji, Half-Quadratic Quantization of Large
    Machine Learning Models (2023), with zero points that stay whole numbers: in turn, what
    exceeds a soft threshold counts as outlier, and scale and zero point are fitted to the
    rest. A block keeps the best grid it came by, its plain one at worst.

    Args:
        rows: Weight, shape (channels, inputs).
        grid: The integers.
    """
    blocks = blocks_of(rows.astype(np.float32), grid)
    scales, zeros = plain_grid(blocks, grid)
    best = scales, zeros
    least = np.full(scales.shape, np.inf, np.float32)
    weight = 10.0
    for _ in range(_ROUNDS):
        integers = round_to(blocks, scales[..., None], zeros[..., None], grid)
        steps = integers - zeros[..., None]
        residual = blocks - steps * scales[..., None]
        cost = (np.abs(residual) ** _POWER).sum(axis=-1)
        better = cost < least
        least = np.where(better, cost, least)
        best = np.where(better, scales, best[0]), np.where(better, zeros, best[1])
        rest = blocks - _shrink(residual / scales[..., None], weight) * scales[..., None]
        scales, zeros = _refit(rest, integers, steps, scales, zeros, grid)
        weight *= 1.01
    scales, zeros = best
    integers = round_to(blocks, scales[..., None], zeros[..., None], grid)
    return assemble(_unblocked(integers, rows.shape), scales, zeros, grid)


def weight_error(rows: np.ndarray, weight: BlockWeight) -> float:
    """Return the root of the squared error of a weight, (channels, inputs), relative to it."""
    power = float(np.square(rows, dtype=np.float64).sum())
    noise = float(np.square(weight.dequantize() - rows, dtype=np.float64).sum())
    return (noise / power) ** 0.5 if power else 0.0


def output_error(rows: np.ndarray, weight: BlockWeight, moments: np.ndarray) -> float:
    """Return the root of the squared output error, relative to the output.

    Args:
        rows: The float weight, (channels, inputs).
        weight: What it is stored as.
        moments: Mean products of inputs, (inputs, inputs).
    """
    off = weight.dequantize() - rows
    power = float(((rows @ moments) * rows).sum(dtype=np.float64))
    noise = float(((off @ moments) * off).sum(dtype=np.float64))
    return max(0.0, noise / power) ** 0.5 if power > 0 else 0.0


def _feedback(moments: np.ndarray) -> Feedback:
    """Return what the damped moments say of errors."""
    hessian = moments.astype(np.float64)
    diagonal = np.einsum("ii->i", hessian)
    diagonal[diagonal <= 0] = 1.0
    diagonal += _DAMPING * diagonal.mean()
    return Feedback.of(hessian[None])


def _shrink(residual: np.ndarray, weight: float) -> np.ndarray:
    """Return the part of a residual, in steps, that counts as outlier."""
    size = np.abs(residual)
    threshold = np.maximum(size, 1e-6) ** (_POWER - 1) / weight
    outlier: np.ndarray = np.sign(residual) * np.maximum(size - threshold, 0)
    return outlier


def _refit(
    rest: np.ndarray,
    integers: np.ndarray,
    steps: np.ndarray,
    scales: np.ndarray,
    zeros: np.ndarray,
    grid: BlockGrid,
) -> tuple[np.ndarray, np.ndarray]:
    """Fit scales to what is no outlier by least squares, then zero points by the mean."""
    power = (steps * steps).sum(axis=-1)
    fitted = (steps * rest).sum(axis=-1) / np.maximum(power, 1)
    usable = (power > 0) & (fitted >= np.finfo(np.float32).tiny)
    scales = np.where(usable, fitted, scales).astype(np.float32)
    if not grid.symmetric:
        zeros = np.rint((integers - rest / scales[..., None]).mean(axis=-1))
        zeros = np.clip(zeros, grid.low, grid.high).astype(np.float32)
    return scales, zeros


def _unblocked(blocks: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    flat: np.ndarray = blocks.reshape(shape[0], -1)[:, : shape[1]]
    return flat

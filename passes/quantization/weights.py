"""Symmetric int8 weights per output channel, safe where pairs of products saturate.

x86-64 without VNNI multiplies unsigned activations with signed weights two at a time
(`vpmaddubsw`) and adds the two products in 16 bits, which clips when 255 * (w1 + w2) leaves
-32768..32767, so when two neighbours of one sign add up to more than 128. The usual remedy,
7-bit weights, wastes half of the grid because of few pairs. Here every channel picks the finest
grid of up to 8 bits on which it comes out best after the pairs that would clip are pulled in.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

PAIR_SUM = 128
_LIMITS = (127, 119, 111, 104, 97, 90, 84, 78, 72, 68, 64)


class WeightGrid(StrEnum):
    """How weights are put on the int8 grid."""

    FULL = "full"
    """-127 to 127."""
    PAIRS = "pairs"
    """As far as the sums of neighbours allow: exact on every instruction set."""
    SEVEN = "seven"
    """-64 to 64: exact on every instruction set."""


@dataclass(frozen=True)
class QuantizedWeight:
    """An int8 weight.

    Attributes:
        integers: int8, shape of the weight.
        scales: float32, shape (channels,), or () for one scale.
        axis: The channel axis.
    """

    integers: np.ndarray
    scales: np.ndarray
    axis: int

    def dequantize(self) -> np.ndarray:
        """Return the float32 weight that the integers stand for."""
        shape = [1] * self.integers.ndim
        if self.scales.ndim:
            shape[self.axis] = -1
        real: np.ndarray = self.integers.astype(np.float32) * self.scales.reshape(shape)
        return real


def quantize_weight(
    weight: np.ndarray,
    axis: int,
    grid: WeightGrid,
    *,
    orders: Sequence[tuple[int, ...]],
    per_channel: bool = True,
    least_scales: np.ndarray | None = None,
) -> QuantizedWeight:
    """Put a weight on the int8 grid.

    Args:
        weight: Float weight of any shape.
        axis: Axis of the output channels.
        grid: Which integers may be used.
        orders: For the other axes, the orders in which kernels may walk through them; a pair is
            two neighbours of such a walk that start at an even place.
        per_channel: Whether each channel has its own scale.
        least_scales: Scales may not be smaller than these, shape (channels,).
    """
    rows = np.moveaxis(weight, axis, 0).astype(np.float32)
    channels, inner = rows.shape[0], rows.shape[1:]
    flat = rows.reshape(channels, -1)
    walks = walks_of(inner, orders)
    largest = np.abs(flat).max(axis=1, initial=0.0).astype(np.float64)
    if not per_channel:
        largest = np.full(channels, largest.max(initial=0.0))
    least = np.zeros(channels) if least_scales is None else least_scales
    if not per_channel and least_scales is not None:
        least = np.full(channels, least_scales.max(initial=0.0))
    limits = {WeightGrid.FULL: (127,), WeightGrid.SEVEN: (64,)}.get(grid, _LIMITS)
    levels, scales = _best(flat, largest, least, limits, walks, together=not per_channel)
    integers = np.moveaxis(levels.reshape(rows.shape), 0, axis)
    if not per_channel:
        scales = np.array(scales[0] if channels else 1, np.float32)
    return QuantizedWeight(np.ascontiguousarray(integers), scales, axis)


def walks_of(inner: Sequence[int], orders: Sequence[tuple[int, ...]]) -> list[np.ndarray]:
    """Return the flat indices of the inputs of a channel in each of several orders."""
    places = np.arange(int(np.prod(inner))).reshape(tuple(inner))
    return [places.transpose(order).reshape(-1) for order in orders]


def _best(
    rows: np.ndarray,
    largest: np.ndarray,
    least: np.ndarray,
    limits: tuple[int, ...],
    walks: list[np.ndarray],
    *,
    together: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Try the limits from wide to narrow; a channel keeps the first with the least error."""
    error = np.full(len(rows), np.inf)
    levels = np.zeros(rows.shape, np.int8)
    scales = np.ones(len(rows), np.float32)
    undecided = np.arange(len(rows))
    for limit in limits:
        part = rows[undecided]
        step = np.maximum(largest[undecided] / limit, least[undecided]).astype(np.float32)
        step = np.where(step >= np.finfo(np.float32).tiny, step, np.float32(1))
        tried = np.rint(part / step[:, None])
        touched = np.zeros(len(part), bool)
        if len(limits) > 1:
            touched = pull_pairs_in(tried, walks)
        off = np.square(tried * step[:, None] - part).sum(axis=1, dtype=np.float64)
        if together:
            off[:] = off.sum()
        better = off < error[undecided]
        chosen = undecided[better]
        levels[chosen], scales[chosen] = tried[better].astype(np.int8), step[better]
        error[chosen] = off[better]
        # where no pair had to move, a coarser grid cannot be better by much
        if not together:
            undecided = undecided[touched]
        if not len(undecided) or not touched.any():
            break
    return levels, scales


def pull_pairs_in(levels: np.ndarray, walks: list[np.ndarray]) -> np.ndarray:
    """Move both members of every pair that would saturate towards zero, in place.

    Args:
        levels: Whole numbers as floats, shape (channels, inner).
        walks: Orders of the inner axis; pairs start at even places.

    Returns:
        Which channels had to change, shape (channels,).
    """
    touched = np.zeros(len(levels), bool)
    even = levels.shape[1] // 2 * 2
    for walk in walks:
        for sign in (1.0, -1.0):
            first, second = walk[0:even:2], walk[1:even:2]
            a, b = levels[:, first] * sign, levels[:, second] * sign
            excess = np.where((a > 0) & (b > 0), a + b - PAIR_SUM, 0)
            rows, pairs = np.nonzero(excess > 0)
            if not len(rows):
                continue
            touched[rows] = True
            surplus = excess[rows, pairs]
            levels[rows, first[pairs]] -= sign * np.ceil(surplus / 2)
            levels[rows, second[pairs]] -= sign * np.floor(surplus / 2)
    return touched


def correct_bias(
    original: np.ndarray, quantized: np.ndarray, means: np.ndarray, axis: int, groups: int
) -> np.ndarray:
    """Return what a bias must be raised by so that the mean output stays.

    In closed form, after Nagel et al., Data-free quantization through weight equalization and
    bias correction (ICCV 2019): minus the sum over the inputs of weight error times input mean.

    Args:
        original: Float weight.
        quantized: The weight that its integers stand for.
        means: Mean of each input channel, shape (inputs,).
        axis: Axis of the output channels of the weight.
        groups: Number of groups of a convolution; the axis of inputs comes after the channels.

    Returns:
        float64, shape (channels,).
    """
    error = np.moveaxis(quantized.astype(np.float64) - original, axis, 0)
    per_input = error.reshape(*error.shape[:2], -1).sum(axis=2)
    channels = per_input.shape[0]
    group = np.repeat(np.arange(groups), channels // groups)
    by_group = means.reshape(groups, -1)
    correction: np.ndarray = -(per_input * by_group[group]).sum(axis=1)
    return correction

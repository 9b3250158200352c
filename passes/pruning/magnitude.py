"""Choosing the smallest weights: pure numpy, linear in their number, one layer at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

_CHUNK = 1 << 20
_CACHED = 1 << 16
_HALF = 16


@dataclass
class MagnitudeCut:
    """The line between what is zeroed and what is kept.

    Attributes:
        bits: Scores whose float32 bits are below are zeroed.
        ties: How many of the scores that equal it are zeroed, the first ones in order.
    """

    bits: int
    ties: int

    def mask(self, scores: np.ndarray) -> np.ndarray:
        """Say which of flat float32 scores are zeroed, bool; uses up ties in the layers' order."""
        bits = scores.view(np.uint32)
        chosen = np.asarray(bits < self.bits)
        if self.ties:
            equal = np.flatnonzero(bits == self.bits)[: self.ties]
            chosen[equal] = True
            self.ties -= len(equal)
        return chosen


def cut(scores: Callable[[], Iterable[np.ndarray]], count: int) -> MagnitudeCut:
    """Find the line below which exactly `count` scores lie, ties broken by order.

    A radix selection in two sweeps: float32 numbers that are not negative sort like their
    bits, so a histogram of the upper and then of the lower half finds the line exactly, in
    linear time and without holding more than one layer.

    Args:
        scores: Gives the flat float32 scores of each layer, none negative; called twice.
        count: How many scores to choose in all.
    """
    if count <= 0:
        return MagnitudeCut(0, 0)
    upper = _histogram(bits >> _HALF for bits in _bits(scores()))
    top, below = _position(upper, count)
    lower = _histogram(
        (bits[bits >> _HALF == top] & ((1 << _HALF) - 1)) for bits in _bits(scores())
    )
    low, inside = _position(lower, count - below)
    return MagnitudeCut((top << _HALF) | low, count - below - inside)


def _bits(layers: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    for layer in layers:
        for start in range(0, layer.size, _CHUNK):
            yield layer[start : start + _CHUNK].view(np.uint32)


def _histogram(parts: Iterable[np.ndarray]) -> np.ndarray:
    total = np.zeros(1 << _HALF, np.int64)
    for part in parts:
        total += np.bincount(part.astype(np.intp), minlength=1 << _HALF)
    return total


def _position(histogram: np.ndarray, count: int) -> tuple[int, int]:
    """Return the bin that holds element number `count` (from 1), and how many lie before it."""
    sums = np.cumsum(histogram)
    place = int(np.searchsorted(sums, count))
    return place, int(sums[place] - histogram[place])


def magnitudes(weight: np.ndarray) -> np.ndarray:
    """Return absolute values of a weight of any shape as float32, flat."""
    return np.abs(weight.astype(np.float32, copy=False).reshape(-1))


def energy(weight: np.ndarray) -> float:
    """Return the sum of the squares of a weight of any shape."""
    total = 0.0
    flat = weight.reshape(-1)
    for start in range(0, flat.size, _CACHED):
        part = flat[start : start + _CACHED].astype(np.float64)
        total += float(np.square(part, out=part).sum())  # no BLAS: its threads change the order
    return total


def n_of_m(rows: np.ndarray, keep: int, group: int) -> np.ndarray:
    """Say which weights to zero so that `keep` of each `group` neighbours stay.

    A last group that is shorter keeps its share, rounded up.

    Args:
        rows: Weights `[..., inputs]`.
        keep: Number that stay.
        group: Number of neighbours along the last axis.

    Returns:
        A mask of the shape of `rows`; of equal magnitudes the first are zeroed.
    """
    mask = np.zeros(rows.shape, bool)
    whole = rows.shape[-1] // group * group
    for start, stop, size in ((0, whole, group), (whole, rows.shape[-1], rows.shape[-1] - whole)):
        if stop == start:
            continue
        part = np.abs(rows[..., start:stop].astype(np.float32, copy=False))
        part = part.reshape(*rows.shape[:-1], -1, size)
        dropped = size - -(-size * keep // group)
        order = np.argsort(part, axis=-1, kind="stable")[..., :dropped]
        chosen = np.zeros(part.shape, bool)
        np.put_along_axis(chosen, order, values=True, axis=-1)
        mask[..., start:stop] = chosen.reshape(*rows.shape[:-1], stop - start)
    return mask


def block_means(values: np.ndarray, rows: int, columns: int, taps: int) -> np.ndarray:
    """Return the mean of each block of a stack of matrices.

    Args:
        values: One number per weight, `[outputs, inputs, taps]`.
        rows: Outputs per block.
        columns: Inputs per block; blocks at the far edges may be smaller.
        taps: Taps per block.

    Returns:
        Float32 `[block rows, block columns, block taps]`.
    """
    total = values.astype(np.float32, copy=False)
    area = np.ones(())
    for axis, extent in enumerate((rows, columns, taps)):
        starts = np.arange(0, values.shape[axis], extent)
        total = np.add.reduceat(total, starts, axis)
        spans = np.diff(np.append(starts, values.shape[axis]))
        area = area * spans.reshape([-1 if a == axis else 1 for a in range(3)])
    return np.asarray(total / area, np.float32)


def spread(blocks: np.ndarray, shape: tuple[int, ...], extents: tuple[int, ...]) -> np.ndarray:
    """Repeat what is said of blocks over the elements of `[outputs, inputs, taps]`."""
    for axis, extent in enumerate(extents):
        blocks = np.repeat(blocks, extent, axis=axis)
    return blocks[tuple(slice(e) for e in shape)]


def cheapest(costs: list[np.ndarray], sizes: list[np.ndarray], count: int) -> list[np.ndarray]:
    """Choose units, the cheapest first, until they hold as many weights as asked for.

    Args:
        costs: One number per unit, (units,), for each layer.
        sizes: Weights in each unit, (units,), for each layer.
        count: Weights to choose in all; the unit that reaches it is chosen if more than half of
            it still fits.

    Returns:
        For each layer which units are chosen; of equal costs the first.
    """
    if not costs:
        return []
    joined, weights = np.concatenate(costs), np.concatenate(sizes)
    order = np.argsort(joined, kind="stable")
    reached = np.cumsum(weights[order])
    chosen = np.zeros(len(joined), bool)
    chosen[order[reached - weights[order] / 2 <= count]] = count > 0
    return np.split(chosen, np.cumsum([len(c) for c in costs])[:-1])

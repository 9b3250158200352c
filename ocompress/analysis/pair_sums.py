"""Counting what x86-64 without VNNI would clip: sums of two u8*s8 products in 16 bits.

`vpmaddubsw` multiplies two neighbours of the inner axis at a time and adds the two products with
saturation to int16. Which neighbours meet depends on the layout; here it is the one that ONNX
Runtime's integer convolutions use on a CPU, channels last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_ROWS = 64  # of one batch
_MOST_ROWS = 512  # of all the data
_CHUNK = 1 << 20  # sums that are held at once


@dataclass(frozen=True, kw_only=True)
class Window:
    """How a convolution walks over its input.

    Attributes:
        kernel: Extents of the kernel.
        strides: Steps, one per spatial axis.
        dilations: Distances within the kernel, one per spatial axis.
        pads: Padding before and after, one pair per spatial axis.
        groups: Groups of channels.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]
    groups: int = 1

    def rows(self, codes: np.ndarray, zero: int, count: int) -> np.ndarray:
        """Return what the kernel sees at places spread evenly over the output.

        Args:
            codes: Shape [n, channels, ...], unsigned.
            zero: What padding is filled with.
            count: Places at most.

        Returns:
            Shape [groups, places, kernel * channels / groups], channels last.
        """
        padded = np.pad(codes, ((0, 0), (0, 0), *self.pads), constant_values=zero)
        spans = [(k - 1) * d + 1 for k, d in zip(self.kernel, self.dilations, strict=True)]
        steps = zip(padded.shape[2:], spans, self.strides, strict=True)
        extents = (len(codes), *(max(0, (x - span) // s + 1) for x, span, s in steps))
        places = _spread(int(np.prod(extents)), count)
        found = []
        for batch, *at in np.stack(np.unravel_index(places, extents), axis=1).tolist():
            patch = padded[batch]
            walk = zip(at, self.strides, spans, self.dilations, strict=True)
            for axis, (place, stride, span, step) in enumerate(walk, 1):
                first = place * stride
                patch = patch.take(range(first, first + span, step), axis=axis)
            grouped = patch.reshape(self.groups, -1, *self.kernel)
            found.append(np.moveaxis(grouped, 1, -1).reshape(self.groups, -1))
        inner = int(np.prod(self.kernel)) * codes.shape[1] // self.groups
        if not found:
            return np.zeros((self.groups, 0, inner), codes.dtype)
        return np.stack(found, axis=1)

    def columns(self, weight: np.ndarray) -> np.ndarray:
        """Return a weight [outputs, inputs, ...] as [groups, kernel * inputs, outputs]."""
        last = np.moveaxis(weight, 1, -1)
        return last.reshape(self.groups, weight.shape[0] // self.groups, -1).transpose(0, 2, 1)


class PairSums:
    """Counts sums that would clip, over a bounded sample of output rows.

    Attributes:
        examined: Sums of pairs looked at.
        clipped: Those that leave int16.
    """

    def __init__(self, weight: np.ndarray, zero: int = 0, window: Window | None = None) -> None:
        """Find the pairs of weights that can clip at all.

        Args:
            weight: int8, shape [inner, outputs], or [outputs, inputs, ...] with a window.
            zero: The unsigned code of 0.0 in the activations.
            window: Of a convolution.
        """
        self.examined = self.clipped = 0
        self._rows = 0
        self._zero = zero
        self._window = window
        columns = weight[None] if window is None else window.columns(weight)
        even = columns.shape[1] // 2 * 2
        first, second = columns[:, 0:even:2], columns[:, 1:even:2]
        self._pairs = first.size
        self._risky = np.nonzero(can_clip(first, second))
        self._weights = [part[self._risky].astype(np.int32) for part in (first, second)]

    def update(self, codes: np.ndarray) -> None:
        """Take in unsigned activation codes, shape [..., inner] or [n, channels, ...]."""
        count = min(_ROWS, _MOST_ROWS - self._rows)
        if count <= 0 or not codes.size:
            return
        if self._window is None:
            flat = codes.reshape(-1, codes.shape[-1])
            rows = flat[_spread(len(flat), count)][None]
        else:
            rows = self._window.rows(codes, self._zero, count)
        self._rows += rows.shape[1]
        self.examined += rows.shape[1] * self._pairs
        self.clipped += self._count(rows.astype(np.int32))

    def _count(self, rows: np.ndarray) -> int:
        group, pair, _ = self._risky
        step = max(1, _CHUNK // max(1, rows.shape[1]))
        clipped = 0
        for start in range(0, len(group), step):
            g, p = group[start : start + step], pair[start : start + step]
            first, second = (w[start : start + step, None] for w in self._weights)
            sums = rows[g, :, 2 * p] * first + rows[g, :, 2 * p + 1] * second
            clipped += int(np.count_nonzero((sums > 32767) | (sums < -32768)))
        return clipped


def can_clip(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Say which pairs of int8 weights leave int16 for some activations of 0 to 255."""
    top = np.maximum(first, 0).astype(np.int16) + np.maximum(second, 0)
    bottom = np.minimum(first, 0).astype(np.int16) + np.minimum(second, 0)
    found: np.ndarray = (top > 32767 // 255) | (bottom < -(32768 // 255))
    return found


def window_of(
    kernel: Sequence[int],
    groups: int,
    *,
    strides: Sequence[int] | None,
    dilations: Sequence[int] | None,
    pads: Sequence[int] | None,
) -> Window:
    """Make a window from the attributes of a Conv; those that are None have ONNX's defaults."""
    rank = len(kernel)
    flat = list(pads or [0] * 2 * rank)
    return Window(
        kernel=tuple(kernel),
        strides=tuple(strides or [1] * rank),
        dilations=tuple(dilations or [1] * rank),
        pads=tuple(zip(flat[:rank], flat[rank:], strict=True)),
        groups=groups,
    )


def _spread(total: int, count: int) -> np.ndarray:
    return np.unique(np.linspace(0, total - 1, min(total, count)).astype(np.int64))

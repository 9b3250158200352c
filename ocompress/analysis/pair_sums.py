"""Counting what x86-64 without VNNI would clip: sums of two u8*s8 products in 16 bits.

`vpmaddubsw` multiplies two neighbours of the inner axis at a time and adds the two products with
saturation to int16. Which neighbours meet depends on the layout; here it is the one that ONNX
Runtime's integer convolutions use on a CPU, channels last.
"""

from __future__ import annotations

import numpy as np

from ocompress.analysis.windows import Window

_ROWS = 64  # of one batch
_MOST_ROWS = 512  # of all the data
_CHUNK = 1 << 20  # sums that are held at once


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
    """Say which pairs of int8 weights, of one shape, leave int16 for activations of 0 to 255."""
    top = np.maximum(first, 0).astype(np.int16) + np.maximum(second, 0)
    bottom = np.minimum(first, 0).astype(np.int16) + np.minimum(second, 0)
    found: np.ndarray = (top > 32767 // 255) | (bottom < -(32768 // 255))
    return found


def _spread(total: int, count: int) -> np.ndarray:
    return np.unique(np.linspace(0, total - 1, min(total, count)).astype(np.int64))

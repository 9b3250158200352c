"""An estimate of what levels cost that is cheap enough for the inner loop of a quantizer."""

from __future__ import annotations

import numpy as np

from ocompress.coding import tables

_CLASSES = 40
_PRIOR = 0.3
"""Occurrences of every level before any was seen, spread as magnitudes fall off."""


class LevelRates:
    """Adaptive bits per level for quantizing a matrix column by column, all rows at a time.

    What a level costs depends on the magnitudes that stand to its left, and on how large the
    column is in units of the step; the coder's contexts are finer, and its codes shorter by some
    per cent. The tables adapt with every column that is told.

    ```
    rates = LevelRates(largest=7, rows=len(weights))
    for column in range(weights.shape[1]):
        bits = rates.bits(mean=np.abs(weights[:, column] / step).mean())  # [rows, 15]
        levels = ...  # the caller's choice, -7 to 7
        rates.update(levels)
    ```
    """

    def __init__(self, largest: int, rows: int) -> None:
        """Start with levels -`largest` to `largest` and nothing seen.

        Args:
            largest: Largest magnitude of a level.
            rows: Rows of the matrix.
        """
        self.largest = largest
        magnitudes = np.arange(largest + 1)
        scale = np.array([(2 ** (c / 4) * 4 - 4) / 256 for c in range(_CLASSES)])[:, None]
        start = np.exp(-magnitudes / np.maximum(scale, 0.05)) + 1e-3
        self._counts = _PRIOR * (largest + 1) * start / start.sum(axis=1, keepdims=True)
        self._left = np.zeros((2, rows))
        self._mean = np.zeros(rows)
        self._seen = 0
        self._class = np.zeros(rows, np.intp)
        self._known = np.asarray(tables.classes())

    def bits(self, mean: float | None = None) -> np.ndarray:
        """Return the bits of each level for the next column, float64 [rows, 2 * largest + 1].

        Args:
            mean: Mean magnitude of the column in units of the step, before rounding; by default
                only the rows tell.
        """
        around = (2 * self._left[0] + self._left[1]) / 3
        expected = (around + self._mean) / 2
        if mean is not None:
            expected = (2 * expected + 2 * mean) / 4
        fixed = np.minimum((expected * 256).astype(np.intp), len(self._known) - 1)
        self._class = np.minimum(self._known[fixed], _CLASSES - 1)
        counts = self._counts
        tables_of = np.log2(counts.sum(axis=1, keepdims=True)) - np.log2(counts)
        tables_of[:, 1:] += 1.0  # the sign
        both = np.concatenate([tables_of[:, :0:-1], tables_of], axis=1)
        return np.asarray(both[self._class])

    def update(self, levels: np.ndarray) -> None:
        """Tell which levels were chosen, integers [rows]; the next column follows."""
        magnitudes = np.minimum(np.abs(levels), self.largest).astype(np.intp)
        np.add.at(self._counts, (self._class, magnitudes), 1.0)
        self._left = np.stack([magnitudes.astype(float), self._left[0]])
        self._seen += 1
        self._mean += (magnitudes - self._mean) / min(self._seen + 0.5, 60)

"""Figures of values that stream by, and what they come to in decibels."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


def sqnr_db(signal: float, noise: float) -> float:
    """Return signal over noise power in decibels: `inf` without noise, `-inf` without signal.

    Noise that is infinite or not a number leaves no signal.
    """
    if noise == 0:
        return math.inf
    if signal == 0 or not math.isfinite(noise):
        return -math.inf
    return 10 * math.log10(signal / noise)


@dataclass(slots=True)
class Running:
    """Count, sum and sum of squares of all values so far; memory does not grow with them."""

    count: float = 0.0
    total: float = 0.0
    squares: float = 0.0

    def update(self, values: np.ndarray) -> None:
        """Take in values of any shape; those that are not finite do not count."""
        found = np.asarray(values, np.float64)
        finite = np.isfinite(found)
        if not finite.all():
            found = found[finite]
        self.count += found.size
        self.total += float(found.sum())
        self.squares += float(np.square(found).sum())

    @property
    def mean_square(self) -> float:
        """Mean of the squares; 0 of nothing."""
        return self.squares / max(self.count, 1.0)

    @property
    def variance(self) -> float:
        """Mean squared deviation from the mean; 0 of nothing."""
        mean = self.total / max(self.count, 1.0)
        return max(self.mean_square - mean * mean, 0.0)


@dataclass(slots=True)
class RunningColumns:
    """Count, sum and sum of squares of every column so far."""

    count: np.ndarray | None = None
    total: np.ndarray | None = None
    squares: np.ndarray | None = None
    whole: bool = True

    def update(self, values: np.ndarray | None) -> None:
        """Take in rows [rows, columns], None for what has no columns.

        Values that are not finite do not count. Columns have to be the same ones all the time.
        """
        if values is None or (self.count is not None and len(self.count) != values.shape[1]):
            self.whole = False
        if not self.whole or values is None:
            return
        found = np.asarray(values, np.float64)
        finite = np.isfinite(found)
        found = np.where(finite, found, 0)
        if self.count is None or self.total is None or self.squares is None:
            self.count, self.total, self.squares = np.zeros((3, found.shape[1]))
        self.count += finite.sum(0)
        self.total += found.sum(0)
        self.squares += np.square(found).sum(0)

    @property
    def variance(self) -> float | None:
        """Mean squared deviation from the means of the columns; None if it is not known.

        What the means themselves take up of it is made up for, as few rows are not far from theirs.
        """
        if not self.whole or self.count is None or self.total is None or self.squares is None:
            return None
        free = float(np.maximum(self.count - 1, 0).sum())
        off = self.squares - self.total**2 / np.maximum(self.count, 1)
        return float(np.maximum(off, 0).sum()) / free if free else None

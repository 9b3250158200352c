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

"""Sums that tell how well a matrix maps what a layer reads to what it should make.

The squared error of outputs y over rows x is a quadratic function of the matrix; x x^T, x y^T and
y^2 hold all of it, however many rows there were.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ocompress.analysis.second_moments import Dealer, summable
from ocompress.analysis.shrinkage import one_part, shrinkage, shrunk

_ENOUGH = 20
"""Rows per input from which on what a fit loses is the same on rows to come, about."""


@dataclass(frozen=True)
class Regression:
    """Means of products over rows x and targets y, float64, about the means of both.

    Attributes:
        count: Rows.
        x: Mean row, (groups, inputs).
        y: Mean target, (groups, outputs).
        xx: (groups, inputs, inputs).
        xy: (groups, inputs, outputs).
        yy: Variance of the targets, (groups, outputs).
        shares: How much of `xx` is better replaced by its mean variance, (groups,): see
            `ocompress.analysis.shrinkage`.
        parts: Sums of the two parts of the samples, to fit to and to judge by; None where nobody
            needs them.
    """

    count: int
    x: np.ndarray
    y: np.ndarray
    xx: np.ndarray
    xy: np.ndarray
    yy: np.ndarray
    shares: np.ndarray
    parts: tuple[Regression, Regression] | None = None

    @property
    def is_scarce(self) -> bool:
        """Whether there are so few rows that a fit looks better on them than on others."""
        return bool(self.count < _ENOUGH * self.x.shape[1])

    def shrunk(self) -> Regression:
        """Return the same sums, what is luck in the products of rows shrunk away."""
        xx = shrunk(self.xx, self.shares, self.count)
        return replace(self, xx=xx, shares=np.zeros_like(self.shares))

    def about_zero(self) -> Regression:
        """Return the same sums about zero, for layers that have no bias to make up for means."""
        x, y = self.x, self.y
        return Regression(
            self.count,
            np.zeros_like(x),
            np.zeros_like(y),
            self.xx + x[:, :, None] * x[:, None, :],
            self.xy + x[:, :, None] * y[:, None, :],
            self.yy + y * y,
            self.shares,
        )

    def errors(self, matrix: np.ndarray, bias: np.ndarray) -> np.ndarray:
        """Return the mean squared error of each output, shape (groups, outputs).

        Args:
            matrix: (groups, inputs, outputs).
            bias: (groups, outputs).
        """
        centred = (matrix * (self.xx @ matrix - 2 * self.xy)).sum(axis=1) + self.yy
        off = np.einsum("gi,gio->go", self.x, matrix) + bias - self.y
        found: np.ndarray = centred.clip(0) + off * off
        return found

    def bias(self, matrix: np.ndarray) -> np.ndarray:
        """Return the bias that makes the mean error zero, shape (groups, outputs)."""
        found: np.ndarray = self.y - np.einsum("gi,gio->go", self.x, matrix)
        return found


class RegressionSums:
    """Adds up rows and targets batch by batch, two samples of three apart from the third.

    The third is there to judge what was fitted to the others.
    """

    def __init__(self, samples: int = 0) -> None:
        """Start with nothing seen.

        Args:
            samples: Samples in a full batch; 0 if every item is one.
        """
        self._dealer = Dealer(samples)
        self._pivots: tuple[np.ndarray, np.ndarray] | None = None
        self._sums: list[_Sums] = []

    def update(
        self, rows: np.ndarray, targets: np.ndarray, weights: np.ndarray | None = None
    ) -> None:
        """Take in one batch; what is not finite, or too large for sums of squares, is left out.

        Args:
            rows: (items, places, groups, inputs).
            targets: (items, places, groups, outputs).
            weights: How much each row counts, (items, places), about 1; None for all alike.
        """
        if not rows.size:
            return
        if not (summable(rows) and summable(targets)):
            return
        if self._pivots is None:
            first = (a.mean(axis=(0, 1), dtype=np.float64) for a in (rows, targets))
            x, y = (a.astype(np.float32) for a in first)
            self._pivots = x, y
            self._sums = [_Sums(x.shape[0], x.shape[1], y.shape[1]) for _ in range(2)]
        part = self._dealer.judges(len(rows))
        for sums, chosen in zip(self._sums, (~part, part), strict=True):
            if chosen.any():
                x, y = (
                    _join(a[chosen], p) for a, p in zip((rows, targets), self._pivots, strict=True)
                )
                sums.add(x, y, None if weights is None else weights[chosen].reshape(-1))

    def parts(self) -> tuple[Regression, Regression] | None:
        """Return the sums to fit to and those to judge by; None without rows for both."""
        if self._pivots is None or not all(s.count for s in self._sums):
            return None
        fit, judge = (s.finish(*self._pivots) for s in self._sums)
        return fit, judge

    def whole(self) -> Regression | None:
        """Return the sums over all rows, None if there were none."""
        if self._pivots is None:
            return None
        total = _Sums(*self._sums[0].shape)
        for sums in self._sums:
            total.merge(sums)
        found = total.finish(*self._pivots)
        parts = self.parts()
        if parts is None:
            return replace(found, shares=one_part(found.count, found.xx))
        first, second = ((part.count, part.xx) for part in parts)
        return replace(found, shares=shrinkage(first, second, found.xx))


class _Sums:
    """Sums of rows and targets less their pivots; float32 products, float64 means."""

    def __init__(self, groups: int, inputs: int, outputs: int) -> None:
        self.shape = groups, inputs, outputs
        self.count, self.weight = 0, 0.0
        self.x = np.zeros((groups, inputs))
        self.y = np.zeros((groups, outputs))
        self.yy = np.zeros((groups, outputs))
        self.xx = np.zeros((groups, inputs, inputs), np.float32)
        self.xy = np.zeros((groups, inputs, outputs), np.float32)

    def add(self, x: np.ndarray, y: np.ndarray, weights: np.ndarray | None) -> None:
        """Take in (groups, rows, inputs) and (groups, rows, outputs), which are used up."""
        self.count += x.shape[1]
        if weights is None:
            self.weight += x.shape[1]
            self.x += x.sum(axis=1, dtype=np.float64)
            self.y += y.sum(axis=1, dtype=np.float64)
        else:
            self.weight += float(weights.sum(dtype=np.float64))
            self.x += weights @ x
            self.y += weights @ y
            x *= np.sqrt(weights)[:, None]  # so are products of two
            y *= np.sqrt(weights)[:, None]
        self.yy += np.square(y, dtype=np.float64).sum(axis=1)
        turned = x.transpose(0, 2, 1)
        self.xx += turned @ x
        self.xy += turned @ y

    def merge(self, other: _Sums) -> None:
        """Add another's sums."""
        self.count += other.count
        self.weight += other.weight
        for name in ("x", "y", "yy", "xx", "xy"):
            getattr(self, name).__iadd__(getattr(other, name))

    def finish(self, x: np.ndarray, y: np.ndarray) -> Regression:
        """Return moments about the means, given pivots, (groups, inputs) and (groups, outputs)."""
        off_x, off_y = self.x / self.weight, self.y / self.weight
        return Regression(
            self.count,
            x + off_x,
            y + off_y,
            self.xx / self.weight - off_x[:, :, None] * off_x[:, None, :],
            self.xy / self.weight - off_x[:, :, None] * off_y[:, None, :],
            (self.yy / self.weight - off_y * off_y).clip(0),
            np.zeros(self.shape[0]),
        )


def _join(part: np.ndarray, pivot: np.ndarray) -> np.ndarray:
    """Return (groups, rows, ...) less the pivot, float32; `part` is used up."""
    items, places, groups, width = part.shape
    joined = part.transpose(2, 0, 1, 3).reshape(groups, items * places, width)
    less: np.ndarray = joined.astype(np.float32, copy=False)
    less -= pivot[:, None]
    return less

"""Second moments of what weights meet, which weigh the errors of the weights.

The squared error of a layer's output, summed over the data, is tr(dW H dW^T) with H the sum of
x x^T over what it reads: everything that rounds, prunes or factorizes a layer needs H and nothing
else of the data.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ocompress.analysis.shrinkage import bands, shrinkage, shrunk
from ocompress.analysis.statistics import Accumulator, Observer
from ocompress.analysis.windows import Window

FOLDS = 3
"""Samples are dealt to so many parts; the last one judges what was fitted to the others."""
_LARGEST = 1e16
"""Largest magnitude whose products are summed; float32 holds a million of its squares."""


def summable(rows: np.ndarray) -> bool:
    """Return whether sums of products of rows, (rows, inputs), are finite in float32."""
    # of NaN and what it is compared with, no comparison holds
    return not rows.size or (float(rows.min()) >= -_LARGEST and float(rows.max()) <= _LARGEST)


class Dealer:
    """Deals the items of batches to the part that is fitted to and the part that judges.

    All rows of a sample go the same way, or what is fitted to a sample would judge it too: there
    are more items than samples where tokens or heads were folded into the first axis.
    """

    def __init__(self, samples: int = 0) -> None:
        """Start with the first sample.

        Args:
            samples: Samples in a full batch; 0 if every item is one.
        """
        self._samples, self._each, self._dealt = samples, 0, 0

    def judges(self, items: int) -> np.ndarray:
        """Return which items of the next batch, the first of which is full, are to judge."""
        if not self._each:
            folded = self._samples > 0 and items % self._samples == 0
            self._each = max(1, items // self._samples) if folded else 1
        samples = -(-items // self._each)
        part = (self._dealt + np.arange(samples)) % FOLDS == FOLDS - 1
        self._dealt += samples
        return np.repeat(part, self._each)[:items]


@dataclass(frozen=True)
class Moments:
    """Sums over rows, that is over what an output element of the layer reads.

    They are taken about a pivot near the mean, for what varies little about a large mean would
    drown in the rounding of float32.

    Attributes:
        count: Rows.
        x: Sums of rows less the pivot, shape (groups, inputs).
        xx: Sums of products of rows less the pivot, shape (groups, inputs, inputs).
        pivot: Shape (groups, inputs).
    """

    count: int
    x: np.ndarray
    xx: np.ndarray
    pivot: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        """Mean row, float64 of shape (groups, inputs)."""
        found: np.ndarray = self.pivot + self.x / max(1, self.count)
        return found

    def second(self, *, centred: bool = False) -> np.ndarray:
        """Return the mean product, about the mean if `centred`.

        Returns:
            float64 of shape (groups, inputs, inputs).
        """
        found: np.ndarray = np.divide(self.xx, max(1, self.count), dtype=np.float64)
        off, mean = self.x / max(1, self.count), self.mean
        for band in bands(found.shape[1]):
            found[:, band] -= off[:, band, None] * off[:, None, :]
            if not centred:
                found[:, band] += mean[:, band, None] * mean[:, None, :]
        return found

    def across(self, columns: np.ndarray) -> np.ndarray:
        """Return what `power` needs of columns, which is linear in them, in the same shape."""
        found: np.ndarray = self.xx @ columns
        return found

    def power(self, columns: np.ndarray, across: np.ndarray | None = None) -> np.ndarray:
        """Return the mean square of rows times columns (groups, inputs, columns), for each.

        Args:
            columns: What rows are multiplied by.
            across: What `across` says of them, if that is known.
        """
        count = max(1, self.count)
        across = self.across(columns) if across is None else across
        off, mean = (np.einsum("gi,gic->gc", a, columns) for a in (self.x / count, self.mean))
        about = (columns * across).sum(axis=1) / count
        found: np.ndarray = about - np.square(off) + np.square(mean)
        return found

    def shrunk(self, shares: np.ndarray, *, centred: bool = False) -> np.ndarray:
        """Return the mean product with the covariance shrunk, about the mean if `centred`.

        Args:
            shares: Part of the covariance that is luck, (groups,).
            centred: Whether to leave the mean out.

        Returns:
            float64 of shape (groups, inputs, inputs).
        """
        found = shrunk(self.second(centred=True), shares, self.count)
        if not centred:
            found += self.mean[:, :, None] * self.mean[:, None, :]
        return found


@dataclass(frozen=True)
class Folded:
    """Moments of two parts of the data.

    Attributes:
        fit: Of two samples of three, to fit to.
        judge: Of every third sample, to judge the fit by; no rows if there were too few samples.
    """

    fit: Moments
    judge: Moments

    @property
    def whole(self) -> Moments:
        """Of all the data."""
        a, b = self.fit, self.judge
        return Moments(a.count + b.count, a.x + b.x, a.xx + b.xx, a.pivot)

    @property
    def shares(self) -> np.ndarray:
        """How much of the covariance of all the data is luck, (groups,), see `shrinkage`."""
        parts = [(p.count, p.second(centred=True)) for p in (self.fit, self.judge)]
        return shrinkage(parts[0], parts[1], self.whole.second(centred=True))


@dataclass(frozen=True)
class SecondMoments(Observer):
    """Asks for the `Folded` moments of the rows of a value.

    Attributes:
        rows: Rows of a batch that count, spread evenly over it; bounds the time of a batch.
        window: How a convolution walks over the value; None if its last axis is a row.
        samples: Samples in a full batch; 0 if every item is one.
    """

    rows: int = 4096
    window: Window | None = None
    samples: int = 0

    def start(self) -> Accumulator:
        """Make a fresh accumulator."""
        return SecondMomentsAccumulator(self.rows, self.window, self.samples)


class SecondMomentsAccumulator(Accumulator):
    """Sums in float32, 8 * inputs^2 bytes a group, however many batches come."""

    def __init__(self, rows: int, window: Window | None, samples: int = 0) -> None:
        """Start with nothing seen."""
        self._rows, self._window, self._dealer = rows, window, Dealer(samples)
        self._pivot = np.zeros((0, 0), np.float32)
        self._x: list[np.ndarray] = []
        self._xx: list[np.ndarray] = []
        self._count = [0, 0]
        self._items = 0
        self._finite = True

    def update(self, batch: np.ndarray) -> None:
        """Take in one batch, any shape; one whose rows are not as wide as before is ignored."""
        if batch.size == 0 or batch.ndim == 0:
            return
        rows = self._window_rows(batch) if self._window is not None else self._plain_rows(batch)
        if rows is None:
            return
        if not summable(rows):
            self._finite = False
            return
        items, groups, _, inputs = rows.shape
        if not self._x:
            self._pivot = rows.mean(axis=(0, 2), dtype=np.float64).astype(np.float32)
            self._x = [np.zeros((groups, inputs)) for _ in range(2)]
            self._xx = [np.zeros((groups, inputs, inputs), np.float32) for _ in range(2)]
        if self._x[0].shape != (groups, inputs):
            return
        part = self._dealer.judges(len(batch) if batch.ndim > 1 else 1)
        if batch.ndim == 2:  # every row is an item, and not all were taken
            part = part[:: self._step(batch)]
        self._items += items
        for fold, chosen in enumerate((~part, part)):
            if chosen.any():
                self._add(fold, rows[chosen])

    def result(self) -> Folded | None:
        """Return the moments, None if nothing was seen or something that is not `summable`."""
        if not self._x or not self._finite:
            return None
        parts = zip(self._count, self._x, self._xx, strict=True)
        pivot = self._pivot.astype(np.float64)
        return Folded(*(Moments(*part, pivot) for part in parts))

    def _add(self, fold: int, rows: np.ndarray) -> None:
        joined = rows.transpose(1, 0, 2, 3).reshape(rows.shape[1], -1, rows.shape[3])
        joined -= self._pivot[:, None]  # the rows are a copy already
        self._count[fold] += joined.shape[1]
        self._x[fold] += joined.sum(axis=1, dtype=np.float64)
        self._xx[fold] += joined.transpose(0, 2, 1) @ joined

    def _plain_rows(self, batch: np.ndarray) -> np.ndarray:
        """Return [items, 1, rows, inputs]; every row is an item where there are too few others."""
        items = len(batch) if batch.ndim > 2 else 1
        rows = batch.reshape(items, -1, batch.shape[-1])
        sample = rows[:, :: self._step(batch)].astype(np.float32, copy=False)
        if batch.ndim <= 2:
            sample = sample.transpose(1, 0, 2)
        return sample[:, None]

    def _step(self, batch: np.ndarray) -> int:
        """Return how far apart the rows of an item are that count."""
        step = -(-(batch.size // batch.shape[-1]) // self._rows)
        while step > 1 and (step % 2 == 0 or step % FOLDS == 0):
            step += 1  # so that it visits positions of every parity, and samples of every part
        return int(step)

    def _window_rows(self, batch: np.ndarray) -> np.ndarray | None:
        window = self._window
        assert window is not None
        if batch.ndim != 2 + len(window.kernel) or batch.shape[1] % window.groups:
            return None
        area = int(np.prod(window.extents(batch.shape)))
        if not area:
            return None
        wanted = min(area, max(1, self._rows // len(batch)))
        # other places for every batch, or some would never be seen
        draw = np.random.default_rng([self._items, area])
        places = np.sort(draw.choice(area, wanted, replace=False))
        seen = window.patches(batch.astype(np.float32, copy=False), places)
        return seen.reshape(*seen.shape[:3], -1).transpose(0, 2, 1, 3)

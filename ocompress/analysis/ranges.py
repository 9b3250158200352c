"""Bounded summaries of activations: extrema, a histogram that grows, and channel means."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ocompress.analysis.statistics import Accumulator, Observer

_MOST_BINS = 8192
_TORN = 500
_FIRST_BITS = 11  # the first batch spreads over 2^11 to 2^12 bins


@dataclass(frozen=True)
class Histogram:
    """How the elements of one value are distributed.

    Attributes:
        low: Smallest element seen, exactly.
        high: Largest element seen, exactly.
        start: Lower edge of the first bin; a multiple of `width`.
        width: Width of every bin, a power of two.
        counts: Sampled elements per bin, shape (bins,).
        zeros: Share of the sampled elements that are exactly zero.
        elements: Elements seen, sampled or not.
        batches: Batches seen that were not empty.
        finite: Whether no element was NaN or infinite.
        dtype: Element type as numpy names it, `float32`.
    """

    low: float
    high: float
    start: float
    width: float
    counts: np.ndarray
    zeros: float
    elements: int
    batches: int
    finite: bool
    dtype: str = "float32"

    @property
    def centres(self) -> np.ndarray:
        """Middle of each bin, shape (bins,)."""
        return self.start + self.width * (np.arange(len(self.counts)) + 0.5)

    @property
    def is_torn(self) -> bool:
        """Whether a few hundred levels cannot hold the large and the small elements.

        Such are the values of a mask beside what it masks, and outliers far from all the rest: no
        element lies between half of the largest magnitude and a five-hundredth of it, and some lie
        below that are not zero.
        """
        most = max(abs(self.low), abs(self.high))
        size = np.abs(self.centres)
        small = float(self.counts[size <= most / _TORN].sum())
        between = self.counts[(size > most / _TORN) & (size < most / 2)].sum()
        return not between and small > (self.zeros + 1e-9) * float(self.counts.sum())


@dataclass(frozen=True)
class HistogramObserver(Observer):
    """Asks for a `Histogram` of a value.

    Attributes:
        sample: Elements of a batch that enter the bins, spread evenly over it; the extrema are
            always exact. A batch larger than 64 times this gives a 64th of its elements.
    """

    sample: int = 1 << 14

    def start(self) -> Accumulator:
        """Make a fresh accumulator."""
        return HistogramAccumulator(self.sample)


class HistogramAccumulator(Accumulator):
    """One pass: bins of width 2^k on a grid through zero; pairs merge when the range outgrows."""

    def __init__(self, sample: int) -> None:
        """Start with nothing seen."""
        self._sample = sample
        self._low, self._high = np.inf, -np.inf
        self._exponent = 0  # the bins are 2^exponent wide
        self._first = 0  # index on the grid of bin 0
        self._counts = np.zeros(0, np.int64)
        self._zeros = self._elements = self._batches = 0
        self._finite = True
        self._dtype = "float32"

    def update(self, batch: np.ndarray) -> None:
        """Take in one batch of numbers of any shape."""
        if batch.size == 0:
            return
        self._batches += 1
        self._dtype = batch.dtype.name
        if batch.dtype.itemsize < 4:
            batch = batch.astype(np.float32)
        self._elements += batch.size
        low, high = float(batch.min()), float(batch.max())
        if not (np.isfinite(low) and np.isfinite(high)):
            self._finite = False
            return
        self._low, self._high = min(self._low, low), max(self._high, high)
        self._grow(low, high)
        sample = spread(batch.reshape(-1), self._sample)
        self._zeros += sample.size - int(np.count_nonzero(sample))
        scaled = np.ldexp(sample, -self._exponent)  # exact, so bins do not depend on precision
        index = np.floor(scaled).astype(np.int64) - self._first
        self._counts += np.bincount(index, minlength=len(self._counts))

    def result(self) -> Histogram | None:
        """Return the histogram, None if no element was seen."""
        if self._batches == 0:
            return None
        width = 2.0**self._exponent
        return Histogram(
            low=self._low,
            high=self._high,
            start=self._first * width,
            width=width,
            counts=self._counts,
            zeros=self._zeros / max(1, int(self._counts.sum())),
            elements=self._elements,
            batches=self._batches,
            finite=self._finite,
            dtype=self._dtype,
        )

    def _grow(self, low: float, high: float) -> None:
        if not len(self._counts):
            span = (high - low) or max(abs(high), 2.0**-40)
            self._exponent = int(np.floor(np.log2(span))) - _FIRST_BITS
            self._first = _index(low, self._exponent)
        first, last = self._bounds(low, high)
        while last - first >= _MOST_BINS:
            self._merge_pairs()
            first, last = self._bounds(low, high)
        before = self._first - first
        after = last + 1 - self._first - len(self._counts)
        if before > 0 or after > 0:
            self._counts = np.pad(self._counts, (max(0, before), max(0, after)))
            self._first = first

    def _bounds(self, low: float, high: float) -> tuple[int, int]:
        first, last = _index(low, self._exponent), _index(high, self._exponent)
        if len(self._counts):
            first, last = min(first, self._first), max(last, self._first + len(self._counts) - 1)
        return first, last

    def _merge_pairs(self) -> None:
        odd_first = self._first % 2
        odd_end = (self._first + len(self._counts)) % 2
        padded = np.pad(self._counts, (odd_first, odd_end))
        self._counts = padded.reshape(-1, 2).sum(axis=1)
        self._first //= 2
        self._exponent += 1


def _index(number: float, exponent: int) -> int:
    return int(np.floor(number * 2.0**-exponent))


def spread(flat: np.ndarray, sample: int) -> np.ndarray:
    """Return about `sample` elements (or a 64th, if that is more) spread over a flat array.

    The step is odd and not a multiple of 3, 5 or 7, so that it visits every channel and column
    of the usual layouts alike.
    """
    step = flat.size // max(1, sample, flat.size // 64)
    if step <= 1:
        return flat
    while any(step % prime == 0 for prime in (2, 3, 5, 7)):
        step += 1
    return flat[::step]


@dataclass(frozen=True)
class ChannelMeans(Observer):
    """Asks for the mean over everything but one axis.

    Attributes:
        axis: The axis kept; negative ones count from the end.
    """

    axis: int

    def start(self) -> Accumulator:
        """Make a fresh accumulator."""
        return ChannelMeansAccumulator(self.axis)


class ChannelMeansAccumulator(Accumulator):
    """Sums in float64."""

    def __init__(self, axis: int) -> None:
        """Start with nothing seen."""
        self._axis = axis
        self._sum: np.ndarray | None = None
        self._count = 0

    def update(self, batch: np.ndarray) -> None:
        """Take in one batch, any shape; one with another number of channels is ignored."""
        if batch.size == 0 or not -batch.ndim <= self._axis < batch.ndim:
            return
        kept = self._axis % batch.ndim
        others = tuple(a for a in range(batch.ndim) if a != kept)
        total = batch.mean(axis=others, dtype=np.float32 if batch.itemsize < 8 else None)
        share = batch.size // batch.shape[kept]
        if self._sum is None:
            self._sum = np.zeros(batch.shape[kept])
        if self._sum.shape == total.shape:
            self._sum += total.astype(np.float64) * share
            self._count += share

    def result(self) -> np.ndarray | None:
        """Return the means, float64 of shape (channels,), None if nothing was seen."""
        return None if self._sum is None else self._sum / self._count


@dataclass(frozen=True)
class ChannelRange:
    """What the channels of a value reach.

    Attributes:
        low: Smallest element of each channel, float64 of shape (channels,).
        high: Largest element of each channel.
    """

    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True)
class ChannelRanges(Observer):
    """Asks for a `ChannelRange` over everything but one axis.

    Attributes:
        axis: The axis kept; negative ones count from the end.
    """

    axis: int

    def start(self) -> Accumulator:
        """Make a fresh accumulator."""
        return ChannelRangesAccumulator(self.axis)


class ChannelRangesAccumulator(Accumulator):
    """Keeps two numbers a channel."""

    def __init__(self, axis: int) -> None:
        """Start with nothing seen."""
        self._axis = axis
        self._range: ChannelRange | None = None
        self._whole = True

    def update(self, batch: np.ndarray) -> None:
        """Take in one batch, any shape; one with another number of channels spoils the result."""
        if batch.size == 0:
            return
        if not -batch.ndim <= self._axis < batch.ndim:
            self._whole = False
            return
        kept = self._axis % batch.ndim
        others = tuple(a for a in range(batch.ndim) if a != kept)
        low, high = (f(batch, axis=others).astype(np.float64) for f in (np.min, np.max))
        seen = self._range or ChannelRange(low, high)
        if seen.low.shape != low.shape or not (np.isfinite(low) & np.isfinite(high)).all():
            self._whole = False
            return
        self._range = ChannelRange(np.minimum(seen.low, low), np.maximum(seen.high, high))

    def result(self) -> ChannelRange | None:
        """Return the range, None if nothing whole and finite was seen."""
        return self._range if self._whole else None

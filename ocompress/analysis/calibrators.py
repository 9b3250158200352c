"""From the distribution of a value to the range that its integers shall cover.

Pure functions of a `Histogram`; each returns `(low, high)` with `low <= 0 <= high` not enforced
(the affine scheme widens a range to contain zero).
"""

from __future__ import annotations

import numpy as np

from ocompress.analysis.ranges import Histogram

LEVELS = 256
_CUTS = 48  # candidates per side in searches


def minmax(histogram: Histogram) -> tuple[float, float]:
    """Cover everything that was seen."""
    return histogram.low, histogram.high


def percentile(histogram: Histogram, percent: float = 99.999) -> tuple[float, float]:
    """Leave out the outermost elements: `100 - percent` per cent on either side."""
    total = histogram.counts.sum()
    if total == 0:
        return minmax(histogram)
    edges = histogram.start + histogram.width * np.arange(len(histogram.counts) + 1)
    seen = np.concatenate([[0], np.cumsum(histogram.counts)]) / total
    tail = 1 - percent / 100
    ends = np.interp([tail, 1 - tail], seen, edges).clip(histogram.low, histogram.high)
    return float(ends[0]), float(ends[1])


def mse(histogram: Histogram, symmetric: bool = False) -> tuple[float, float]:
    """Minimise the expected squared error of rounding inside the range and clipping outside.

    Inside, the error of a uniform step is step^2 / 12 except for exact zeros, which the affine
    scheme represents exactly; outside it is summed over the bins, for all candidates at once.
    """
    if histogram.counts.sum() == 0:
        return minmax(histogram)
    lows, highs = _candidates(min(0.0, histogram.low), max(0.0, histogram.high), symmetric)
    error = expected_error(histogram, lows, highs)
    best = int(np.argmin(error))
    return float(lows[best]), float(highs[best])


def entropy(histogram: Histogram, symmetric: bool = False) -> tuple[float, float]:
    """Minimise KL(P || Q) of the clipped distribution to its quantized form.

    After Migacz, 8-bit inference with TensorRT (GTC 2017), for ranges with two ends: first the
    upper one is searched, then the lower one; what is cut off is added to the end bins of P.
    Exact zeros do not count, for every grid represents them; their peak would ask for ever
    narrower ranges.
    """
    counts = histogram.counts.astype(np.float64)
    low, high = min(0.0, histogram.low), max(0.0, histogram.high)
    if counts.sum() == 0 or low == high:
        return minmax(histogram)
    zero = int(np.floor(-histogram.start / histogram.width))
    if 0 <= zero < len(counts):
        counts[zero] = max(0.0, counts[zero] - histogram.zeros * counts.sum())
    shares = np.linspace(1.0, 0.2, _CUTS)
    if symmetric:
        high = max(-low, high)
        ends = [(-high * s, high * s) for s in shares]
        return _least_divergence(counts, histogram, ends)
    low, high = _least_divergence(counts, histogram, [(low, high * s) for s in shares])
    return _least_divergence(counts, histogram, [(low * s, high) for s in shares])


def _least_divergence(
    counts: np.ndarray, histogram: Histogram, ranges: list[tuple[float, float]]
) -> tuple[float, float]:
    best, chosen = np.inf, ranges[0]
    for low, high in ranges:
        found = _divergence(counts, histogram, low, high)
        if found < best - 1e-12:
            best, chosen = found, (low, high)
    return chosen


def expected_error(histogram: Histogram, lows: np.ndarray, highs: np.ndarray) -> np.ndarray:
    """Return the expected squared error of quantizing to 256 levels, per candidate range.

    Args:
        histogram: Distribution of the values.
        lows: Lower ends, shape (candidates,), not above zero.
        highs: Upper ends, shape (candidates,), not below zero.

    Returns:
        Mean squared error per element, shape (candidates,).
    """
    counts = histogram.counts.astype(np.float64)
    total = counts.sum()
    centres = histogram.centres
    sums = np.stack([np.concatenate([[0.0], np.cumsum(counts * centres**k)]) for k in range(3)])
    low_bin = np.searchsorted(centres, lows)
    high_bin = np.searchsorted(centres, highs, side="right")
    below, above = sums[:, low_bin], sums[:, -1:] - sums[:, high_bin]
    clipped = _second_moment(below, lows) + _second_moment(above, highs)
    inside = sums[0, high_bin] - sums[0, low_bin] - histogram.zeros * total
    step = (highs - lows) / (LEVELS - 1)
    error: np.ndarray = (clipped + np.maximum(inside, 0) * step**2 / 12) / total
    return error


def _second_moment(sums: np.ndarray, point: np.ndarray) -> np.ndarray:
    moment: np.ndarray = sums[2] - 2 * point * sums[1] + point**2 * sums[0]
    return moment.clip(0)


def _candidates(low: float, high: float, symmetric: bool) -> tuple[np.ndarray, np.ndarray]:
    shares = np.linspace(1.0, 0.05, _CUTS)
    if symmetric:
        ends = shares * max(-low, high)
        return -ends, ends
    lows = shares * low if low < 0 else np.zeros(1)
    highs = shares * high if high > 0 else np.zeros(1)
    grid = np.meshgrid(lows, highs, indexing="ij")
    return grid[0].reshape(-1), grid[1].reshape(-1)


def _divergence(counts: np.ndarray, histogram: Histogram, low: float, high: float) -> float:
    centres = histogram.centres
    inside = (centres >= low) & (centres <= high)
    kept = np.flatnonzero(inside)
    if len(kept) < LEVELS // 2:
        return float("inf")
    source = counts[kept]
    reference = source.copy()
    reference[0] += counts[: kept[0]].sum()
    reference[-1] += counts[kept[-1] + 1 :].sum()
    level = ((centres[kept] - low) / (high - low) * (LEVELS - 1) + 0.5).astype(np.int64)
    occupied = source > 0
    mass = np.bincount(level, source, LEVELS)
    members = np.bincount(level, occupied, LEVELS)
    quantized = np.where(occupied, (mass / np.maximum(members, 1))[level], 0.0)
    p, q = reference / reference.sum(), quantized / max(quantized.sum(), 1e-300)
    some = p > 0
    floor = 1e-9  # a bin that only clipped elements fall in
    return float(np.sum(p[some] * np.log(p[some] / np.maximum(q[some], floor))))

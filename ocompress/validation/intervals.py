"""95 % intervals of proportions and of paired differences; pure functions."""

from __future__ import annotations

import math

import numpy as np

from ocompress.validation.result import Interval

_Z = 1.959963984540054
"""97.5 % point of the normal distribution."""
_RESAMPLES = 2000


def wilson(share: float, count: int) -> Interval:
    """Return the Wilson score interval of a proportion (Wilson, JASA 22, 1927).

    Where a sample has many decisions (pixels, steps), `share` is the mean over samples of each
    one's share; `count` stays the number of samples, because decisions within a sample are not
    independent. The variance of such a mean is at most that of a proportion, so the interval is
    on the safe side.

    Args:
        share: Observed proportion, 0 to 1.
        count: Samples.
    """
    if count == 0:
        return Interval(math.nan, 0.0, 1.0, "wilson")
    z2 = _Z * _Z / count
    centre = (share + z2 / 2) / (1 + z2)
    half = _Z * math.sqrt(share * (1 - share) / count + z2 / (4 * count)) / (1 + z2)
    return Interval(share, max(0.0, centre - half), min(1.0, centre + half), "wilson")


def paired_drop(reference: np.ndarray, candidate: np.ndarray, seed: int = 0) -> Interval:
    """Return how much the mean score fell, with its paired interval.

    Right or wrong (scores 0 and 1) uses the adjusted Wald interval for matched pairs of Agresti
    and Min (Statistics in Medicine 24, 2005), which counts only the samples on which the two
    differ, as McNemar's test does, and half a sample more in every cell. Other scores use the
    percentile bootstrap over samples (Efron, 1979) with a fixed seed.

    Args:
        reference: Scores, shape [n].
        candidate: Scores of the same samples, shape [n].
        seed: Seeds the bootstrap.
    """
    differences = reference - candidate
    if differences.size == 0:
        return Interval(math.nan, -1.0, 1.0, "none")
    scores = np.concatenate([reference, candidate])
    if bool(np.isin(scores, (0.0, 1.0)).all()):
        return _agresti_min(
            int((differences > 0).sum()), int((differences < 0).sum()), len(reference)
        )
    return bootstrap_mean(differences, seed=seed)


def _agresti_min(lost: int, won: int, count: int) -> Interval:
    drop = (lost - won) / count
    centre = (lost - won) / (count + 2)
    total = lost + won + 1
    half = _Z * math.sqrt(max(total - (lost - won) ** 2 / (count + 2), 0.0)) / (count + 2)
    return Interval(drop, max(-1.0, centre - half), min(1.0, centre + half), "agresti-min")


def bootstrap_mean(
    values: np.ndarray, weights: np.ndarray | None = None, seed: int = 0
) -> Interval:
    """Return a weighted mean with its percentile bootstrap interval.

    Args:
        values: Observations, shape [n], n > 0.
        weights: Their weights, shape [n]; equal when None.
        seed: Seeds the resampling.
    """
    count = len(values)
    weights = np.ones(count) if weights is None else weights
    rng = np.random.default_rng(seed)
    means = np.empty(_RESAMPLES)
    for index in range(_RESAMPLES):  # one at a time: memory stays at n
        picked = rng.integers(0, count, count)
        means[index] = np.average(values[picked], weights=weights[picked])
    low, high = np.quantile(means, [0.025, 0.975])
    return Interval(
        float(np.average(values, weights=weights)), float(low), float(high), "bootstrap"
    )

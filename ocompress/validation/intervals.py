"""Intervals of proportions, of mean losses and of paired differences; pure functions."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

from ocompress.validation.result import Interval

_Z = 1.959963984540054
"""97.5 % point of the normal distribution."""
_RESAMPLES = 2000


def wilson(share: float, count: int, z: float = _Z) -> Interval:
    """Return the Wilson score interval of a proportion (Wilson, JASA 22, 1927).

    Where a sample has many decisions (pixels, steps), `share` is the mean over samples of each
    one's share; `count` stays the number of samples, because decisions within a sample are not
    independent. The variance of such a mean is at most that of a proportion, so the interval is
    on the safe side.

    Args:
        share: Observed proportion, 0 to 1.
        count: Samples.
        z: Point of the normal distribution at the interval's ends.
    """
    if count == 0:
        return Interval(math.nan, 0.0, 1.0, "wilson")
    z2 = z * z / count
    centre = (share + z2 / 2) / (1 + z2)
    spread = max(share * (1 - share), 0.0) / count + z2 / (4 * count)
    half = z * math.sqrt(spread) / (1 + z2)
    return Interval(share, max(0.0, centre - half), min(1.0, centre + half), "wilson")


def mean_interval(
    losses: np.ndarray, margin: float | None = None, confidence: float | None = None
) -> Interval:
    """Return the mean loss of samples with its interval.

    Most samples lose nothing, some lose a part. With m = sum(l^2) / sum(l), what a sample that
    loses loses, the mean is a share of m that Wilson's interval holds of as many samples: for
    losses of 0 and 1 it is the interval of a proportion. Where nothing was lost at all, m is the
    margin of those that are nearest to it, so that few samples without loss prove little, and few
    with a little no more than these. Losses
    without a bound (`margin` None) have the normal interval of a mean.

    Args:
        losses: Shape [n], at least 0.
        margin: What a sample would lose if it lost anything.
        confidence: One-sided, of either end; None gives the two-sided 95 %.
    """
    z = _point(confidence)
    count, total = len(losses), float(losses.sum())
    if count == 0 or not math.isfinite(total):
        return Interval(total if count else math.nan, 0.0, math.inf, "none")
    mean = total / count
    if margin is None:
        half = z * float(losses.std(ddof=1)) / math.sqrt(count) if count > 1 else 0.0
        return Interval(mean, max(0.0, mean - half), mean + half, "normal")
    size = float(np.square(losses).sum()) / total if total > 0 else margin
    return share_interval(mean, size, count, (margin, count), confidence)


def share_interval(
    mean: float, size: float, count: int, least: tuple[float, int], confidence: float | None
) -> Interval:
    """Return a mean loss with its interval, as that of the share of samples that lose.

    Args:
        mean: The mean loss.
        size: What a sample that loses loses.
        count: Samples.
        least: What a sample would lose if none did, and of how many: the upper end is that of
            this at least.
        confidence: One-sided, of either end; None gives the two-sided 95 %.
    """
    z = _point(confidence)
    share = wilson(min(mean / size, 1.0) if size > 0 else 0.0, count, z)
    margin, seen = least
    high = max(share.high * size, wilson(0.0, seen, z).high * margin)
    return Interval(mean, share.low * size, high, "wilson")


def samples_needed(limit: float, margin: float, confidence: float) -> int:
    """Return how many samples without any loss show that the mean loss is within a limit."""
    z = NormalDist().inv_cdf(confidence)
    return max(1, math.ceil(z * z * (margin / limit - 1))) if limit > 0 else 0


def _point(confidence: float | None) -> float:
    return _Z if confidence is None else NormalDist().inv_cdf(confidence)


def paired_drop(
    reference: np.ndarray,
    candidate: np.ndarray,
    seed: int = 0,
    confidence: float | None = None,
) -> Interval:
    """Return how much the mean score fell, with its paired interval.

    Right or wrong (scores 0 and 1) uses the adjusted Wald interval for matched pairs of Agresti
    and Min (Statistics in Medicine 24, 2005), which counts only the samples on which the two
    differ, as McNemar's test does, and half a sample more in every cell. Other scores use the
    percentile bootstrap over samples (Efron, 1979) with a fixed seed.

    Args:
        reference: Scores, shape [n].
        candidate: Scores of the same samples, shape [n].
        seed: Seeds the bootstrap.
        confidence: One-sided confidence of either end; None gives the two-sided 95 %.
    """
    differences = reference - candidate
    if differences.size == 0:
        return Interval(math.nan, -1.0, 1.0, "none")
    scores = np.concatenate([reference, candidate])
    if bool(np.isin(scores, (0.0, 1.0)).all()):
        lost, won = int((differences > 0).sum()), int((differences < 0).sum())
        return _agresti_min(lost, won, len(reference), _point(confidence))
    return bootstrap_mean(differences, seed=seed, confidence=confidence)


def _agresti_min(lost: int, won: int, count: int, z: float) -> Interval:
    drop = (lost - won) / count
    centre = (lost - won) / (count + 2)
    total = lost + won + 1
    half = z * math.sqrt(max(total - (lost - won) ** 2 / (count + 2), 0.0)) / (count + 2)
    return Interval(drop, max(-1.0, centre - half), min(1.0, centre + half), "agresti-min")


def bootstrap_mean(
    values: np.ndarray,
    weights: np.ndarray | None = None,
    seed: int = 0,
    confidence: float | None = None,
) -> Interval:
    """Return a weighted mean with its percentile bootstrap interval.

    Args:
        values: Observations, shape [n], n > 0.
        weights: Their weights, shape [n]; equal when None.
        seed: Seeds the resampling.
        confidence: One-sided confidence of either end; None gives the two-sided 95 %.
    """
    count = len(values)
    weights = np.ones(count) if weights is None else weights
    rng = np.random.default_rng(seed)
    means = np.empty(_RESAMPLES)
    for index in range(_RESAMPLES):  # one at a time: memory stays at n
        picked = rng.integers(0, count, count)
        means[index] = np.average(values[picked], weights=weights[picked])
    tail = 0.025 if confidence is None else 1 - confidence
    low, high = np.quantile(means, [tail, 1 - tail])
    return Interval(
        float(np.average(values, weights=weights)), float(low), float(high), "bootstrap"
    )

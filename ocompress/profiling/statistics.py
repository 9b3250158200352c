"""Statistics of wall times; pure functions."""

from __future__ import annotations

import numpy as np

from ocompress.profiling.result import Latency, Ratio

_RESAMPLES = 2000


def summarize(times_ms: np.ndarray, samples: int = 1) -> Latency:
    """Return the percentiles and moments of wall times.

    Args:
        times_ms: Milliseconds, shape [runs], runs > 0.
        samples: Samples in a run, for throughput.
    """
    p50, p90, p95, p99 = (float(q) for q in np.percentile(times_ms, [50, 90, 95, 99]))
    return Latency(
        runs=len(times_ms),
        p50_ms=p50,
        p90_ms=p90,
        p95_ms=p95,
        p99_ms=p99,
        min_ms=float(times_ms.min()),
        max_ms=float(times_ms.max()),
        mean_ms=float(times_ms.mean()),
        std_ms=float(times_ms.std(ddof=1)) if len(times_ms) > 1 else 0.0,
        samples=samples,
    )


def ratio_of_medians(model_ms: np.ndarray, reference_ms: np.ndarray, seed: int = 0) -> Ratio:
    """Return how much longer a model takes than a reference, with a 95 % interval.

    The times come in pairs, one block of runs of each taken right after the other, so that a slow
    spell of the machine hits both. The interval is the percentile bootstrap (Efron, 1979) over
    pairs.

    Args:
        model_ms: Milliseconds per block, shape [pairs], pairs > 0.
        reference_ms: The same of the reference, pair by pair.
        seed: Seeds the resampling.
    """
    count = len(model_ms)
    value = float(np.median(model_ms) / np.median(reference_ms))
    rng = np.random.default_rng(seed)
    picked = rng.integers(0, count, (_RESAMPLES, count))
    ratios = np.median(model_ms[picked], axis=1) / np.median(reference_ms[picked], axis=1)
    low, high = (float(q) for q in np.quantile(ratios, [0.025, 0.975]))
    return Ratio(value, min(low, value), max(high, value))

"""Statistics of wall times on synthetic samples."""

from __future__ import annotations

import numpy as np
import pytest

from ocompress.profiling.statistics import ratio_of_medians, summarize


def test_percentiles_and_moments() -> None:
    found = summarize(np.arange(1.0, 102.0), samples=4)
    assert (found.p50_ms, found.p90_ms, found.p95_ms, found.p99_ms) == (51, 91, 96, 100)
    assert (found.min_ms, found.max_ms, found.mean_ms, found.runs) == (1, 101, 51, 101)
    assert found.std_ms == pytest.approx(np.arange(101).std(ddof=1))
    assert found.throughput == pytest.approx(4 * 1000 / 51)


def test_one_run_has_no_spread() -> None:
    assert summarize(np.array([2.0])).std_ms == 0.0


def times(seed: int, median: float, count: int = 60, noise: float = 0.05) -> np.ndarray:
    return median * np.exp(noise * np.random.default_rng(seed).standard_normal(count))


def test_ratio_is_model_over_reference() -> None:
    found = ratio_of_medians(times(1, 5.0), times(2, 10.0))
    assert found.value == pytest.approx(0.5, rel=0.03)
    assert found.low < 0.5 < found.high < 0.6


def test_slow_spells_that_hit_both_do_not_widen_the_ratio() -> None:
    spell = np.where(np.arange(60) < 20, 3.0, 1.0)
    found = ratio_of_medians(spell * times(1, 5.0, noise=0.01), spell * times(2, 5.0, noise=0.01))
    assert 0.97 < found.low < found.high < 1.03


def test_resamples_keep_pairs_together() -> None:
    spell = np.where(np.arange(60) < 30, 3.0, 1.0)  # as likely as not that the median is in it
    found = ratio_of_medians(spell * times(1, 5.0, noise=0.01), spell * times(2, 5.0, noise=0.01))
    assert 0.95 < found.low < found.high < 1.05


@pytest.mark.parametrize("seed", range(3))
def test_the_interval_leaves_out_a_fortieth_at_each_end(seed: int) -> None:
    # Two of ten blocks are slow. By the binomial distribution, half of a resample or more are in
    # 3.3 % of all, which is more than 2.5 % and less than 5 %, and more than half in 0.6 %.
    blocks, ones = np.where(np.arange(10) < 2, 10.0, 1.0), np.ones(10)
    slow, fast = ratio_of_medians(blocks, ones, seed), ratio_of_medians(ones, blocks, seed)
    assert slow.high == pytest.approx(5.5)
    assert fast.low == pytest.approx(1 / 5.5)
    assert (slow.low, fast.high) == (1.0, 1.0)


def test_interval_covers_equality() -> None:
    hits = 0
    for seed in range(100):
        found = ratio_of_medians(times(2 * seed, 1.0, 40), times(2 * seed + 1, 1.0, 40), seed)
        hits += found.low <= 1.0 <= found.high
    assert hits >= 88


def test_same_seed_same_interval() -> None:
    a, b = times(1, 1.0), times(2, 1.1)
    assert ratio_of_medians(a, b, 3) == ratio_of_medians(a, b, 3)
    assert ratio_of_medians(a, b, 3) != ratio_of_medians(a, b, 4)

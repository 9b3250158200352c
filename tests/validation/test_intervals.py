"""Intervals against published figures and by simulation."""

from __future__ import annotations

import numpy as np
import pytest

from ocompress.validation.intervals import bootstrap_mean, mean_interval, paired_drop, wilson


def test_wilson_gives_the_published_example() -> None:
    # Newcombe, Statistics in Medicine 17 (1998), table I: 81 of 263
    found = wilson(81 / 263, 263)
    assert (round(found.low, 4), round(found.high, 4)) == (0.2553, 0.3662)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_wilson_has_width_at_the_ends(share: float) -> None:
    found = wilson(share, 20)
    assert 0 <= found.low <= share <= found.high <= 1
    assert found.high - found.low == pytest.approx(0.161, abs=1e-3)


def test_wilson_of_nothing_is_everything() -> None:
    found = wilson(0.5, 0)
    assert np.isnan(found.value)
    assert (found.low, found.high) == (0, 1)


def test_paired_drop_counts_only_differing_samples() -> None:
    reference = np.array([1.0] * 90 + [0.0] * 10)
    candidate = np.array([1.0] * 80 + [0.0] * 16 + [1.0] * 4)
    found = paired_drop(reference, candidate)
    assert found.method == "agresti-min"
    assert found.value == pytest.approx(0.06)
    assert found.low < 0.06 < found.high
    # (10 lost, 4 won): centre 6/102, half 1.96 * sqrt(15 - 36/102) / 102
    assert found.low == pytest.approx(6 / 102 - 1.959964 * np.sqrt(15 - 36 / 102) / 102, abs=1e-6)


def test_paired_drop_covers_the_truth() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(300):
        reference = (rng.random(200) < 0.9).astype(float)
        flipped = rng.random(200) < 0.05
        candidate = np.where(flipped, 1 - reference, reference)
        found = paired_drop(reference, candidate)
        hits += found.low <= 0.05 * (0.9 - 0.1) <= found.high
    assert hits >= 0.92 * 300


def test_other_scores_are_resampled() -> None:
    rng = np.random.default_rng(1)
    reference = rng.random(400)
    found = paired_drop(reference, reference - 0.1 + 0.05 * rng.standard_normal(400))
    assert found.method == "bootstrap"
    assert found.low < 0.1 < found.high
    assert found.high - found.low == pytest.approx(2 * 1.96 * 0.05 / 20, rel=0.15)


def test_bootstrap_weighs_and_repeats() -> None:
    values, weights = np.array([0.0, 1.0, 1.0]), np.array([8.0, 1.0, 1.0])
    assert bootstrap_mean(values, weights).value == pytest.approx(0.2)
    assert bootstrap_mean(values, weights) == bootstrap_mean(values, weights)


def test_a_few_small_losses_prove_no_more_than_none() -> None:
    """Of 50 samples, one lost a thousandth: others may still lose the margin of a half."""
    none = mean_interval(np.zeros(50), 0.5)
    little = mean_interval(np.where(np.arange(50) == 7, 0.001, 0.0), 0.5)
    assert none.high == pytest.approx(0.5 * wilson(0.0, 50).high)
    assert little.high == none.high
    much = mean_interval(np.where(np.arange(50) < 25, 0.5, 0.0), 0.5)
    assert much.high == pytest.approx(0.5 * wilson(0.5, 50).high)


def test_a_confidence_is_that_of_each_end_by_itself() -> None:
    values = np.random.default_rng(3).standard_normal(300)
    one, both = bootstrap_mean(values, confidence=0.975), bootstrap_mean(values)
    assert (one.low, one.high) == pytest.approx((both.low, both.high))
    wide = bootstrap_mean(values, confidence=0.99)
    assert wide.low < one.low
    assert one.high < wide.high

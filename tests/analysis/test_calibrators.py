"""Calibrators: each minimises what it says it minimises."""

from __future__ import annotations

import numpy as np
import pytest

from ocompress.analysis import calibrators
from ocompress.analysis.ranges import Histogram, HistogramObserver

RNG = np.random.default_rng(1)


def histogram_of(array: np.ndarray) -> Histogram:
    accumulator = HistogramObserver(1 << 22).start()
    accumulator.update(array.astype(np.float32))
    result = accumulator.result()
    assert isinstance(result, Histogram)
    return result


def rounding_error(array: np.ndarray, low: float, high: float) -> float:
    step = (high - low) / 255
    zero = np.rint(-low / step)
    levels = np.clip(np.rint(array / step) + zero, 0, 255)
    return float(np.mean(((levels - zero) * step - array) ** 2))


GAUSS = RNG.standard_normal(100_000)
TAILED = np.concatenate([GAUSS, 40 * RNG.standard_normal(20)])
RELU = np.maximum(TAILED, 0)


def test_minmax_covers_everything() -> None:
    low, high = calibrators.minmax(histogram_of(GAUSS))
    assert [low, high] == GAUSS.astype(np.float32)[[GAUSS.argmin(), GAUSS.argmax()]].tolist()


def test_percentile_leaves_out_the_tails() -> None:
    low, high = calibrators.percentile(histogram_of(GAUSS), 99.0)
    expected = np.percentile(GAUSS, [1.0, 99.0])
    np.testing.assert_allclose([low, high], expected, atol=0.01)
    assert calibrators.percentile(histogram_of(GAUSS), 100.0) == calibrators.minmax(
        histogram_of(GAUSS)
    )


@pytest.mark.parametrize("array", [GAUSS, TAILED, RELU], ids=["gauss", "tailed", "relu"])
def test_expected_error_is_the_error_of_rounding(array: np.ndarray) -> None:
    histogram = histogram_of(array)
    for share in (1.0, 0.5, 0.1):
        low, high = min(0.0, array.min()) * share, array.max() * share
        found = calibrators.expected_error(histogram, np.array([low]), np.array([high]))
        np.testing.assert_allclose(found[0], rounding_error(array, low, high), rtol=0.05)


@pytest.mark.parametrize("array", [TAILED, RELU], ids=["tailed", "relu"])
def test_mse_finds_a_range_that_no_share_of_the_extrema_beats(array: np.ndarray) -> None:
    low, high = calibrators.mse(histogram_of(array))
    found = rounding_error(array, low, high)
    least = min(
        rounding_error(array, array.min() * a, array.max() * b)
        for a in np.linspace(0.05, 1, 8)
        for b in np.linspace(0.05, 1, 8)
        if array.min() * a < array.max() * b
    )
    assert found <= 1.03 * least
    assert found < 0.95 * rounding_error(array, array.min(), array.max())


def test_symmetric_ranges_are_symmetric() -> None:
    histogram = histogram_of(RELU - 0.5)
    for calibrate in (calibrators.mse, calibrators.entropy):
        low, high = calibrate(histogram, True)
        assert low == -high


def test_entropy_clips_a_long_tail_but_not_a_uniform_distribution() -> None:
    low, high = calibrators.entropy(histogram_of(TAILED))
    assert high < 0.8 * TAILED.max()
    assert low > 0.8 * TAILED.min()
    flat = RNG.uniform(0, 1, 200_000)
    assert calibrators.entropy(histogram_of(flat))[1] > 0.9


def test_a_zero_range_stays_one() -> None:
    for calibrate in (
        calibrators.minmax,
        calibrators.percentile,
        calibrators.entropy,
        calibrators.mse,
    ):
        low, high = calibrate(histogram_of(np.zeros(10)))
        assert low <= 0.0 <= high
        assert high - low <= 1e-6

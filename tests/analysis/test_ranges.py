"""Accumulators: exact extrema, a bounded histogram that grows, channel means."""

from __future__ import annotations

import numpy as np
import pytest

from ocompress.analysis.ranges import ChannelMeans, Histogram, HistogramObserver, spread

RNG = np.random.default_rng(0)


def histogram_of(*batches: np.ndarray, sample: int = 1 << 20) -> Histogram:
    accumulator = HistogramObserver(sample).start()
    for batch in batches:
        accumulator.update(batch)
    result = accumulator.result()
    assert isinstance(result, Histogram)
    return result


def test_counts_are_those_of_the_whole_however_the_range_grows() -> None:
    batches = [
        RNG.standard_normal(999).astype(np.float32) * 10.0**k - (7 if k == 1 else 0)
        for k in (-3, 0, 1, -2, 3)
    ]
    found = histogram_of(*batches)
    everything = np.concatenate(batches)
    edges = found.start + found.width * np.arange(len(found.counts) + 1)
    expected = np.histogram(everything.astype(np.float64), edges)[0]
    # numpy closes the last bin on the right; nothing lies on that edge here
    assert (found.counts == expected).all()
    assert found.counts.sum() == everything.size == found.elements
    assert found.low == everything.min()
    assert found.high == everything.max()
    assert 1024 <= len(found.counts) <= 8192
    assert found.batches == 5


@pytest.mark.parametrize("value", [0.0, 3.0, -2.5, 1e-30, 1e30])
def test_a_constant_has_a_histogram(value: float) -> None:
    found = histogram_of(np.full((4, 4), value, np.float32))
    assert found.low == found.high == np.float32(value)
    assert found.counts.sum() == 16
    assert found.zeros == (1.0 if value == 0 else 0.0)


def test_a_constant_then_a_wide_range_stays_bounded() -> None:
    found = histogram_of(np.zeros(8, np.float32), np.array([-1e6, 1e6], np.float32))
    assert len(found.counts) <= 8192
    assert found.counts.sum() == 10


def test_sampling_keeps_extrema_and_element_count() -> None:
    batch = RNG.standard_normal((64, 1024)).astype(np.float32)
    batch[13, 17] = 99.0
    found = histogram_of(batch, sample=1000)
    assert found.high == 99.0
    assert found.elements == batch.size
    assert 900 <= found.counts.sum() <= 1100


def test_a_sample_meets_every_channel_of_a_channels_last_batch() -> None:
    for channels in (3, 5, 7, 32, 96):
        flat = np.tile(np.arange(channels), 30000)
        seen = np.bincount(spread(flat, 1 << 12), minlength=channels)
        assert seen.min() > 0.8 * seen.mean()


def test_what_is_not_finite_is_reported() -> None:
    for bad in (np.nan, np.inf, -np.inf):
        found = histogram_of(np.ones(3, np.float32), np.array([1, bad], np.float32))
        assert not found.finite
        assert found.high == 1.0


def test_nothing_seen_gives_nothing() -> None:
    accumulator = HistogramObserver().start()
    accumulator.update(np.zeros((0, 3), np.float32))
    assert accumulator.result() is None


def test_half_precision_is_named() -> None:
    assert histogram_of(np.ones(3, np.float16)).dtype == "float16"


@pytest.mark.parametrize(("axis", "others"), [(1, (0, 2)), (-1, (0, 1))])
def test_channel_means_weigh_batches_by_size(axis: int, others: tuple[int, ...]) -> None:
    batches = [RNG.standard_normal((n, 4, 4)).astype(np.float32) + n for n in (1, 5, 2)]
    accumulator = ChannelMeans(axis).start()
    for batch in batches:
        accumulator.update(batch)
    expected = np.concatenate(batches).astype(np.float64).mean(axis=others)
    np.testing.assert_allclose(accumulator.result(), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("extra", "torn"),
    [([-1e9], True), ([-np.finfo(np.float32).max], True), ([4000.0], True), ([100.0], False)],
)
def test_what_a_mask_leaves_beside_scores_is_torn(extra: list[float], torn: bool) -> None:
    rng = np.random.default_rng(0)
    seen = HistogramObserver().start()
    seen.update(np.concatenate([rng.standard_normal(4000), extra]).astype(np.float32))
    assert seen.result().is_torn is torn


@pytest.mark.parametrize("values", [[0.0, 1.0], [0.0, -1e9], [3.0, 3.0], [0.0, 0.0]])
def test_few_values_are_not_torn(values: list[float]) -> None:
    seen = HistogramObserver().start()
    seen.update(np.array(values * 50, np.float32))
    assert not seen.result().is_torn

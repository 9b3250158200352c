"""Second moments: exact over all batches, bounded, None where they mean nothing."""

from __future__ import annotations

import numpy as np
import pytest

from ocompress.analysis.second_moments import Dealer, Folded, SecondMoments
from ocompress.analysis.shrinkage import shrinkage, shrunk

RNG = np.random.default_rng(0)


def moments_of(*batches: np.ndarray, rows: int = 4096) -> np.ndarray | None:
    accumulator = SecondMoments(rows).start()
    for batch in batches:
        accumulator.update(batch)
    found = accumulator.result()
    assert found is None or isinstance(found, Folded)
    return None if found is None else found.whole.second()[0]


def test_they_are_the_mean_over_every_row_of_every_batch() -> None:
    batches = [RNG.standard_normal(s).astype(np.float32) for s in ((3, 6), (2, 5, 6), (6,))]
    rows = np.concatenate([b.reshape(-1, 6) for b in batches]).astype(np.float64)
    found = moments_of(*batches)
    assert found is not None
    np.testing.assert_allclose(found, rows.T @ rows / len(rows), rtol=1e-5, atol=1e-6)


def test_the_power_of_products_is_what_the_second_moments_say() -> None:
    rows = (RNG.standard_normal((2, 7, 6)) + 5).astype(np.float32)
    columns = RNG.standard_normal((1, 6, 4))
    accumulator = SecondMoments().start()
    accumulator.update(rows)
    moments = accumulator.result().whole
    wanted = np.square(rows.reshape(-1, 6).astype(np.float64) @ columns[0]).mean(axis=0)
    np.testing.assert_allclose(moments.power(columns)[0], wanted, rtol=1e-4)


def test_a_long_batch_is_sampled_at_even_and_odd_places() -> None:
    batch = np.zeros((1000, 2), np.float32)
    batch[::2, 0], batch[1::2, 1] = 1, 1
    found = moments_of(batch, rows=100)
    assert found is not None
    np.testing.assert_allclose(np.diag(found), [0.5, 0.5], atol=0.05)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e30, -1e30])
def test_what_is_not_finite_or_too_large_has_none(bad: float) -> None:
    batch = np.ones((2, 3), np.float32)
    batch[1, 1] = bad
    assert moments_of(np.ones((2, 3), np.float32), batch) is None


def test_nothing_seen_gives_none_and_another_width_is_ignored() -> None:
    assert moments_of(np.zeros((0, 3), np.float32), np.array(1, np.float32)) is None
    found = moments_of(np.ones((2, 3), np.float32), np.ones((2, 4), np.float32))
    assert found is not None
    np.testing.assert_array_equal(found, np.ones((3, 3), np.float32))


def test_all_rows_of_a_sample_are_dealt_to_one_part() -> None:
    """Four samples a batch, three tokens each, folded into the first axis."""
    accumulator = SecondMoments(samples=4).start()
    batches = [np.repeat(np.eye(12)[s : s + 4], 3, axis=0).astype(np.float32) for s in (0, 4, 8)]
    for batch in batches:
        accumulator.update(batch)
    found = accumulator.result()
    judged = np.diag(found.judge.second()[0]) > 0
    np.testing.assert_array_equal(judged, np.arange(12) % 3 == 2)
    np.testing.assert_array_equal(np.diag(found.fit.second()[0]) > 0, ~judged)


def test_a_sampled_batch_has_rows_in_both_parts() -> None:
    accumulator = SecondMoments(rows=100).start()
    accumulator.update(RNG.standard_normal((300, 4)).astype(np.float32))
    found = accumulator.result()
    assert found.judge.count == pytest.approx(found.fit.count / 2, abs=2)


def test_a_smaller_last_batch_is_dealt_like_the_others() -> None:
    dealer = Dealer(4)
    dealt = np.concatenate([dealer.judges(8), dealer.judges(2)])
    np.testing.assert_array_equal(dealt, np.repeat(np.arange(5) % 3 == 2, 2))
    np.testing.assert_array_equal(Dealer(4).judges(6), np.arange(6) % 3 == 2)  # not to be told


def share(mix: np.ndarray, samples: int, seed: int = 0) -> float:
    rows = np.random.default_rng(seed).standard_normal((samples, len(mix))) @ mix
    parts = rows[: 2 * samples // 3], rows[2 * samples // 3 :]
    covariances = [np.cov(p.T, bias=True)[None] for p in (*parts, rows)]
    first, second = zip((len(p) for p in parts), covariances, strict=False)
    return float(shrinkage(first, second, covariances[2])[0])


def test_a_covariance_of_few_samples_is_shrunk_and_one_of_many_is_not() -> None:
    alike, mixed = np.eye(40), np.random.default_rng(5).standard_normal((4, 40))
    assert min(share(alike, n) for n in (24, 96, 4096)) > 0.7  # nothing but luck
    shares = [share(mixed, n) for n in (24, 96, 384, 4096)]
    assert shares == sorted(shares, reverse=True)
    assert 0.1 < shares[0] < 0.5
    assert shares[-1] < 0.005


def test_shrinking_keeps_the_mean_variance_and_what_never_varied_gets_little() -> None:
    rows = np.random.default_rng(1).standard_normal((30, 12))
    rows[:, 3] = 0
    covariance = np.cov(rows.T, bias=True)[None]
    found = shrunk(covariance, np.array([0.5]), 30)[0]
    level = np.trace(covariance[0]) / 12
    varies = np.arange(12) != 3
    want = 0.5 * covariance[0] + 0.5 * level * np.eye(12)
    np.testing.assert_allclose(found[np.ix_(varies, varies)], want[np.ix_(varies, varies)])
    assert found[3, 3] == pytest.approx(level / 32)


def test_the_estimate_is_nearer_to_the_truth_than_the_sample() -> None:
    """The oracle: error of the estimate as a function of the share is least near the share."""
    mix = np.eye(20) + 0.1 * np.random.default_rng(2).standard_normal((20, 20))
    rows = np.random.default_rng(3).standard_normal((48, 20)) @ mix
    truth, sample = (mix.T @ mix)[None], np.cov(rows.T, bias=True)[None]
    parts = [(len(p), np.cov(p.T, bias=True)[None]) for p in (rows[:32], rows[32:])]
    made = shrinkage(parts[0], parts[1], sample)

    def off(shares: np.ndarray) -> float:
        return float(np.square(shrunk(sample, shares, 48) - truth).sum())

    best = min(off(np.array([s])) for s in np.linspace(0, 1, 101))
    assert off(made) < 1.1 * best
    assert off(made) < 0.9 * off(np.zeros(1))

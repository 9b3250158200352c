"""Channels vanish in the order of what least squares does without as their price rises."""

from __future__ import annotations

import numpy as np
import pytest

from passes.pruning import channel_costs
from passes.pruning.channel_costs import Reader
from passes.pruning.lasso import gram, lasso, vanishing
from tests.passes.pruning.readers import error_without, reader, rng


def contributions(*columns: np.ndarray) -> Reader:
    """Return a reader of one output to which each channel contributes a column."""
    x = np.stack(columns, axis=1)
    count = x.shape[1]
    hessian = x.T @ x / len(x)
    return Reader(np.ones((count, 1)), hessian, np.ones(1), np.arange(count)[:, None])


def draws(count: int, seed: int = 0) -> list[np.ndarray]:
    """Return columns that are exactly uncorrelated and of mean square 1."""
    orthogonal, _ = np.linalg.qr(rng(seed).standard_normal((400, count)))
    return [20 * c for c in orthogonal.T]


def test_what_contributes_nothing_goes_first_and_what_others_say_before_what_nobody_does() -> None:
    a, b, c, d = draws(4)
    order = lasso([contributions(2 * a, b, 0 * c, b, 1.5 * d)], 5)
    assert order.channels[0] == 2
    assert order.channels[1] in (1, 3)  # its twin takes over
    assert set(order.channels[2:]) == {0, 1, 3, 4} - {order.channels[1]}
    np.testing.assert_allclose(order.costs[:2] / order.costs[-1], 0, atol=0.01)


def test_uncorrelated_channels_go_by_their_power() -> None:
    sizes = [3.0, 1.0, 2.0, 0.5, 2.5]
    columns = [s * c for s, c in zip(sizes, draws(5), strict=True)]
    assert list(lasso([contributions(*columns)], 5).channels) == [3, 1, 2, 4, 0]


def test_a_channel_that_stands_for_two_outlives_them_though_it_is_smaller() -> None:
    a, b = draws(2)
    found = contributions(a, b, 0.6 * (a + b))
    # by what each contributes the third would go first
    assert channel_costs.greedy([found], 3).channels[0] == 2
    order = lasso([found], 3)
    assert order.channels[2] == 2
    assert order.costs[1] / order.costs[2] < 0.01


def test_outputs_that_matter_more_decide() -> None:
    a, b = draws(2)
    x = np.stack([a, b], axis=1)
    rows = np.arange(2)[:, None]
    for curvature, first in (([1.0, 9.0], 0), ([9.0, 1.0], 1)):
        found = Reader(np.eye(2), x.T @ x / len(x), np.array(curvature), rows)
        assert lasso([found], 2).channels[0] == first


def test_products_of_contributions_are_those_of_the_outputs() -> None:
    found = reader(4, 3, 5)
    rows = found.rows.copy()
    rows[2, 1:] = -1  # one channel has fewer rows, two rows are of no channel
    found = Reader(found.matrix, found.hessian, found.curvature, rows)
    parts = []
    for own in rows:
        part = np.zeros_like(found.matrix)
        part[own[own >= 0]] = found.matrix[own[own >= 0]]
        parts.append(part)
    exact = [
        [float(((p * (found.hessian @ q)).sum(axis=0) * found.curvature).sum()) for q in parts]
        for p in parts
    ]
    np.testing.assert_allclose(gram(found), exact, rtol=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_the_last_to_vanish_is_the_best_single_one_at_a_high_price(seed: int) -> None:
    mix = rng(seed).standard_normal((7, 7))
    total = mix @ mix.T
    order = vanishing(total)
    assert sorted(order) == list(range(7))
    assert order[-1] == int(np.argmax(np.abs(total.sum(axis=1))))


def test_the_first_half_to_vanish_is_what_a_search_over_the_price_finds() -> None:
    """An independent solver, proximal gradients, at the price where half the factors are zero."""
    mix = rng(5).standard_normal((10, 14))
    total = mix @ mix.T / 14
    wanted = total.sum(axis=1)
    step = 1 / np.linalg.eigvalsh(total).max()
    low, high = 0.0, float(np.abs(wanted).max())
    zero = np.zeros(10, bool)
    for _ in range(40):
        price = (low + high) / 2
        factors = np.zeros(10)
        for _ in range(3000):
            moved = factors + step * (wanted - total @ factors)
            factors = np.sign(moved) * np.maximum(np.abs(moved) - step * price, 0)
        zero = factors == 0
        if zero.sum() == 5:
            break
        low, high = (low, price) if zero.sum() > 5 else (price, high)
    assert zero.sum() == 5
    assert set(vanishing(total)[:5]) == set(np.flatnonzero(zero))


def test_costs_are_those_of_least_squares() -> None:
    readers = [reader(8, 2, 5), reader(8, 2, 4, seed=7)]
    order = lasso(readers, 8)
    for count in (1, 3, 6):
        gone = list(order.channels[:count])
        exact = sum(error_without(r, gone, refit=True) for r in readers)
        np.testing.assert_allclose(order.costs[count - 1], exact, rtol=1e-6)
    assert order.probed == 3

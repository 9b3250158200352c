"""Channels cost what their readers lose after making up for them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ocompress.lossy import inverses
from passes.pruning import channel_costs, surgery
from passes.pruning.channel_costs import Reader
from tests.passes.pruning.readers import error_without, reader, rng


@pytest.mark.parametrize(("exact", "rtol"), [(1024, 1e-6), (0, 2e-3)])
@pytest.mark.parametrize("late", [1, 4, 256])
@pytest.mark.parametrize("each", [1, 3])
def test_surgeon_costs_are_those_of_least_squares(
    each: int, late: int, exact: int, rtol: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(surgery, "_LATE", late)
    monkeypatch.setattr(inverses, "EXACT", exact)
    readers = [reader(8, each, 5), reader(8, each, 4, seed=7)]
    order = channel_costs.surgeon(readers, 8)
    assert sorted(order.channels) == list(range(8))
    for count in (1, 2, 5):
        gone = list(order.channels[:count])
        truth = sum(error_without(r, gone, refit=True) for r in readers)
        np.testing.assert_allclose(order.costs[count - 1], truth, rtol=rtol)
    alone = [sum(error_without(r, [c], refit=True) for r in readers) for c in range(8)]
    assert order.channels[0] == int(np.argmin(alone))


def test_the_others_are_what_least_squares_makes_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(surgery, "_LATE", 4)
    found = reader(8, 3, 5)
    state = surgery.Surgery(found)
    for gone in ([6], [0, 3], [7]):
        state.take(np.array(gone))
    kept = found.rows[[1, 2, 4, 5]].ravel()
    part = found.hessian[np.ix_(kept, kept)]
    wanted = np.linalg.solve(part, found.hessian[kept] @ found.matrix)
    np.testing.assert_allclose(state.matrix()[kept], wanted, rtol=0.02, atol=0.01)  # a ridge
    assert not state.matrix()[found.rows[[0, 3, 6, 7]].ravel()].any()


def test_greedy_costs_are_those_of_leaving_channels_out() -> None:
    readers = [reader(8, 2, 5), reader(8, 2, 4, seed=7)]
    order = channel_costs.greedy(readers, 8)
    for count in (1, 3, 6):
        gone = list(order.channels[:count])
        exact = sum(error_without(r, gone, refit=False) for r in readers)
        np.testing.assert_allclose(order.costs[count - 1], exact, rtol=1e-6)


def test_a_channel_that_another_one_says_goes_first() -> None:
    base = rng().standard_normal((500, 6))
    base[:, 4] = 2 * base[:, 1]
    weight = np.ones((6, 3))
    weight[[1, 4]] = 3
    found = Reader(weight, base.T @ base / 500, np.ones(3), np.arange(6)[:, None])
    assert channel_costs.surgeon([found], 6).channels[0] in (1, 4)
    assert channel_costs.greedy([found], 6).channels[0] not in (1, 4)


def test_what_few_rows_make_up_for_is_judged_on_others() -> None:
    few, many = (rng().standard_normal((rows, 24)) for rows in (40, 12_000))
    products = few[:25].T @ few[:25] / 25, many.T @ many / len(many)
    known = Reader(np.ones((24, 3)), products[0], np.ones(3), np.arange(24)[:, None])
    blind = channel_costs.surgeon([known], 24)
    order = channel_costs.judged(blind, [replace(known, parts=products)])
    np.testing.assert_array_equal(order.channels, blind.channels)
    half = 11
    truth = 3.0 * (half + 1)  # inputs that know nothing of each other make up for nothing
    assert blind.costs[half] < 0.5 * truth
    assert order.costs[half] > 0.9 * truth
    assert order.left_out
    assert channel_costs.judged(blind, [known]) is blind


def test_rows_that_a_channel_lacks_cost_nothing() -> None:
    whole = reader(4, 2, 3)
    rows = whole.rows.copy()
    rows[3] = -1
    part = Reader(whole.matrix, whole.hessian, whole.curvature, rows)
    order = channel_costs.surgeon([part], 4)
    assert order.channels[0] == 3
    assert order.costs[0] == 0

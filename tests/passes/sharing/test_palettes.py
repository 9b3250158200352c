"""Palettes: clusters of numbers, values in closed form, places by second order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from passes.sharing import clustering
from passes.sharing.layer_problem import LayerProblem, error_of
from passes.sharing.palettes import STARTS, Palettes, find
from tests.passes.sharing.test_rounding import layer


def problem(*, pairs: bool = True, groups: int = 1) -> LayerProblem:
    """Return a layer, some of whose weights are zero."""
    given = vars(layer(pairs=pairs, groups=groups))
    return LayerProblem(**{name: given[name] for name in LayerProblem.__dataclass_fields__})


def of_all(made: LayerProblem, count: int, start: str = "kmeans++") -> Palettes:
    groups, _, outputs = made.target.shape
    return clustering.start(made, np.zeros((groups, outputs), int), count, start)


def lost(values: np.ndarray, weights: np.ndarray, table: np.ndarray) -> float:
    off = np.abs(values[:, None] - table).min(axis=1)
    return float((weights * off**2).sum())


@pytest.mark.parametrize("start", STARTS)
def test_centroids_are_means_of_what_is_next_to_them(start: str) -> None:
    rng = np.random.default_rng(1)
    values, weights = rng.standard_normal(500), rng.random(500)
    table = find(values, weights, 8, start)
    assert (np.diff(table) > 0).all()
    own = np.abs(values[:, None] - table).argmin(axis=1)
    means = np.bincount(own, weights * values) / np.bincount(own, weights)
    np.testing.assert_allclose(table, means, atol=1e-9)


def test_weights_say_where_centroids_are_needed() -> None:
    rng = np.random.default_rng(1)
    values = rng.standard_normal(500)
    weights = np.where(values > 0, 1000.0, 1.0)
    by_weight = find(values, weights, 8, "kmeans++")
    plain = find(values, np.ones(500), 8, "kmeans++")
    assert lost(values, weights, by_weight) < 0.5 * lost(values, weights, plain)
    assert (by_weight > 0).sum() >= 6


def test_numbers_in_a_few_places_are_found_exactly() -> None:
    places = np.array([-5.0, -1.0, 0.5, 2.0, 70.0])
    values = np.random.default_rng(2).choice(places, 300)
    np.testing.assert_allclose(find(values, np.ones(300), 5, "kmeans++"), places)
    assert find(values, np.ones(300), 8, "kmeans++").shape == (8,)
    np.testing.assert_allclose(find(values, np.ones(300), 5, "linear"), places)


def test_a_zero_stays() -> None:
    values = np.random.default_rng(3).uniform(0.5, 1.5, 200)
    table = find(values, np.ones(200), 4, "density", zero=True)
    assert (table == 0).sum() == 1
    assert (table > 0.5).sum() == 3


@pytest.mark.parametrize("pairs", [True, False])
@pytest.mark.parametrize("groups", [1, 3])
def test_second_order_loses_less_than_the_nearest_values(pairs: bool, groups: int) -> None:
    made = problem(pairs=pairs, groups=groups)
    start = of_all(made, 8)
    nearest = start.values(start.nearest(made.target * made.free))
    found = clustering.cluster(made, start)
    assert found.error < 0.6 * error_of(made, nearest)
    assert found.error == pytest.approx(error_of(made, found.matrix))
    assert len(np.unique(found.matrix)) <= 8
    assert not found.matrix[~made.free].any()


def test_no_other_values_are_better_for_these_places() -> None:
    made = problem()
    found = clustering.cluster(made, of_all(made, 8))
    again = clustering.refitted(made, found.palettes, found.places)
    best = error_of(made, again.values(found.places))
    assert found.error == pytest.approx(best, rel=1e-5)
    for at in np.flatnonzero(found.palettes.tables[0]):
        for by in (-1e-3, 1e-3):
            moved = found.palettes.tables.copy()
            moved[0, at] += by
            assert error_of(made, moved[0][found.places]) > best


def test_no_single_weight_is_better_elsewhere() -> None:
    made = problem()
    start = of_all(made, 4)
    found = clustering.cluster(made, start, fixed=True)
    np.testing.assert_array_equal(found.palettes.tables, start.tables)
    for i, o in ((5, 3), (11, 9), (20, 1), (23, 15)):
        for value in start.tables[0]:
            other = found.matrix.copy()
            other[0, i, o] = value
            assert error_of(made, other) >= found.error * (1 - 1e-3)


def test_outputs_may_have_palettes_of_their_own() -> None:
    made = problem()
    which = np.repeat([0, 1], 8)[None]
    one = clustering.cluster(made, of_all(made, 4))
    two = clustering.cluster(made, clustering.start(made, which, 4, "kmeans++"))
    assert two.error < one.error
    for palette in (0, 1):
        assert len(np.unique(two.matrix[:, :, which[0] == palette])) <= 4


def test_outputs_make_up_for_one_another() -> None:
    made = problem()
    single = replace(made, curvature=np.einsum("goo->go", made.curvature))
    start = of_all(made, 4)
    alone = clustering.cluster(single, start).matrix
    assert clustering.cluster(made, start).error < 0.97 * error_of(made, alone)


@pytest.mark.parametrize("size", [1e-38, 1e25])
def test_the_size_of_what_a_layer_reads_changes_no_values(size: float) -> None:
    made = problem()
    small = replace(made, hessian=made.hessian * size)
    expected, found = (clustering.cluster(each, of_all(each, 4)) for each in (made, small))
    np.testing.assert_allclose(found.palettes.tables, expected.palettes.tables, rtol=1e-3)
    assert found.error <= 1.001 * size * expected.error

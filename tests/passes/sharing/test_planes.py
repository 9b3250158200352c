"""Words of signs and their scales: what costs least."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from passes.sharing import planes
from passes.sharing.planes import TERNARY, signs_of
from passes.sharing.quadratic import Quadratic, Share, fitted, weight_of


def layer(*, pairs: bool = True, groups: int = 1, inputs: int = 24, outputs: int = 16) -> Quadratic:
    rng = np.random.default_rng(4)
    rows = rng.standard_normal((groups, 400, inputs)) @ (rng.standard_normal((inputs, inputs)) / 3)
    hessian = rows.transpose(0, 2, 1) @ rows / 400
    weight = rng.standard_normal((groups, inputs, outputs)) / 4
    seen = rng.standard_normal((groups, outputs, outputs)) / 4
    curvature = seen @ seen.transpose(0, 2, 1) + 0.3 * np.eye(outputs)
    return Quadratic(weight, hessian, curvature if pairs else np.einsum("goo->go", curvature))


def mean_scales(problem: Quadratic) -> np.ndarray:
    """Return the weight of signs times the mean magnitude of each output (XNOR-Net)."""
    target = problem.target
    return np.asarray(np.sign(target) * np.abs(target).mean(axis=1, keepdims=True))


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("pairs", [True, False])
def test_signs_that_make_up_for_each_other_cost_far_less_than_the_nearest(
    pairs: bool, groups: int
) -> None:
    problem = layer(pairs=pairs, groups=groups)
    found = planes.solve(problem, signs_of(1)).matrix
    assert problem.cost(found) < 0.6 * problem.cost(mean_scales(problem))
    for group in found:
        assert all(len(np.unique(np.abs(column))) == 1 for column in group.T)


def test_every_plane_costs_less_than_one_less() -> None:
    problem = layer()
    costs = [problem.cost(planes.solve(problem, signs_of(n)).matrix) for n in (1, 2, 3, 4)]
    assert all(after < 0.7 * before for before, after in pairwise(costs))
    ternary = problem.cost(planes.solve(problem, TERNARY).matrix)
    assert costs[1] < ternary < costs[0]


def test_outputs_make_up_for_one_another() -> None:
    problem = layer()
    singly = replace(problem, curvature=np.einsum("goo->go", problem.curvature))
    costs = [problem.cost(planes.solve(p, signs_of(1)).matrix) for p in (problem, singly)]
    assert costs[0] < 0.95 * costs[1]


def test_turns_of_scales_and_words_gain_beside_the_start() -> None:
    problem = layer()
    start, found = (planes.solve(problem, signs_of(2), rounds=n) for n in (0, planes.ROUNDS))
    assert problem.cost(found.matrix) < 0.9 * problem.cost(start.matrix)


def test_zeros_stay_in_the_ternary_form() -> None:
    problem = layer()
    free = np.random.default_rng(0).random(problem.target.shape) < 0.5
    masked = replace(problem, target=problem.target * free)
    found = planes.solve(masked, TERNARY, free).matrix
    assert not found[~free].any()
    assert np.count_nonzero(found[free]) > 0.4 * free.sum()


def test_scales_are_short_and_sums_of_them_exact() -> None:
    found = planes.solve(layer(), signs_of(3))
    assert np.array_equal(found.scales.astype(np.float16), found.scales)
    assert np.array_equal(found.matrix.astype(np.float32), found.matrix)


def test_without_data_the_nearest_words_are_taken() -> None:
    target = layer().target
    problem = Quadratic(target, None, np.ones((1, target.shape[2])))
    found = planes.solve(problem, signs_of(2))
    assert np.array_equal(found.codes, planes.nearest(target, found.table))
    assert problem.cost(found.matrix) < 0.15 * np.square(target).sum()


def test_inputs_have_numbers_of_their_own_where_many_outputs_share_them() -> None:
    problem = layer(inputs=40, outputs=48)
    spread = np.exp2(np.random.default_rng(2).uniform(-2, 2, (1, 40)))
    uneven = replace(problem, target=problem.target * spread[:, :, None])
    columns = planes.columns_of(uneven)
    assert columns is not None
    assert np.abs(np.log2(columns / spread) - np.log2(columns / spread).mean()).max() < 0.6
    own = planes.by_columns(uneven, columns)
    made = planes.solve(own, signs_of(1)).matrix
    assert own.cost(made) == pytest.approx(uneven.cost(made * columns[:, :, None]))
    assert own.cost(made) < 0.7 * uneven.cost(planes.solve(uneven, signs_of(1)).matrix)
    assert planes.columns_of(layer(outputs=16)) is None
    assert planes.columns_of(layer(groups=2, outputs=48)) is None
    target = np.random.default_rng(0).standard_normal((1, 1100, 32)) * np.arange(1, 1101)[:, None]
    for inputs, is_none in ((1000, False), (1100, True)):
        blind = Quadratic(target[:, :inputs], None, np.ones((1, 32)))
        assert (planes.columns_of(blind) is None) is is_none


def test_shared_numbers_are_those_of_least_squares() -> None:
    problem = layer(pairs=True)
    rng = np.random.default_rng(1)
    shape = problem.target.shape
    shares = [Share(rng.integers(0, 12, shape), rng.choice([-1.0, 1.0], shape)) for _ in range(2)]
    found = fitted(problem, shares, np.zeros(12))
    basis = np.stack([weight_of(row, shares) for row in np.eye(12)])
    gram = np.array([[(a * problem.slope(b)).sum() for b in basis] for a in basis])
    wanted = np.array([(a * problem.slope(problem.target)).sum() for a in basis])
    assert np.allclose(found, np.linalg.solve(gram, wanted), rtol=0.02, atol=1e-3)

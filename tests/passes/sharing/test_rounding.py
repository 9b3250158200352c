"""Choosing levels: error and bits together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ocompress.coding import level_bits
from passes.sharing.descent import RoundingProblem
from passes.sharing.layer_problem import error_of
from passes.sharing.rounding import plain, short, solve


def layer(*, pairs: bool = True, groups: int = 1, price: float = 0.02) -> RoundingProblem:
    rng = np.random.default_rng(4)
    inputs, outputs = 24, 16
    rows = rng.standard_normal((groups, 400, inputs)) @ (rng.standard_normal((inputs, inputs)) / 3)
    hessian = rows.transpose(0, 2, 1) @ rows / 400
    weight = rng.standard_normal((groups, inputs, outputs)) / 4
    weight[:, :3, :8] = 0
    seen = rng.standard_normal((groups, outputs, outputs)) / 4
    curvature = seen @ seen.transpose(0, 2, 1) + 0.3 * np.eye(outputs)
    curvature = curvature if pairs else np.einsum("goo->go", curvature)
    kept = weight != 0
    ridge = np.zeros(groups)
    return RoundingProblem(weight, hessian, curvature, kept, 24, ridge, 400, kept, price)


def whole_cost(problem: RoundingProblem, levels: np.ndarray, step: float) -> float:
    return error_of(problem, levels * step) + problem.price * level_bits(levels)


@pytest.mark.parametrize("pairs", [True, False])
@pytest.mark.parametrize("groups", [1, 3])
def test_the_error_is_less_than_by_rounding_to_nearest_with_as_many_bits(
    pairs: bool, groups: int
) -> None:
    problem = layer(pairs=pairs, groups=groups, price=0.005)
    found = solve(problem)
    size = float(found.step)
    by_steps = [
        (level_bits(levels), error_of(problem, levels * size * by))
        for by in np.geomspace(0.25, 4, 65)
        for levels in [np.rint(problem.target / (size * by))]
    ]
    own = level_bits(found.levels)
    nearest = min(error for bits, error in by_steps if bits <= own)
    assert found.error < 0.8 * nearest
    assert found.error == pytest.approx(error_of(problem, found.matrix))


def test_outputs_make_up_for_one_another() -> None:
    problem = layer()
    singly = solve(replace(problem, curvature=np.einsum("goo->go", problem.curvature)))
    found = solve(problem)
    together = whole_cost(problem, found.levels, float(found.step))
    assert together < 0.97 * whole_cost(problem, singly.levels, float(singly.step))


def test_a_dearer_bit_buys_fewer_bits_for_more_error() -> None:
    found = [solve(layer(price=price)) for price in (1e-4, 1e-3, 1e-2, 1e-1)]
    bits = [level_bits(f.levels) for f in found]
    errors = [f.error for f in found]
    assert bits == sorted(bits, reverse=True)
    assert errors == sorted(errors)
    assert bits[0] > 3 * bits[-1]


def test_what_was_zero_stays_zero_and_others_may_return() -> None:
    problem = layer(price=1e-3)
    mask = problem.mask.copy()
    mask[:, 10:] = False
    found = solve(replace(problem, mask=mask))
    assert not found.levels[~problem.free].any()
    assert found.levels[:, 10:].any()


@pytest.mark.parametrize("kind", [np.float16, np.float32])
def test_weights_are_multiples_of_the_step_in_their_own_type(kind: type) -> None:
    precision = np.finfo(kind).nmant + 1
    for price in (1e-6, 1e-2):
        found = solve(replace(layer(price=price), precision=precision))
        if np.abs(found.levels).max() < 2**precision / 2:
            assert np.array_equal(found.matrix.astype(kind).astype(np.float64), found.matrix)
            assert float(np.float32(found.step)) == float(found.step)


def test_a_step_is_rounded_to_as_many_bits_as_leave_room() -> None:
    step = np.array([0.1, 3.3e-5])
    assert np.allclose(short(step, 100.0, 24), step, rtol=2**-12)
    coarse = short(step, 100.0, 11)
    assert np.allclose(coarse, step, rtol=2**-4)
    multiples = np.arange(100) * coarse[:, None]
    assert np.array_equal(multiples.astype(np.float16)[0].astype(np.float64), multiples[0])


def test_without_data_every_output_has_a_step_in_proportion() -> None:
    rng = np.random.default_rng(0)
    scale = np.array([1.0, 8.0, 64.0])
    weight = rng.standard_normal((1, 500, 3)) * scale
    cost = 1 / np.square(weight).sum(axis=1)
    found = plain(weight, cost, 1e-5, 24)
    assert np.allclose(np.log2(found.step / found.step[0, 0]), [[0, 3, 6]])
    lost = np.square(found.matrix - weight).sum(axis=1) * cost
    assert lost.max() < 1.3 * lost.min()
    assert found.error == pytest.approx(lost.sum())
    assert np.abs(found.levels).max() < 40
    dear = plain(weight, cost, 1e-3, 24)
    assert level_bits(dear.levels) < 0.5 * level_bits(found.levels)

"""Choosing levels where most are not zero: errors passed on, steps by input."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ocompress.coding import level_bits
from passes.sharing.descent import RoundingProblem, descend
from passes.sharing.fine_rounding import is_fine, solve_fine
from passes.sharing.in_turn import InTurn
from passes.sharing.layer_problem import error_of
from passes.sharing.rounding import Rounded, solve
from tests.passes.sharing.test_rounding import layer


def costs(problem: RoundingProblem, found: Rounded) -> float:
    return error_of(problem, found.matrix) + problem.price * level_bits(found.levels)


@pytest.mark.parametrize("pairs", [True, False])
@pytest.mark.parametrize("groups", [1, 3])
def test_what_is_left_makes_up_for_errors_as_least_squares_would(pairs: bool, groups: int) -> None:
    problem = layer(pairs=pairs, groups=groups)
    in_turn = InTurn.of(problem.hessian, problem.curvature)
    first = in_turn.order[:5]

    def place(wanted: np.ndarray, _: np.ndarray, at: int, __: np.ndarray) -> np.ndarray:
        return np.rint(wanted * 4) / 4 if at in first else wanted

    made = in_turn.fill(problem.target, place)
    rest = in_turn.order[5:]
    off = made - problem.target
    assert np.abs(off[:, first]).max() > 0.05
    slope = problem.hessian @ off
    assert np.abs(slope[:, rest]).max() < 1e-9 * np.abs(slope[:, first]).max()


def test_outputs_to_come_make_up_for_errors_of_those_before() -> None:
    problem = layer()
    in_turn = InTurn.of(problem.hessian, problem.curvature)
    first, last = in_turn.parts[0].outputs, int(in_turn.order[-1])

    def place(wanted: np.ndarray, _: np.ndarray, at: int, outputs: np.ndarray) -> np.ndarray:
        return wanted + 1.0 if at == last and outputs[0] in first else wanted

    off = (in_turn.fill(problem.target, place) - problem.target)[:, last]
    assert np.allclose(off[:, first], 1)
    slope = off @ problem.curvature[0]
    assert np.abs(slope[:, in_turn.parts[0].rest]).max() < 1e-9


@pytest.mark.parametrize("pairs", [True, False])
@pytest.mark.parametrize("groups", [1, 3])
def test_it_costs_about_as_much_as_rounding_in_parts(pairs: bool, groups: int) -> None:
    problem = layer(pairs=pairs, groups=groups, price=1e-3)
    problem = replace(problem, free=np.ones_like(problem.free))
    found = solve_fine(problem)
    assert found.error == pytest.approx(error_of(problem, found.matrix))
    assert costs(problem, found) < 1.03 * costs(problem, solve(problem))


def test_outputs_that_move_at_once_end_as_well_as_one_by_one() -> None:
    rng = np.random.default_rng(1)
    rows, seen = rng.standard_normal((300, 12)), rng.standard_normal((60, 96))
    hessian, curvature = rows.T @ rows / 300, seen.T @ seen / 60 + 0.3 * np.eye(96)
    weight = rng.standard_normal((1, 12, 96))
    every = np.ones(weight.shape, bool)
    given = (weight, hessian[None], curvature[None], every, 24, np.zeros(1), 300, every, 2e-3)
    problem = RoundingProblem(*given)
    step, made = np.asarray(0.25), []
    for at_once in (True, False):
        levels = np.rint(weight / step)
        descend(problem, levels, step, at_once=at_once)
        made.append(error_of(problem, levels * step) + problem.price * level_bits(levels))
    start = np.rint(weight / step)
    before = error_of(problem, start * step) + problem.price * level_bits(start)
    assert made[0] < 1.02 * made[1]
    assert made[0] < 0.9 * before


def test_groups_on_which_errors_do_more_have_finer_steps() -> None:
    problem = layer(groups=3, price=1e-3)
    problem.hessian[1] *= 16
    found = solve_fine(problem)
    assert found.step.shape == (3, 1, 1)
    assert found.step[1] < 0.4 * found.step[0]
    mantissas = np.frexp(found.step)[0] * 32
    assert (mantissas == np.rint(mantissas)).all()


def test_layers_with_many_zeros_that_stay_are_not_for_passing_on() -> None:
    problem = layer()
    assert is_fine(replace(problem, free=np.ones_like(problem.free)))
    assert not is_fine(problem)
    mask = np.arange(problem.mask.size).reshape(problem.mask.shape) % 3 == 0
    assert not is_fine(replace(problem, free=np.ones_like(problem.free), mask=mask))


def test_what_errors_do_on_other_samples_is_foretold() -> None:
    rng = np.random.default_rng(2)
    few, many = rng.standard_normal((30, 24)), rng.standard_normal((2000, 24))
    here, there = few.T @ few / 30, many.T @ many / 2000
    in_turn = InTurn.of(here[None] + 0.05 * np.eye(24), np.ones((1, 400)))
    weight = rng.uniform(-50, 50, (1, 24, 400))
    off = in_turn.fill(weight, lambda wanted, *_: np.rint(wanted)) - weight
    done = float((off * (there @ off)).sum())
    assert in_turn.on(there[None]) * 24 * 400 / 12 == pytest.approx(done, rel=0.05)
    assert done > 1.5 * float((off * (here @ off)).sum())

"""Equations of one factor: what is solved for is the best there is, and small forms are right."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from passes.factorization.alternate import Effort, alternate, letters, product
from passes.factorization.catalogue import FORMS
from passes.factorization.forms import ChainForm
from passes.factorization.normal_equations import pairs_of, solvable, solved
from passes.factorization.offers import _FLOPS, _effort
from passes.factorization.problem import PAIRWISE, Problem, pose

SHAPES = [(5, 3, 2, 7), (4, 2, 3, 9), (6, 1, 3, 4), (7, 5), (3, 4, 6), (3, 2, 2, 2, 5)]


def posed(shape: tuple[int, ...], *, seen: bool = True) -> Problem:
    """A random problem with inputs and outputs that hang together."""
    rng = np.random.default_rng(1)
    tensor = rng.standard_normal(shape)
    inputs, outputs = int(np.prod(shape[:-1])), shape[-1]
    rows = rng.standard_normal((3 * inputs, inputs)) @ rng.standard_normal((inputs, inputs))
    mixed = rng.standard_normal((outputs, 2 * outputs))
    return pose(tensor, rows.T @ rows / len(rows) if seen else None, mixed @ mixed.T)


def multilinear(problem: Problem) -> list[tuple[ChainForm, tuple[str, ...], list[np.ndarray]]]:
    """Every form of the problem, with random factors."""
    rng = np.random.default_rng(2)
    found = []
    for form in FORMS:
        if form.refusal(problem) is not None or form.grid:
            continue
        ranks = tuple(max(1, most // 2) for most in form.most(problem))
        shapes = form.shapes(problem, ranks)
        factors = [rng.standard_normal(shape) for shape in shapes]
        found.append((form, form.terms(len(problem.kernel)), factors))
    return found


def error_of(
    problem: Problem, terms: tuple[str, ...], factors: list[np.ndarray], at: int, one: np.ndarray
) -> float:
    changed = [one if i == at else f for i, f in enumerate(factors)]
    return problem.error(product(terms, changed, letters(problem)))


@pytest.mark.parametrize("seen", [True, False])
def test_what_is_solved_for_is_the_minimum_of_the_error(seen: bool) -> None:
    """Every small change of the factor makes the error larger, as far as it is worse in theory."""
    rng = np.random.default_rng(3)
    looked = set()
    for shape in SHAPES:
        problem = posed(shape, seen=seen)
        for form, terms, factors in multilinear(problem):
            for at in range(len(terms)):
                if not solvable(problem, terms, factors, at):
                    continue
                best = solved(problem, terms, factors, at)
                assert best.factor.shape == factors[at].shape
                found = error_of(problem, terms, factors, at, best.factor)
                assert best.before == pytest.approx(
                    problem.error(product(terms, factors, letters(problem)))
                )
                assert best.after == pytest.approx(found, rel=1e-6, abs=1e-9 * problem.power())
                size = 1e-2 * np.abs(best.factor).max()
                for _ in range(4):
                    change = size * rng.standard_normal(best.factor.shape)
                    both = [
                        error_of(problem, terms, factors, at, best.factor + s * change)
                        for s in (1, -1)
                    ]
                    # at a minimum both sides rise alike: what is linear in the change is nothing
                    assert min(both) >= found * (1 - 1e-9)
                    assert both[0] == pytest.approx(both[1], rel=1e-6)
                looked.add((form.method, at))
    assert {
        ("channel", 1),
        ("input", 1),
        ("spatial", 1),
        ("tucker", 1),
        ("tucker", 2),
        ("cp", 2),
    } <= looked
    assert not {("cp", 0), ("cp", 1), ("depthwise-first", 1), ("pointwise-first", 0)} & looked


def test_products_of_pairs_say_what_the_whole_tensor_does() -> None:
    looked = set()
    for shape in SHAPES:
        problem = posed(shape)
        for (form, terms, factors), at in itertools.product(multilinear(problem), range(2)):
            small = pairs_of(problem, terms, factors, at, steps=1000)
            if small is None:
                continue
            others = [f for i, f in enumerate(factors) if i != at]
            names = ",".join(t for i, t in enumerate(terms) if i != at)
            made = product(terms, factors, letters(problem)).reshape(problem.matrix.shape)
            drawn = problem.weighed(made).reshape(problem.tensor.shape)
            whole = np.einsum(f"{letters(problem)},{names}->{terms[at]}", drawn, *others)
            np.testing.assert_allclose(small[0](factors[at]), whole, rtol=1e-8)
            looked.add(form.method)
    assert {"input", "spatial", "tucker"} <= looked


def test_the_last_factor_is_the_best_for_the_others() -> None:
    """Whatever else a fit leaves undone, no better last factor is to be had for nothing."""
    problem = posed((6, 3, 3, 8))
    for form, terms, factors in multilinear(problem):
        if not solvable(problem, terms, factors, len(terms) - 1):
            continue
        fitted = alternate(problem, terms, factors, Effort(1, 2))
        error = error_of(problem, terms, fitted, 0, fitted[0])
        again = solved(problem, terms, fitted, len(terms) - 1)
        assert again.after == pytest.approx(error, rel=1e-9), form.name


def test_large_layers_are_fitted_by_a_step_as_long_as_that_is_soon_done() -> None:
    wide = posed((16, 4, 4, 24))
    each = 2.0 * wide.matrix.shape[0] ** 2 * wide.outputs  # operations of a product with the metric
    for products, wanted in ((30.5, 6), (25.5, 5), (4.5, 1), (1.1, 1), (0.9, 0)):
        effort = _effort(wide, round(_FLOPS / products / each))
        assert (effort.rounds, effort.steps) == (int(wanted > 0), wanted)


def test_products_of_three_are_taken_two_at_a_time() -> None:
    """In one loop, a canonical form of many terms takes thirty times as long."""
    shapes = {"cr": (8, 60), "uvr": (3, 3, 60), "rn": (60, 16)}
    arrays = [np.zeros(shape) for shape in shapes.values()]
    path = np.einsum_path(f"{','.join(shapes)}->cuvn", *arrays, optimize=PAIRWISE)[0]
    assert all(len(step) == 2 for step in path[1:])

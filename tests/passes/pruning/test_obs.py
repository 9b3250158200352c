"""Weights go in the order of what the outputs lose when the others make up for them."""

from __future__ import annotations

import dataclasses
from functools import partial

import numpy as np

from passes.pruning import obs
from passes.pruning.obs import SurgeonProblem, Units, trace


def problem(
    x: np.ndarray, weight: np.ndarray, importance: np.ndarray | None = None
) -> SurgeonProblem:
    hessian = (x.T @ x / len(x))[None]
    if importance is None:
        importance = np.ones((1, weight.shape[1]))
    return SurgeonProblem(weight[None], hessian, importance, Units())


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_of_inputs_that_say_the_same_all_but_one_are_cheap() -> None:
    base = rng().standard_normal((400, 1))
    x = np.hstack([base, base, rng(1).standard_normal((400, 3)) * 0.5])
    weight = np.full((5, 1), 1.0)
    weight[:2] = 3.0  # by magnitude these two would go last
    costs = trace(problem(x, weight), 0.5).costs[0, :, 0]
    assert min(costs[0], costs[1]) < costs[2:].min()
    assert max(costs[0], costs[1]) > costs[2:].max()


def test_outputs_that_nobody_minds_go_first() -> None:
    x = rng().standard_normal((400, 12))
    weight = rng(1).standard_normal((12, 2))
    costs = trace(problem(x, weight, np.array([[1.0, 1e-6]])), 0.5).costs[0]
    assert np.sort(costs[:, 1])[:10].max() < np.sort(costs[:, 0])[2]


def test_inputs_that_never_vary_go_first_however_large_their_weights() -> None:
    x = rng().standard_normal((400, 12))
    x[:, 9:] = 0
    weight = rng(1).standard_normal((12, 3))
    weight[9:] *= 100  # a ridge alone would make them the dearest
    costs = trace(problem(x, weight), 0.5).costs[0]
    assert costs[9:].max() <= costs[:9].min()


def test_the_probe_is_the_fit_of_what_its_line_leaves() -> None:
    x = rng().standard_normal((600, 30)) @ rng(1).standard_normal((30, 30))
    weight = rng(2).standard_normal((30, 4))
    found = trace(problem(x, weight), 0.5)
    mask = found.probe[0] != 0
    assert 0.4 <= 1 - mask.mean() <= 0.62
    hessian = obs.damped((x.T @ x / len(x))[None])[0]
    error = 0.0
    for column in range(4):
        keep = np.flatnonzero(mask[:, column])
        part = hessian[np.ix_(keep, keep)]
        best = np.zeros(30)
        best[keep] = np.linalg.solve(part, hessian[keep] @ weight[:, column])
        lost = best - weight[:, column]
        error += lost @ hessian @ lost
        np.testing.assert_allclose(found.probe[0, :, column], best, atol=0.05)
    np.testing.assert_allclose(found.probe_error, error, rtol=0.02)
    plain = weight * mask - weight
    assert error < 0.7 * np.einsum("io,ij,jo->", plain, hessian, plain)


def test_weights_of_other_outputs_make_up_for_those_that_go() -> None:
    x = rng().standard_normal((400, 10))
    weight = rng(1).standard_normal((10, 6))
    few = rng(2).standard_normal((6, 2))  # the model looks at two sums of the six outputs
    curvature = (few @ few.T + 1e-3 * np.eye(6))[None]
    pairs = trace(problem(x, weight, curvature), 0.7)
    alone = trace(problem(x, weight, np.einsum("goo->go", curvature)), 0.7)

    def cost(probe: np.ndarray) -> float:
        lost = x @ (probe[0] - weight)
        return float(np.einsum("no,op,np->", lost, curvature[0], lost)) / len(x)

    assert cost(pairs.probe) < 0.3 * cost(alone.probe)
    assert abs(cost(pairs.probe) - pairs.probe_error) < 0.1 * pairs.probe_error


def test_zeros_cost_nothing_and_units_cost_the_same() -> None:
    x = rng().standard_normal((300, 12))
    weight = rng(1).standard_normal((12, 2))
    weight[:3] = 0
    assert (trace(problem(x, weight), 0.5).costs[0, :3] == 0).all()
    weight = rng(1).standard_normal((12, 2))
    number = (np.arange(24) // 4).reshape(1, 12, 2)
    asked = SurgeonProblem(
        weight[None], np.eye(12)[None], np.ones((1, 2)), Units(number, np.full(6, 4))
    )
    costs = trace(asked, 0.5).costs.reshape(6, 4)
    np.testing.assert_allclose(costs, np.repeat(costs[:, :1], 4, axis=1), rtol=1e-5)
    assert len(np.unique(costs[:, 0])) == 6


def test_the_order_goes_as_far_as_any_layer_is_asked_to() -> None:
    assert obs.least_kept(0.5) == 0.06
    assert obs.least_kept(0.95) == obs.least_kept(0.99) == 0.012
    posed = problem(rng().standard_normal((600, 40)), rng(2).standard_normal((40, 6)))
    steps = []
    for least in (obs.least_kept(0.5), obs.least_kept(0.95)):
        counted: list[int] = []
        trace(dataclasses.replace(posed, least=least), 0.5, partial(counted.append, 1))
        steps.append(len(counted))
    assert steps == [12, 18]


def test_samples_left_out_that_show_nothing_make_nothing_dearer() -> None:
    plain = problem(rng().standard_normal((32, 6)), rng(1).standard_normal((6, 4)))

    def judged(level: float) -> SurgeonProblem:
        return dataclasses.replace(plain, judge=(level * np.eye(6)[None], np.ones((1, 4))))

    assert not any(trace(judged(0.0), 0.5).shares)
    shares = trace(judged(1e-30), 0.5).shares
    assert all(0 <= share <= 10 for share in shares)
    assert any(shares)
    dearer = dataclasses.replace(plain, shares=shares)
    assert np.isfinite(trace(dearer, 0.5).costs).all()

"""Rounding by second order: less output error, never a saturating pair, no harm from few data."""

from __future__ import annotations

import numpy as np
import pytest

from ocompress.analysis.second_moments import Folded, Moments, SecondMoments
from passes.quantization.reconstruct import Reconstruction, ReconstructionProblem, reconstruct
from passes.quantization.weights import (
    QuantizedWeight,
    WeightGrid,
    pull_pairs_in,
    quantize_weight,
    walks_of,
)

RNG = np.random.default_rng(3)
INPUTS, CHANNELS = 48, 24


def inputs(rows: int, seed: int) -> np.ndarray:
    """Return rows that hang together, as activations do, with a mean of their own."""
    mix = np.random.default_rng(9).standard_normal((8, INPUTS))
    rng = np.random.default_rng(seed)
    made = rng.standard_normal((rows, 8)) @ mix + 0.1 * rng.standard_normal((rows, INPUTS)) + 2
    return np.asarray(made, np.float32)


def moments(rows: np.ndarray) -> Folded:
    accumulator = SecondMoments(10**6).start()
    accumulator.update(rows)
    found = accumulator.result()
    assert isinstance(found, Folded)
    return found


def solve(
    weight: np.ndarray, rows: np.ndarray, grid: WeightGrid, biased: bool = True
) -> tuple[ReconstructionProblem, Reconstruction]:
    rounded = quantize_weight(weight, 0, grid, orders=[(0,)])
    walks = walks_of(weight.shape[1:], [(0,)]) if grid is WeightGrid.PAIRS else []
    limit = 64 if grid is WeightGrid.SEVEN else 127
    bias = np.zeros(len(weight)) if biased else None
    problem = ReconstructionProblem(weight, 1, rounded, limit, walks, bias)
    return problem, reconstruct(problem, moments(rows))


def error(problem: ReconstructionProblem, found: Reconstruction | None, rows: np.ndarray) -> float:
    """Return the mean squared output error on data, biases as they would be fitted."""
    weight = problem.rounded if found is None else found.weight
    off = rows @ (weight.dequantize() - problem.weight).T
    if problem.bias is not None and found is not None and found.bias is not None:
        off = off + found.bias
    elif problem.bias is not None:
        off = off - off.mean(axis=0)
    return float(np.square(off).mean())


@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("grid", list(WeightGrid))
def test_fresh_data_see_much_less_error_than_with_rounding_to_nearest(
    grid: WeightGrid, biased: bool
) -> None:
    weight = RNG.standard_normal((CHANNELS, INPUTS)).astype(np.float32)
    problem, found = solve(weight, inputs(3000, 0), grid, biased)
    fresh = inputs(2000, 1)
    assert error(problem, found, fresh) < 0.35 * error(problem, None, fresh)
    assert found.after < 0.5 * found.before
    assert found.moved > 0.8
    assert np.abs(found.weight.integers.astype(int)).max() <= problem.limit


def test_no_pair_saturates() -> None:
    weight = np.abs(RNG.standard_normal((CHANNELS, INPUTS))).astype(np.float32) + 0.5
    _, found = solve(weight, inputs(3000, 0), WeightGrid.PAIRS)
    levels = found.weight.integers.astype(np.float64)
    assert levels[:, 0::2].max() > 64  # or there would be nothing to show
    assert not pull_pairs_in(levels, walks_of((INPUTS,), [(0,)])).any()


def test_few_samples_do_no_harm() -> None:
    weight = RNG.standard_normal((CHANNELS, INPUTS)).astype(np.float32)
    rng = np.random.default_rng(5)
    rows = rng.standard_normal((6, INPUTS)).astype(np.float32)  # unrelated inputs, far too few
    problem, found = solve(weight, rows, WeightGrid.FULL, biased=False)
    fresh = rng.standard_normal((4000, INPUTS)).astype(np.float32)
    assert error(problem, found, fresh) < 1.3 * error(problem, None, fresh)


def test_groups_are_solved_each_by_itself() -> None:
    weight = RNG.standard_normal((4, 1, 3, 3)).astype(np.float32)
    seen = [inputs(900, s)[:, :9] for s in range(4)]
    rounded = quantize_weight(weight, 0, WeightGrid.FULL, orders=[(0, 1, 2)])
    parts = [moments(rows) for rows in seen]

    def joined(name: str) -> Moments:
        chosen = [getattr(p, name) for p in parts]
        x, xx, pivot = (
            np.concatenate([getattr(c, k) for c in chosen]) for k in ("x", "xx", "pivot")
        )
        return Moments(chosen[0].count, x, xx, pivot)

    together = reconstruct(
        ReconstructionProblem(weight, 4, rounded, 127, [], np.zeros(4)),
        Folded(joined("fit"), joined("judge")),
    )
    for index in range(4):
        own = quantize_weight(weight[index : index + 1], 0, WeightGrid.FULL, orders=[(0, 1, 2)])
        alone = reconstruct(
            ReconstructionProblem(weight[index : index + 1], 1, own, 127, [], np.zeros(1)),
            parts[index],
        )
        np.testing.assert_array_equal(together.weight.integers[index], alone.weight.integers[0])


def test_scales_are_fitted_to_the_outputs_of_fresh_data() -> None:
    weight = RNG.standard_normal((CHANNELS, INPUTS)).astype(np.float32)
    problem, found = solve(weight, inputs(6000, 0), WeightGrid.SEVEN, biased=False)
    assert not np.array_equal(found.weight.scales, problem.rounded.scales)
    plain = Reconstruction(
        QuantizedWeight(found.weight.integers, problem.rounded.scales, 0), None, 0, 0, 0
    )
    fresh = inputs(4000, 1)
    assert error(problem, found, fresh) < error(problem, plain, fresh)


def test_what_was_pruned_stays_zero() -> None:
    weight = RNG.standard_normal((CHANNELS, INPUTS)).astype(np.float32)
    weight[RNG.random(weight.shape) < 0.5] = 0
    problem, found = solve(weight, inputs(3000, 0), WeightGrid.PAIRS)
    assert found.moved > 0.5
    assert not found.weight.integers[weight == 0].any()
    fresh = inputs(2000, 1)
    assert error(problem, found, fresh) < 0.7 * error(problem, None, fresh)

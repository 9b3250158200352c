"""int8 weights: scales per channel, pairs that cannot saturate, bias correction."""

from __future__ import annotations

import numpy as np
import pytest

from passes.quantization.weights import (
    WeightGrid,
    correct_bias,
    pull_pairs_in,
    quantize_weight,
)

RNG = np.random.default_rng(3)
ONE = [(0,)]


def saturating_pairs(rows: np.ndarray) -> int:
    """Count the pairs that 255 * (a + b) takes out of 16 bits."""
    even = rows[:, : rows.shape[1] // 2 * 2].astype(np.int64)
    sums = [np.where(s * even > 0, even, 0) for s in (1, -1)]
    return sum(int((np.abs(p[:, ::2] + p[:, 1::2]) * 255 > 32767).sum()) for p in sums)


@pytest.mark.parametrize("axis", [0, 1])
def test_each_channel_has_the_scale_of_its_largest_weight(axis: int) -> None:
    weight = RNG.standard_normal((5, 7)).astype(np.float32)
    found = quantize_weight(weight, axis, WeightGrid.FULL, orders=ONE)
    np.testing.assert_allclose(found.scales, np.abs(weight).max(axis=1 - axis) / 127, rtol=1e-6)
    assert found.integers.dtype == np.int8
    assert np.abs(found.integers).max(axis=1 - axis).tolist() == [127] * weight.shape[axis]
    step = found.scales.max()
    np.testing.assert_allclose(found.dequantize(), weight, atol=0.51 * step)


def test_one_scale_for_all_channels() -> None:
    weight = RNG.standard_normal((4, 6)).astype(np.float32)
    for grid in WeightGrid:
        found = quantize_weight(weight, 0, grid, orders=ONE, per_channel=False)
        assert found.scales.shape == ()
        np.testing.assert_allclose(found.dequantize(), weight, atol=0.05 * np.abs(weight).max())


def test_a_channel_of_zeros_stays_zero() -> None:
    weight = np.zeros((3, 4), np.float32)
    weight[1] = 2
    found = quantize_weight(weight, 0, WeightGrid.PAIRS, orders=ONE)
    assert (found.dequantize()[[0, 2]] == 0).all()
    assert (found.scales > 0).all()


def test_least_scales_hold() -> None:
    weight = RNG.standard_normal((3, 8)).astype(np.float32)
    least = np.array([0.0, 1.0, 0.0])
    found = quantize_weight(weight, 0, WeightGrid.FULL, orders=ONE, least_scales=least)
    assert found.scales[1] == 1.0
    assert found.scales[0] < 0.1


@pytest.mark.parametrize("spread", ["normal", "uniform", "ends"])
def test_no_pair_saturates_and_it_is_better_than_seven_bits(spread: str) -> None:
    shape = (16, 12, 3, 3)
    weight = {
        "normal": RNG.standard_normal(shape),
        "uniform": RNG.uniform(-1, 1, shape),
        "ends": RNG.choice([-1.0, 1.0, 0.01], shape),
    }[spread].astype(np.float32)
    orders: list[tuple[int, ...]] = [(0, 1, 2), (1, 2, 0)]
    pairs = quantize_weight(weight, 0, WeightGrid.PAIRS, orders=orders)
    for walk in (pairs.integers, pairs.integers.transpose(0, 2, 3, 1)):
        assert saturating_pairs(walk.reshape(16, -1)) == 0
    full = quantize_weight(weight, 0, WeightGrid.FULL, orders=orders)
    assert saturating_pairs(full.integers.reshape(16, -1)) > 0
    seven = quantize_weight(weight, 0, WeightGrid.SEVEN, orders=orders)
    assert np.abs(seven.integers).max() == 64
    errors = [float(((q.dequantize() - weight) ** 2).sum()) for q in (full, pairs, seven)]
    assert errors[1] <= errors[2]
    if spread == "normal":
        assert errors[1] < 0.6 * errors[2]


def test_pairs_are_pulled_in_by_no_more_than_needed() -> None:
    levels = np.array([[100.0, 60.0, -127.0, -2.0, 127.0, -127.0, 127.0]])
    touched = pull_pairs_in(levels, [np.arange(7)])
    assert levels.tolist() == [[84.0, 44.0, -126.0, -2.0, 127.0, -127.0, 127.0]]
    assert touched.tolist() == [True]


def test_bias_correction_keeps_the_mean_output() -> None:
    weight = RNG.standard_normal((6, 4, 3, 3)).astype(np.float32)
    rough = np.round(weight * 2).astype(np.float32) / 2
    means = RNG.standard_normal(8)
    raised = correct_bias(weight, rough, means, 0, 2)
    for channel in range(6):
        mine = means[:4] if channel < 3 else means[4:]
        lost = ((weight - rough)[channel] * mine[:, None, None]).sum()
        np.testing.assert_allclose(raised[channel], lost, rtol=1e-5)

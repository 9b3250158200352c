"""The arithmetic of grids, biases and ties."""

from __future__ import annotations

import numpy as np
import pytest

from passes.quantization.scheme import (
    affine_grid,
    bias_scales,
    least_weight_scales,
    quantize_bias,
)


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize(
    ("low", "high"), [(-1.0, 2.0), (0.0, 6.0), (-3.0, 0.0), (2.0, 5.0), (-7.0, -1.0)]
)
def test_a_grid_covers_the_range_and_zero_exactly(low: float, high: float, dtype: str) -> None:
    grid = affine_grid(low, high, dtype)
    assert grid.low <= min(low, 0) + grid.scale / 2
    assert grid.high >= max(high, 0) - grid.scale / 2
    assert grid.high - grid.low <= 1.0001 * (max(high, 0) - min(low, 0))
    assert grid.dequantize(grid.quantize(np.zeros(1, np.float32)))[0] == 0.0
    numbers = np.linspace(min(low, 0), max(high, 0), 999, dtype=np.float32)
    error = np.abs(grid.dequantize(grid.quantize(numbers)) - numbers)
    assert error.max() <= 1.01 * grid.scale  # half a step, and the shift of the zero point


def test_a_range_from_zero_up_has_the_lowest_zero_point() -> None:
    assert affine_grid(0.0, 3.0, "uint8").zero_point == 0
    assert affine_grid(0.5, 3.0, "int8").zero_point == -128


def test_symmetric_grids_have_the_zero_point_in_the_middle() -> None:
    assert affine_grid(-1, 3, "uint8", symmetric=True).zero_point == 128
    grid = affine_grid(-1, 3, "int8", symmetric=True)
    assert (grid.zero_point, grid.scale) == (0, float(np.float32(3 / 127)))


@pytest.mark.parametrize("extent", [0.0, 1e-44])
def test_a_range_without_extent_keeps_zeros(extent: float) -> None:
    grid = affine_grid(0.0, extent, "uint8")
    assert grid.scale == 1.0
    assert grid.quantize(np.zeros(3, np.float32)).tolist() == [0, 0, 0]


def test_ties_go_to_the_even_integer_and_the_ends_saturate() -> None:
    grid = affine_grid(0, 255, "uint8")
    numbers = np.array([0.5, 1.5, 2.5, -9, 999], np.float32)
    assert grid.quantize(numbers).tolist() == [0, 2, 2, 0, 255]


def test_biases_take_the_float32_product_of_the_scales() -> None:
    weights = np.array([0.1, 0.3], np.float32)
    scales = bias_scales(0.7, weights)
    assert scales.dtype == np.float32
    assert scales.tolist() == (np.float32(0.7) * weights).tolist()
    assert quantize_bias(np.array([0.07, -0.21]), scales).tolist() == [1, -1]


def test_biases_saturate_and_least_scales_prevent_it() -> None:
    bias = np.array([1e6, -1e-3])
    assert quantize_bias(bias, np.array([1e-9, 1e-9])).tolist()[0] == 2**31 - 1
    least = least_weight_scales(bias, 0.01)
    levels = quantize_bias(bias, bias_scales(0.01, least.astype(np.float32)))
    assert np.abs(levels.astype(np.int64)).max() <= 1.0001 * 2**30
    np.testing.assert_allclose(levels * 0.01 * least, bias, rtol=1e-6)

"""The arithmetic of weight-only quantization, without any graph."""

from __future__ import annotations

import numpy as np
import pytest

from passes.quantization import fitting, packing
from passes.quantization.blockwise import BlockGrid, BlockWeight, blocks_of, plain_grid

RNG = np.random.default_rng(0)
GRIDS = [
    BlockGrid(bits, block, symmetric)
    for bits in (2, 4, 8)
    for block in (0, 16, 32)
    for symmetric in (False, True)
]


def weight(channels: int = 6, inputs: int = 72) -> np.ndarray:
    return RNG.standard_normal((channels, inputs)).astype(np.float32)


def correlated(inputs: int, rank: int) -> np.ndarray:
    """Return second moments of inputs that lie near a space of fewer dimensions."""
    x = RNG.standard_normal((512, rank)) @ RNG.standard_normal((rank, inputs))
    x += 0.1 * RNG.standard_normal(x.shape)
    return (2 * x.T @ x / len(x)).astype(np.float32)


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_rounding_is_off_by_half_a_step_at_most(grid: BlockGrid) -> None:
    rows = weight()
    found = fitting.nearest(rows, grid)
    assert found.integers.min() >= grid.low
    assert found.integers.max() <= grid.high
    step = np.repeat(found.scales, grid.width(72), axis=1)[:, :72]
    # a zero point is rounded, too, so the last level may fall half a step short
    slack = 0.5 if grid.symmetric else 1.0
    assert (np.abs(found.dequantize() - rows) <= slack * step * (1 + 1e-5)).all()


@pytest.mark.parametrize("symmetric", [True, False])
def test_a_grid_holds_zero_exactly(symmetric: bool) -> None:
    rows = np.abs(weight()) + 1
    rows[:, ::3] = 0
    found = fitting.nearest(rows, BlockGrid(4, 16, symmetric)).dequantize()
    assert (found[:, ::3] == 0).all()


def test_constant_and_zero_blocks_survive() -> None:
    rows = np.zeros((2, 32), np.float32)
    rows[1] = -3
    for grid in GRIDS:
        for fit in (fitting.nearest, fitting.robust):
            np.testing.assert_allclose(fit(rows, grid).dequantize(), rows, rtol=1e-6)


def test_blocks_end_with_zeros() -> None:
    blocks = blocks_of(np.ones((2, 20), np.float32), BlockGrid(4, 16, True))
    assert blocks.shape == (2, 2, 16)
    assert blocks.sum() == 40


def test_plain_grid_reaches_both_ends() -> None:
    block = np.array([[-1.0, 0.5, 2.0]], np.float32)
    scales, zeros = plain_grid(block, BlockGrid(4, 0, False))
    np.testing.assert_allclose(scales, [3 / 15])
    np.testing.assert_array_equal(zeros, [5])
    scales, zeros = plain_grid(block, BlockGrid(4, 0, True))
    np.testing.assert_allclose(scales, [2 / 7])
    np.testing.assert_array_equal(zeros, [0])


@pytest.mark.parametrize("inputs", [72, 300])
@pytest.mark.parametrize("block", [0, 32, 256])
def test_second_order_lowers_the_output_error(inputs: int, block: int) -> None:
    rows, moments, grid = (
        weight(8, inputs),
        correlated(inputs, inputs // 4),
        BlockGrid(4, block, False),
    )
    plain = fitting.output_error(rows, fitting.nearest(rows, grid), moments)
    better = fitting.output_error(rows, fitting.second_order(rows, grid, moments), moments)
    assert better < 0.7 * plain


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_second_order_is_rounding_when_inputs_are_independent(grid: BlockGrid) -> None:
    rows = weight(4, 200)
    found = fitting.second_order(rows, grid, np.eye(200, dtype=np.float32))
    plain = fitting.nearest(rows, grid)
    np.testing.assert_array_equal(found.scales, plain.scales)
    assert (found.integers != plain.integers).mean() < 1e-3  # ties of float32 against float64


def test_inputs_that_were_always_zero_are_rounded() -> None:
    rows, moments, grid = weight(4, 64), correlated(64, 16), BlockGrid(4, 16, True)
    moments[10], moments[:, 10] = 0, 0
    found = fitting.second_order(rows, grid, moments)
    assert np.isfinite(found.dequantize()).all()
    off = np.abs(found.dequantize() - rows)[:, 10]
    assert (off <= 0.5 * found.scales[:, 0] * (1 + 1e-5)).all()


@pytest.mark.parametrize("grid", GRIDS, ids=str)
def test_robust_is_no_worse_in_its_own_measure_and_better_with_outliers(grid: BlockGrid) -> None:
    rows = weight(16, 128)
    rows[:, ::31] *= 6

    def cost(found: BlockWeight) -> float:
        return float((np.abs(found.dequantize() - rows) ** 0.7).sum())

    plain, robust = cost(fitting.nearest(rows, grid)), cost(fitting.robust(rows, grid))
    assert robust <= plain * (1 + 1e-6)
    if grid.bits == 4 and not grid.symmetric:
        assert robust < 0.97 * plain


def test_errors_are_relative() -> None:
    rows, grid = weight(), BlockGrid(8, 0, True)
    found = fitting.nearest(rows, grid)
    off = np.linalg.norm(found.dequantize() - rows) / np.linalg.norm(rows)
    assert fitting.weight_error(rows, found) == pytest.approx(off, rel=1e-5)
    eye = np.eye(72, dtype=np.float32)
    assert fitting.output_error(rows, found, 3 * eye) == pytest.approx(off, rel=1e-4)
    assert fitting.weight_error(np.zeros_like(rows), found) == 0.0


def test_bytes_count_bits() -> None:
    rows = weight(3, 33)
    assert fitting.nearest(rows, BlockGrid(8, 0, True)).bytes == 99 + 12
    assert fitting.nearest(rows, BlockGrid(4, 16, False)).bytes == 50 + 5 + 9 * 4


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_packed_integers_come_back(bits: int) -> None:
    integers = RNG.integers(0, 1 << bits, (3, 24)).astype(np.uint8)
    share, mask = 8 // bits, (1 << bits) - 1
    stripes = packing.pack_stripes(integers, bits)
    back = np.concatenate([stripes >> bits * i & mask for i in range(share)], axis=-1)
    np.testing.assert_array_equal(back, integers)
    neighbours = packing.pack_neighbours(integers[:, :23], bits)
    back = np.stack([neighbours >> bits * i & mask for i in range(share)], axis=-1)
    np.testing.assert_array_equal(back.reshape(3, -1)[:, :23], integers[:, :23])

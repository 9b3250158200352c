"""Products of diagonals and Walsh-Hadamard matrices: exact, and found again by their values."""

from __future__ import annotations

import numpy as np
import pytest

from ocompress.archive.fastfood import (
    HALF,
    SIZES,
    Fastfood,
    find_fastfood,
    gathered,
    hadamard,
    permutation,
    spread,
    taken_apart,
    told,
)
from ocompress.archive.fastfood_rounding import COLUMN_BITS, ROW_BITS, few_bits, room, whole


def made(rows: int, columns: int, size: int, seed: int = 0, zeros: float = 0.0) -> Fastfood:
    """Draw diagonals, some of whose numbers are zero, and round them."""
    rng = np.random.default_rng(seed)
    sides = [few_bits(rng.standard_normal(n), b) for n, b in _sides(rows, columns)]
    for side in sides:
        side[rng.random(side.size) < zeros] = 0
    numbers = rng.standard_normal((-(-rows // size), -(-columns // size), size))
    numbers *= room(numbers, rows, columns)[:, None, None]
    return whole(sides[0], numbers, sides[1])


def _sides(rows: int, columns: int) -> list[tuple[int, int]]:
    return [(rows, ROW_BITS), (columns, COLUMN_BITS)]


def _dense(levels: np.ndarray) -> np.ndarray:
    """Multiply the matrices of one block as they are written down."""
    size = levels.size
    moved = np.eye(size)[permutation(size)]
    found: np.ndarray = hadamard(size) @ np.diag(levels) @ moved @ hadamard(size)
    return found


@pytest.mark.parametrize("size", SIZES)
def test_blocks_are_products_of_the_matrices(size: int) -> None:
    rng = np.random.default_rng(size)
    assert np.array_equal(hadamard(size) @ hadamard(size), size * np.eye(size))
    assert np.array_equal(np.sort(permutation(size)), np.arange(size))
    levels = rng.integers(-9, 10, (1, 2, size)).astype(np.float64)
    both = np.hstack([_dense(own) for own in levels[0]])
    assert np.array_equal(spread(levels, size, 2 * size), both)
    matrix = rng.standard_normal((size - 1, 2 * size - 1))
    spread_out = spread(levels, size - 1, 2 * size - 1)
    assert (matrix * spread_out).sum() == pytest.approx((gathered(matrix, size) * levels).sum())


@pytest.mark.parametrize("size", SIZES[1:6])
def test_permutations_do_not_repeat_those_of_smaller_blocks(size: int) -> None:
    """Or a matrix would be of smaller blocks, of which it takes far more numbers."""
    half = size // 2
    assert (permutation(size) % half != permutation(half)[np.arange(size) % half]).any()


@pytest.mark.parametrize(
    ("rows", "columns", "size"),
    [
        (64, 64, 4),
        (50, 90, 8),
        (90, 50, 16),
        (20, 300, 32),
        (40, 36, 2),
        (100, 70, 64),
        (70, 140, 256),
    ],
)
@pytest.mark.parametrize("zeros", [0.0, 0.1])
def test_diagonals_are_found_again(rows: int, columns: int, size: int, zeros: float) -> None:
    before = made(rows, columns, size, zeros=zeros)
    found = find_fastfood(before.matrix)
    assert found is not None
    assert found.size == size
    assert found.matrix.tobytes() == before.matrix.tobytes()
    assert np.array_equal(found.levels, before.levels)
    assert np.abs(before.levels).max() <= 127
    assert not (before.levels.sum(2) % 2).any()


def test_weights_are_exact_in_whatever_order_they_are_added() -> None:
    found = made(100, 90, 16)
    levels = found.levels.astype(np.float32)[:, :, ::-1]
    left = hadamard(16).astype(np.float32)[:, ::-1]
    right = hadamard(16)[permutation(16)].astype(np.float32)[::-1]
    blocks = left @ (levels[..., None] * right)
    sums = blocks.transpose(0, 2, 1, 3).reshape(112, 96)[:100, :90] + np.float32(HALF)
    other = sums * found.columns * found.rows[:, None]
    assert other.dtype == np.float32
    assert np.array_equal(other, found.matrix)


def test_numbers_are_those_that_are_near() -> None:
    rng = np.random.default_rng(1)
    numbers = rng.standard_normal((3, 4, 8))
    numbers *= room(numbers, 24, 32)[:, None, None]
    found = whole(np.ones(24), numbers, np.ones(32))
    off = found.levels + HALF * (np.arange(8) == 0) - numbers
    assert np.abs(off).max() < 1
    assert np.square(off).mean() < 0.15  # 1/12 of rounding, and a number of a block or none


@pytest.mark.parametrize("cut", [(5, 6), (3, 7), (2, 3), (1, 5)])
def test_a_corner_has_as_many_numbers_as_it_tells(cut: tuple[int, int]) -> None:
    seen = np.ones(cut[0], bool), np.ones(cut[1], bool)
    free = told(*seen, 8)[0, 0]
    assert 0 < free.sum() <= min(8, cut[0] * cut[1])
    numbers = np.random.default_rng(2).standard_normal((1, 1, 8)) * free
    again = taken_apart(spread(numbers, *cut), 8, *seen)
    np.testing.assert_allclose(again, numbers, atol=1e-9)


def test_what_differs_in_one_bit_is_of_no_blocks() -> None:
    matrix = made(48, 64, 8).matrix
    matrix[-1, -1] = np.nextafter(matrix[-1, -1], np.float32(9))
    assert find_fastfood(matrix) is None


@pytest.mark.parametrize(
    "matrix",
    [
        np.random.default_rng(0).standard_normal((40, 50)).astype(np.float32),
        np.random.default_rng(0).standard_normal((40, 50)).astype(np.float16).astype(np.float32),
        np.sign(np.random.default_rng(0).standard_normal((40, 50))).astype(np.float32),
        np.random.default_rng(0).integers(-8, 9, (40, 50)).astype(np.float32),
        np.zeros((40, 50), np.float32),
        np.full((40, 50), np.nan, np.float32),
        np.ones((1, 50), np.float32),
    ],
)
def test_other_weights_are_of_no_blocks(matrix: np.ndarray) -> None:
    assert find_fastfood(matrix) is None

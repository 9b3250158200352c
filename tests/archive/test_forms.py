from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocompress.archive import nodes
from ocompress.archive.codes import PieceFacts, length
from ocompress.archive.decoding import decode
from ocompress.archive.forms import shortest
from ocompress.archive.grids import find_grid, find_products
from ocompress.archive.nodes import GRID, Numbers
from tests.archive.samples import PIECES


@pytest.mark.parametrize("name", PIECES)
def test_a_piece_takes_its_form_and_comes_back(name: str) -> None:
    array, plan, form = PIECES[name]()
    content = array.tobytes()
    node = shortest(content, array.itemsize, plan)
    assert node.described().startswith(form)
    assert decode(node).tobytes() == content
    assert node.total <= len(content)
    again = nodes.read(Numbers(nodes.written(node), 9), node.count, node.width)
    assert nodes.written(again) == nodes.written(node)
    assert [leaf.size for leaf in again.leaves()] == [leaf.size for leaf in node.leaves()]


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    content=st.binary(min_size=1, max_size=160),
    width=st.sampled_from([1, 2, 4, 8]),
    dtype=st.sampled_from([0, 1, 2, 3, 7, 10, 21, 22]),
    repeats=st.integers(1, 4),
    columns=st.integers(1, 9),
)
def test_any_bytes_come_back(
    content: bytes, width: int, dtype: int, repeats: int, columns: int
) -> None:
    content = content * width * repeats * columns
    node = shortest(content, width, PieceFacts(dtype, columns=columns))
    assert decode(node).tobytes() == content


def test_a_grid_is_found_to_the_last_bit_or_not_at_all() -> None:
    steps = np.random.default_rng(0).uniform(0.001, 3, 200)
    matrix = (steps[:, None] * np.arange(-9, 40)).astype(np.float32) + np.float32(0)
    found = find_grid(matrix, 1, matrix.shape[1])
    assert found is not None
    np.testing.assert_array_equal(found.levels, np.tile(np.arange(-9, 40), (200, 1)))
    off = matrix.copy()
    off[5, 7] = np.nextafter(off[5, 7], np.float32(9))
    assert find_grid(off, 1, matrix.shape[1]) is None


def _products(*, zeros: bool) -> np.ndarray:
    """Make signs times numbers of rows, of 11 bits, and of columns, of 8 bits."""
    rng = np.random.default_rng(1)
    rows, columns = (1 + rng.integers(0, m, n) / m for n, m in ((40, 1024), (30, 128)))
    rows, columns[4] = rows / 37, 1
    signs = rng.integers(-1, 2, (40, 30)) if zeros else rng.choice([-1, 1], (40, 30))
    found: np.ndarray = (signs * rows.astype(np.float16).astype(float)[:, None] * columns).astype(
        np.float32
    )
    return found + np.float32(0)


@pytest.mark.parametrize("zeros", [False, True])
def test_numbers_of_rows_and_columns_are_found_beside_signs(zeros: bool) -> None:
    matrix = _products(zeros=zeros)
    found = find_products(matrix)
    assert found is not None
    np.testing.assert_array_equal(found.levels, np.sign(matrix))
    assert found.scales.dtype == np.float32  # in the right unit all are short
    node = shortest(matrix.tobytes(), 4, PieceFacts(1, columns=30))
    assert node.codec == GRID
    assert node.settings[3] == 1
    assert node.total < matrix.size // 8 * (2 if zeros else 1) + 2 * sum(matrix.shape) + 64
    assert decode(node).tobytes() == matrix.tobytes()
    off = matrix.copy()
    off[5, 7] = np.nextafter(np.float32(1), np.float32(9))
    assert find_products(off) is None
    assert find_products(np.tile(matrix[:, :1], 30)) is None


def test_a_grid_without_its_first_levels_is_found() -> None:
    magnitudes = np.array([[3, 5, 8, 0, -3, -5]]) * 0.0123
    found = find_grid(magnitudes.astype(np.float32), 1, 6)
    assert found is not None
    assert found.levels.tolist() == [[3, 5, 8, 0, -3, -5]]


def test_a_bias_of_as_many_values_as_elements_is_on_a_grid() -> None:
    levels = np.random.default_rng(1).permutation(np.arange(-300, 300, 9))
    bias = (levels * np.float64(0.0173)).astype(np.float32) + np.float32(0)
    node = shortest(bias.tobytes(), 4, PieceFacts(1))
    assert node.described().startswith("grid")
    assert decode(node).tobytes() == bias.tobytes()


@pytest.mark.parametrize("turned", [False, True])
def test_words_with_a_scale_for_each_output_are_found(turned: bool) -> None:
    rng = np.random.default_rng(3)
    words = rng.integers(-127, 128, (32, 8)).astype(np.float32)
    scales = (1 + rng.random((48, 1))).astype(np.float16).astype(np.float32)
    weight = words[rng.integers(0, 32, (48, 12))].reshape(48, -1) * scales
    weight = np.ascontiguousarray(weight.T) if turned else weight
    node = shortest(weight.tobytes(), 4, PieceFacts(1, columns=weight.shape[1]))
    assert "blocks" in node.described()
    assert node.codec == GRID
    assert decode(node).tobytes() == weight.tobytes()
    assert length(node) < 48 * 12 * 5 / 8 + 32 * 8 + 48 * 3 + 200


@pytest.mark.parametrize("turned", [False, True])
def test_words_in_one_unit_take_their_bits(turned: bool) -> None:
    rng = np.random.default_rng(4)
    words = np.clip(np.rint(rng.normal(0, 40, (200, 4))), -127, 127).astype(np.float32) + 0
    weight = words[rng.integers(0, 200, (64, 64))].reshape(64, -1) * np.float32(0.0123)
    weight = np.ascontiguousarray(weight.T) if turned else weight
    node = shortest(weight.tobytes(), 4, PieceFacts(1, columns=weight.shape[1]))
    assert decode(node).tobytes() == weight.tobytes()
    which, numbers = 64 * 64 * np.log2(200) / 8, 200 * 4
    assert length(node) < 1.04 * which + 1.03 * numbers + 40


@pytest.mark.parametrize("turned", [False, True])
def test_scales_of_few_bits_are_told_apart(turned: bool) -> None:
    rng = np.random.default_rng(4)
    levels, scales = rng.integers(-9, 10, (40, 30)), rng.integers(16, 64, (40, 1)) / 1024
    weight = (levels * scales + 0.0).astype(np.float32)
    weight = np.ascontiguousarray(weight.T) if turned else weight
    one = find_grid(weight, *weight.shape)
    assert one is not None
    assert np.abs(one.levels).max() > 16 * 9
    node = shortest(weight.tobytes(), 4, PieceFacts(1, columns=weight.shape[1]))
    assert node.codec == GRID
    assert decode(node).tobytes() == weight.tobytes()
    assert length(node) < 40 * 30 * np.log2(19) / 8 * 1.1 + 40 * 2

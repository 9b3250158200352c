"""Selection of the smallest weights, alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocompress.analysis.weight_form import WeightForm
from passes.pruning import magnitude, patterns


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    layers=st.lists(
        st.lists(st.sampled_from([0.0, 1e-30, 0.5, 0.5, 1.0, 3.0]), min_size=1, max_size=12),
        min_size=1,
        max_size=4,
    ),
    share=st.floats(0, 0.99),
)
def test_cut_chooses_exactly_the_smallest_first_ones(
    layers: list[list[float]], share: float
) -> None:
    arrays = [np.array(layer, np.float32) for layer in layers]
    together = np.concatenate(arrays)
    count = round(share * together.size)
    line = magnitude.cut(lambda: iter(arrays), count)
    chosen = np.concatenate([line.mask(a) for a in arrays])
    wanted = np.zeros(together.size, bool)
    wanted[np.argsort(together, kind="stable")[:count]] = True
    np.testing.assert_array_equal(chosen, wanted)


def test_cut_of_large_layers_equals_a_sort() -> None:
    scores = np.abs(np.random.default_rng(0).standard_normal(50_000).astype(np.float32))
    line = magnitude.cut(lambda: iter([scores]), 12_345)
    limit = np.sort(scores)[12_345]
    np.testing.assert_array_equal(line.mask(scores), scores < limit)


def test_n_of_m_keeps_the_largest_of_each_group() -> None:
    rows = np.array([[1, -5, 2, 4, 3, 0.5, 9]])
    mask = magnitude.n_of_m(rows, 2, 4)
    np.testing.assert_array_equal(mask, [[1, 0, 1, 0, 0, 1, 0]])


def test_n_of_m_zeroes_the_first_of_equal_ones() -> None:
    np.testing.assert_array_equal(magnitude.n_of_m(np.ones((1, 4)), 1, 4), [[1, 1, 1, 0]])


def test_block_scores_and_spread() -> None:
    matrix = np.arange(1, 7, dtype=np.float32).reshape(3, 2, 1)
    scores = magnitude.block_means(matrix**2, 2, 1, 1)
    np.testing.assert_allclose(scores[:, :, 0], [[5, 10], [25, 36]], rtol=1e-6)
    mask = magnitude.spread(scores > 9, (3, 2, 1), (2, 1, 1))
    np.testing.assert_array_equal(mask[:, :, 0], [[0, 1], [0, 1], [1, 1]])


@pytest.mark.parametrize(("out_axis", "in_axis"), [(0, 1), (1, 0)])
def test_blocks_cover_outputs_of_one_input_and_tap(out_axis: int, in_axis: int) -> None:
    pattern = patterns.parse("2x1")
    assert pattern is not None
    shape = (4, 3, 5) if out_axis == 0 else (3, 4, 5)
    form = WeightForm(shape, out_axis, in_axis)
    weight = np.random.default_rng(0).standard_normal(shape)
    scores = pattern.means(np.abs(weight), form)
    assert scores.size == pattern.sizes(form).size == 30
    mask = np.moveaxis(pattern.elements(scores < np.median(scores), form), out_axis, 0)
    np.testing.assert_array_equal(mask[0], mask[1])
    np.testing.assert_array_equal(mask[2], mask[3])
    assert mask.sum() == 30


@pytest.mark.parametrize("text", ["", "4:4", "0:4", "0x1", "2:4:8", "2 : 4", "4y1"])
def test_texts_that_are_no_pattern(text: str) -> None:
    assert patterns.parse(text) is None

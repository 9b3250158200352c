"""Forms that are counted out at load: the same to the bit, and of no more than they need."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ocompress.archive.tied_places import (
    buckets_of,
    diagonals,
    find_circulant,
    find_hashed,
    near,
    numbers,
)
from passes.storage import forms
from passes.storage.counted import find_random
from passes.storage.random_numbers import bells
from tests.archive.test_fastfood import made
from tests.passes.storage.test_pack_weights import normal
from tests.passes.storage.test_tables import check, scales


def halves(*shape: int) -> np.ndarray:
    return normal(*shape).astype(np.float16).astype(np.float32)


def words(bits: int, width: int, *shape: int) -> np.ndarray:
    table = bells(width << bits).reshape(-1, width).astype(np.float32)
    count = int(np.prod(shape)) // width
    return table[np.random.default_rng(1).integers(0, 1 << bits, count)].reshape(shape)


def test_numbers_are_as_if_drawn() -> None:
    found = numbers(1 << 16)
    assert found.min() >= 0
    assert found.max() < 2**31 - 1
    assert len(np.unique(found)) > 0.999 * len(found)
    levels = bells(1 << 16)
    assert abs(levels.mean()) < 0.3
    assert levels.std() == pytest.approx(18.5, rel=0.01)
    assert np.abs(np.corrcoef(levels.reshape(-1, 8).T) - np.eye(8)).max() < 0.05


@pytest.mark.parametrize(("bits", "width"), [(8, 8), (12, 8), (10, 4), (8, 16)])
def test_random_words_take_the_bits_of_their_numbers(bits: int, width: int, tmp_path: Path) -> None:
    weight = words(bits, width, 128, 256) * scales(128, 1)
    form = f"grid, random words of {width}, {bits} bits"
    check(weight, form, bits / width + 0.6, tmp_path)


def test_random_words_of_columns_and_of_kernels(tmp_path: Path) -> None:
    check(words(8, 8, 256, 128) * scales(1, 128), "grid, random words of 8, 8 bits", 1.6, tmp_path)
    kernels = words(9, 9, 64, 64, 3, 3) * scales(64, 1, 1, 1)
    check(kernels, "grid, random words of 9, 9 bits", 1.6, tmp_path, 17)


@pytest.mark.parametrize("shape", [(96, 200), (32, 16, 3, 3)])
def test_hashed_values_take_their_bytes(shape: tuple[int, ...], tmp_path: Path) -> None:
    size = int(np.prod(shape))
    count = near(size / 8)
    buckets, negated = buckets_of(size, count)
    values = halves(count)
    weight = np.where(negated, -values[buckets], values[buckets]).reshape(shape)
    check(weight, "hashed, half", 2 + 9300 / size, tmp_path)


@pytest.mark.parametrize(("size", "shape"), [(8, (64, 128)), (4, (50, 90)), (64, (64, 64))])
def test_circulant_blocks_take_a_row_each(
    size: int, shape: tuple[int, int], tmp_path: Path
) -> None:
    order = diagonals(*shape, size)
    weight = halves(int(order.max()) + size)[order]
    found = find_circulant(weight)
    assert found is not None
    assert found[1] == size
    name = forms.smallest(weight).name
    assert name.startswith(f"circulant blocks of {size}")
    check(weight, name, 16 / size + 9000 / weight.size + 1, tmp_path)


@pytest.mark.parametrize(
    ("size", "shape"), [(8, (64, 128)), (16, (100, 90)), (4, (32, 16, 3, 3)), (64, (128, 128))]
)
@pytest.mark.parametrize("zeros", [0.0, 0.1])
def test_fastfood_blocks_take_their_diagonals(
    size: int, shape: tuple[int, ...], zeros: float, tmp_path: Path
) -> None:
    rows, columns = shape[0], int(np.prod(shape[1:]))
    weight = made(rows, columns, size, zeros=zeros).matrix.reshape(shape)
    name = f"fastfood blocks of {size}, whole"
    sides = 16 * (rows + columns) / weight.size
    check(weight, name, 9 / size + 11800 / weight.size + sides, tmp_path)


def test_what_differs_in_one_bit_has_none_of_these_forms() -> None:
    random = words(8, 8, 64, 64).reshape(-1)
    order = diagonals(64, 64, 8)
    circulant = halves(int(order.max()) + 8)[order]
    buckets, negated = buckets_of(4096, 512)
    hashed = np.where(negated, -1, 1).astype(np.float32) * halves(512)[buckets]
    assert find_random(random, 8) is not None
    assert find_circulant(circulant) is not None
    assert find_hashed(hashed) is not None
    for array in (random, circulant.reshape(-1), hashed):
        array[-1] += 1
    assert find_random(random, 8) is None
    assert find_circulant(circulant) is None
    other = find_hashed(hashed)
    assert other is None or other[1] > 512  # a multiple of so many buckets may tell it apart


def test_three_places_are_hashed_independently() -> None:
    count, buckets = 1 << 20, 64
    places, negated = buckets_of(count, buckets)
    signs = np.where(negated, -1.0, 1.0)
    tied = [places[:-by] == places[by:] for by in (1, 7, 64, 100, 4096)]
    assert max(abs(same.mean() * buckets - 1) for same in tied) < 0.2
    three = tied[0][: len(tied[3])] & tied[3]  # a place, the next one and the hundredth from it
    assert abs(three.mean() * buckets**2 - 1) < 0.5
    assert max(abs((signs[:-by] * signs[by:]).mean()) for by in (1, 7, 64, 100, 4096)) < 0.02
    runs = buckets_of(count, count // 64)[0].reshape(-1, 64)
    assert len(np.unique(runs, axis=0)) > 0.99 * len(runs)  # hardly any run repeats another


def test_buckets_come_in_few_numbers() -> None:
    counts = [near(n) for n in np.geomspace(64, 1e6, 500)]
    assert len(set(counts)) < 120
    assert all(0.93 < near(n) / n < 1.07 for n in np.geomspace(64, 1e6, 500))
    assert all(near(n) == n for n in counts)

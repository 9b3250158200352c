"""Estimates of the bits that levels take."""

from __future__ import annotations

import numpy as np
import pytest

from ocompress.coding import LevelRates, code_bits, level_bits


def drawn(share: float, shape: tuple[int, int, int] = (1, 60, 80)) -> np.ndarray:
    rng = np.random.default_rng(3)
    found: np.ndarray = (rng.random(shape) < share) * rng.choice([-1.0, 1.0], shape)
    return found


@pytest.mark.parametrize("share", [0.02, 0.1, 0.5])
def test_levels_without_structure_take_their_entropy(share: float) -> None:
    levels = drawn(share)
    used = np.count_nonzero(levels) / levels.size
    entropy = -used * np.log2(used) - (1 - used) * np.log2(1 - used) + used  # and the sign
    assert 0.97 < level_bits(levels) / (entropy * levels.size) < 1.4


@pytest.mark.parametrize("axis", [1, 2])
def test_zeros_that_keep_together_take_fewer_bits(axis: int) -> None:
    levels = np.moveaxis(drawn(0.5), axis, 1).copy()
    levels[:, ::2] = 0
    mixed = np.random.default_rng(0).permutation(levels.reshape(-1)).reshape(levels.shape)
    together = np.moveaxis(levels, 1, axis)
    assert level_bits(together) < 0.9 * level_bits(np.moveaxis(mixed, 1, axis))


@pytest.mark.parametrize("scale", [0.15, 0.5, 2.0])
def test_the_estimate_is_near_the_code(scale: float) -> None:
    draw = np.random.default_rng(0)
    by_input = draw.choice([0.5, 1.0, 2.0], (1, 50, 1))
    levels = np.rint(draw.laplace(0, scale, (1, 50, 40)) * by_input)
    assert abs(level_bits(levels) / code_bits(levels[0].T.astype(int)) - 1) < 0.1


def test_what_is_rare_takes_more_bits() -> None:
    levels = drawn(0.2)
    levels[0, 0, :3] = 4.0
    rates = LevelRates.of(levels)
    asked = np.stack([np.full(levels.shape, m) for m in (0.0, 1.0, 4.0, -4.0, 1000.0)])
    bits = np.array([rates.bits(a).mean() for a in asked])
    assert (np.diff(bits[[0, 1, 2, 4]]) > 0.5).all()
    assert bits[2] == bits[3]
    # an input without zeros makes zeros dear, there alone
    levels[:, 7] = 1.0
    dear = LevelRates.of(levels)
    assert dear.zero[0, 7].min() > 4 * dear.zero[0, 8].max()
    assert np.array_equal(dear.at(np.array([7])).zero, dear.zero[:, [7]])


def test_bits_of_every_level_are_about_those_of_the_whole() -> None:
    levels = drawn(0.1) * np.random.default_rng(1).integers(1, 4, (1, 60, 80))
    assert abs(LevelRates.of(levels).bits(levels).sum() / level_bits(levels) - 1) < 0.1


def test_nothing_takes_nothing_and_huge_levels_take_little_time() -> None:
    assert level_bits(np.zeros((1, 0, 4))) == 0.0
    assert level_bits(np.full((1, 4, 4), 2.0**40)) < 16 * 120

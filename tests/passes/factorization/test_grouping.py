"""Which channels go together: planted groups are found, and no swap gains anything."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from passes.factorization.alternate import Effort
from passes.factorization.group_forms import named
from passes.factorization.grouping import balanced, grouped, in_order, kept
from passes.factorization.problem import pose
from tests.passes.factorization.chains import cost, planted


def alike(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether two assignments are the same, whatever the groups are called."""
    return len({*zip(one.tolist(), other.tolist(), strict=True)}) == len(set(one.tolist()))


@pytest.mark.parametrize(
    ("inputs", "outputs", "groups", "faint"),
    [(32, 48, 2, 0.5), (64, 128, 4, 0.3), (64, 64, 8, 0.2), (24, 36, 3, 0.3)],
)
def test_planted_groups_are_found(inputs: int, outputs: int, groups: int, faint: float) -> None:
    rng = np.random.default_rng(inputs + groups)
    weight, ins, outs = planted(rng, (outputs, inputs), groups, others=faint)
    energy = np.square(weight.T)
    found = grouped(energy, groups)
    assert alike(found[0], ins)
    assert alike(found[1], outs)
    plain = kept(energy, in_order(inputs, groups), in_order(outputs, groups))
    assert kept(energy, *found) > 1.4 * plain
    problem = pose(weight.T.reshape(inputs, 1, 1, outputs))
    before = 1 - plain / energy.sum()
    assert cost(named(["blocks"], [groups])[0], problem, (groups,), Effort(0, 0)) < 0.8 * before


def test_groups_are_of_one_size_and_better_than_any_order() -> None:
    energy = np.square(np.random.default_rng(11).standard_normal((18, 12)))
    ins, outs = grouped(energy, 3)
    assert np.bincount(ins).tolist() == [6] * 3
    assert np.bincount(outs).tolist() == [4] * 3
    rng = np.random.default_rng(0)
    drawn = [kept(energy, rng.permutation(ins), rng.permutation(outs)) for _ in range(500)]
    assert kept(energy, ins, outs) > max(drawn)


def test_an_assignment_to_two_groups_is_the_best() -> None:
    gains = np.random.default_rng(12).standard_normal((8, 2))
    best = max(
        sum(gains[i, int(i in chosen)] for i in range(8))
        for chosen in itertools.combinations(range(8), 4)
    )
    found = balanced(gains, in_order(8, 2))
    assert gains[np.arange(8), found].sum() == pytest.approx(best)
    assert np.bincount(found).tolist() == [4, 4]

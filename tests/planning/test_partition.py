"""The choice of integer operators is the best one, and quickly found."""

from __future__ import annotations

import itertools
import random

import pytest

from ocompress.planning import Cell, Choice, Penalty, Toll, Wire, partition
from ocompress.planning.partition import predicted_ns

INT8, FLOAT = Choice.INT8, Choice.FLOAT


def problem(seed: int) -> tuple[list[Cell], list[Wire], list[Penalty]]:
    rng = random.Random(seed)
    count = rng.randint(1, 7)
    places = range(count)
    cells = [Cell(rng.randint(0, 50), rng.randint(0, 50)) for _ in places]
    wires = []
    for _ in range(rng.randint(0, 8)):
        source = rng.choice([None, *places])
        sinks = [s for s in rng.sample(places, rng.randint(0, min(3, count))) if s != source]
        costs = rng.randint(0, 20), rng.randint(0, 20)
        wires.append(Wire(source, tuple(sinks), rng.randint(0, 2), *costs))
    penalties = []
    for _ in range(2):
        pair = rng.choice(places), rng.choice([None, *places])
        if pair[0] != pair[1]:
            penalties.append(Penalty(*pair, rng.choice([5.0, float("inf")])))
    return cells, wires, penalties


@pytest.mark.parametrize("seed", range(150))
def test_no_other_choice_is_faster(seed: int) -> None:
    cells, wires, penalties = problem(seed)
    found = predicted_ns(partition(cells, wires, penalties), cells, wires, penalties)
    every = itertools.product(Choice, repeat=len(cells))
    best = min(predicted_ns(list(c), cells, wires, penalties) for c in every)
    assert found == pytest.approx(best)


@pytest.mark.parametrize("seed", range(100))
def test_no_other_choice_is_cheaper_with_tolls(seed: int) -> None:
    cells, wires, penalties = problem(seed)
    rng = random.Random(-seed)
    places = range(len(cells))
    sets = [tuple(rng.sample(places, rng.randint(1, len(cells)))) for _ in range(4)]
    tolls = [Toll(chosen, rng.randint(0, 30)) for chosen in sets]

    def cost(choices: list[Choice]) -> float:
        paid = sum(t.ns for t in tolls if any(choices[c] is INT8 for c in t.cells))
        return predicted_ns(choices, cells, wires, penalties) + paid

    best = min(cost(list(c)) for c in itertools.product(Choice, repeat=len(cells)))
    assert cost(partition(cells, wires, penalties, tolls)) == pytest.approx(best)


def test_an_island_that_costs_more_than_it_brings_stays_float() -> None:
    wires = [Wire(None, (0,), 0, 10, 10), Wire(0, (), 1, 10, 10)]
    assert partition([Cell(100, 85)], wires) == [FLOAT]
    assert partition([Cell(100, 75)], wires) == [INT8]


def test_a_slower_operator_between_integer_ones_becomes_one_to_save_the_crossings() -> None:
    cells = [Cell(100, 20), Cell(10, 15), Cell(100, 20)]
    wires = [Wire(0, (1,), 0, 10, 10), Wire(1, (2,), 0, 10, 10)]
    assert partition(cells, wires) == [INT8] * 3
    assert partition(cells, []) == [INT8, FLOAT, INT8]


def test_entering_is_paid_once_for_several_readers_and_leaving_by_each() -> None:
    cells = [Cell(10, 3), Cell(10, 3)]
    assert partition(cells, [Wire(None, (0, 1), 0, 12, 0)]) == [INT8, INT8]
    made = [Cell(20, 3)]
    assert partition(made, [Wire(0, (), 1, 0, 10)]) == [INT8]
    assert partition(made, [Wire(0, (), 2, 0, 10)]) == [FLOAT]


def test_ties_go_to_float() -> None:
    assert partition([Cell(5, 5)], []) == [FLOAT]


def test_ten_thousand_operators_take_no_time_to_speak_of() -> None:
    rng = random.Random(0)
    count = 10_000
    cells = [Cell(rng.randint(0, 50_000), rng.randint(0, 50_000)) for _ in range(count)]
    wires = [
        Wire(i, tuple(j for j in (i + 1, i + 7) if j < count), 0, 6_000, 3_000)
        for i in range(count)
    ]
    found = partition(cells, wires)
    flipped = list(found)
    least = predicted_ns(found, cells, wires)
    for index in rng.sample(range(count), 20):
        flipped[index] = INT8 if found[index] is FLOAT else FLOAT
        assert predicted_ns(flipped, cells, wires) >= least
        flipped[index] = found[index]


def test_fractions_of_a_nanosecond_count() -> None:
    cells = [Cell(0.4, 0.2), Cell(0.2, 0.4)]
    assert partition(cells, []) == [INT8, FLOAT]

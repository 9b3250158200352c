"""The exchange of time for noise."""

from __future__ import annotations

import pytest

from passes.quantization.placement import Placement
from passes.quantization.selection import Selection, best

RATE = 0.06


def selections(*points: tuple[float, float]) -> list[Selection]:
    """Return a front from times and decibels; the float model is its end."""
    made = [Selection(Placement([], []), 10 ** (-db / 10), time) for time, db in points]
    return [*made, Selection(Placement([], []), 0.0, 1.0)]


@pytest.mark.parametrize(
    ("points", "index"),
    [
        ([(0.40, 38.0), (0.45, 45.0)], 0),  # faithful enough
        ([(0.40, 30.0), (0.60, 40.0)], 0),
        ([(0.62, 15.8), (0.65, 21.0), (0.90, 23.0)], 1),  # 3 % for 5 dB
        ([(0.45, 17.0), (0.55, 25.0)], 1),
        ([(0.45, 17.0), (0.72, 17.5), (0.75, 18.0)], 0),  # no more than the average
        ([(0.45, 17.0)], 0),  # a line has no knee
        ([(0.45, 2.0)], 1),  # of no use
    ],
)
def test_time_is_spent_where_it_takes_off_much_noise(
    points: list[tuple[float, float]], index: int
) -> None:
    assert best(selections(*points), RATE) == index


@pytest.mark.parametrize(
    ("points", "index"),
    [
        ([(0.593, 18.7), (0.595, 20.6), (0.615, 21.6), (0.778, 27.3)], 1),  # 31 % for 7 dB
        ([(0.62, 15.8), (0.65, 21.0), (0.90, 23.0)], 1),  # still cheap enough
        ([(0.45, 2.0)], 1),
    ],
)
def test_a_limit_in_the_unit_that_counts_stands_in_for_the_knee(
    points: list[tuple[float, float]], index: int
) -> None:
    assert best(selections(*points), RATE, limited=True) == index


def test_without_a_price_the_fastest_is_taken() -> None:
    assert best(selections((0.45, 17.0), (0.55, 25.0)), 0.0) == 0

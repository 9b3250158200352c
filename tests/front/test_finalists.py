"""Which plan is carried out after one that did not hold."""

from __future__ import annotations

import pytest

from ocompress.auto import Chain, PlanGoal, PlanTrial
from ocompress.front.finalists import Finalists, bearable


def plans(*strains: float) -> list[PlanTrial]:
    return [PlanTrial(chain=Chain(), held=s <= 1, drop=s / 100, strain=s) for s in strains]


def order(finalists: Finalists, worse: float) -> list[float]:
    """Return what the plans were expected to lose that are carried out, if none holds."""
    found = []
    while not finalists.are_over:
        trial = finalists.next()
        found.append(trial.strain)
        finalists.tell(trial, worse * trial.strain)
    return found


def test_the_next_one_would_hold_if_it_were_as_much_worse() -> None:
    sure = plans(0.95, 0.9, 0.8, 0.6, 0.49, 0.4, 0.2, 0.1)
    assert order(Finalists([], list(sure), plans(0.0)), 2.0)[:2] == [0.95, 0.49]
    assert order(Finalists([], list(sure), plans(0.0)), 5.0) == [0.95, 0.2, 0.1, 0.0]
    assert order(Finalists([], list(sure), plans(0.0)), 50.0) == [0.95, 0.1, 0.0]


def test_it_counts_how_much_worse_the_worst_turned_out() -> None:
    finalists = Finalists([], plans(0.9, 0.7, 0.6, 0.3, 0.2), [])
    finalists.tell(finalists.next(), 1.8)
    assert finalists.next().strain == 0.3
    finalists.tell(plans(0.3)[0], 1.2)
    assert finalists.next().strain == 0.2
    assert finalists.are_over


def test_a_bold_one_tells_of_the_others() -> None:
    assert order(Finalists(plans(1.4), plans(0.95, 0.6, 0.3), []), 1.5) == [1.4, 0.6, 0.3]
    assert order(Finalists(plans(1.4, 1.2), plans(0.95, 0.6), []), 0.9) == [1.4, 1.2, 0.95, 0.6]


def test_what_does_not_hold_for_another_reason_says_nothing_of_the_loss() -> None:
    sure = plans(0.95, 0.9, 0.8, 0.6, 0.49, 0.4, 0.2, 0.1)
    assert order(Finalists([], list(sure), plans(0.0)), 0.0) == [0.95, 0.9, 0.8, 0.6, 0.1, 0.0]


def test_plans_that_seemed_to_lose_nothing_say_how_little_that_means() -> None:
    assert order(Finalists([], plans(0.0, -0.0, 0.0), plans(0.0)), 9.0) == [0.0, 0.0, 0.0, 0.0]
    finalists = Finalists([], plans(1e-12, 0.0), [])
    finalists.tell(finalists.next(), 3.0)
    assert finalists.next().strain == 0.0


def test_a_milder_one_has_its_place_by_what_the_goal_makes_small() -> None:
    fast, middle, slow = (
        PlanTrial(chain=Chain(), held=True, strain=s, latency=t)
        for s, t in ((0.9, 0.2), (0.6, 0.3), (0.1, 0.5))
    )
    finalists = Finalists([], [fast, slow], [])
    assert finalists.part == 0.93
    first = finalists.next()
    finalists.tell(first, 1.35)
    assert abs(finalists.part - 0.62) < 1e-9
    near = [finalists.has_near]
    finalists.add(middle, PlanGoal.LATENCY)
    assert [*near, finalists.has_near] == [False, True]
    assert finalists.next() is middle
    assert finalists.next() is slow


def test_where_there_is_time_the_next_one_is_only_a_little_milder() -> None:
    finalists = Finalists([], plans(0.95, 0.9, 0.7, 0.49, 0.4, 0.24, 0.1, 0.05, 0.01), [])
    finalists.patient = True
    first = finalists.next()
    finalists.tell(first, 4 * first.strain)
    assert abs(finalists.part - 0.93 / 2) < 1e-9
    assert finalists.next().strain == 0.49
    finalists.tell(plans(0.49)[0], 1.2)
    assert [finalists.next().strain for _ in range(5)] == [
        0.4,
        0.24,
        0.1,
        0.05,
        0.01,
    ]  # however many


def test_a_bolder_plan_may_lose_as_much_as_those_before_let_hope() -> None:
    (held,) = plans(0.4)
    assert bearable(held, 0.62, []) == pytest.approx(0.6)
    assert bearable(held, 0.001, []) == pytest.approx(3 * 0.4)  # no farther at once
    assert bearable(plans(0.0)[0], 0.62, []) == pytest.approx(0.3)  # samples say no less than 0.2
    steep = bearable(held, 0.465, [(0.8, 1.86)])  # four times as much for twice as much
    assert steep == pytest.approx(0.4 * 2**0.5)
    assert bearable(held, 0.465, [(1.6, 99.0), (0.8, 1.86), (0.3, 2.0)]) == pytest.approx(steep)

"""What plans promise, as those before them turned out."""

from __future__ import annotations

import pytest

from ocompress.auto import Chain, PlanGoal, PlanTrial, Step
from ocompress.auto.families import chosen_families
from ocompress.front.prospects import Prospects

CHANNELS, CHAINS = (
    next(f for f in chosen_families(PlanGoal.LATENCY) if f.item == item)
    for item in ("prune-channels", "factorize")
)


def plan(level: float, excess: float, family: object = CHANNELS) -> PlanTrial:
    assert family in (CHANNELS, CHAINS)
    chain = Chain.of([Step(CHANNELS if family == CHANNELS else CHAINS, level)])
    return PlanTrial(chain=chain, held=excess <= 1, strain=excess)


def chance(prospects: Prospects, trial: PlanTrial) -> float:
    return prospects.chance(trial.chain, trial.excess)


def test_before_anything_is_known_a_plan_is_taken_to_lose_what_it_lost() -> None:
    prospects = Prospects()
    assert chance(prospects, plan(0.5, 1.0)) == pytest.approx(0.5)
    chances = [chance(prospects, plan(0.5, e)) for e in (0.3, 0.6, 0.9, 1.2, 2.0)]
    assert chances == sorted(chances, reverse=True)
    assert chances[0] > 0.95
    assert chances[-1] < 0.2
    assert chance(prospects, plan(0.5, 0.0)) == chance(prospects, plan(0.5, 0.2))  # few samples


def test_one_plan_tells_of_all_and_most_of_those_like_it() -> None:
    prospects, told = Prospects(), plan(0.5, 0.8)
    before = chance(prospects, plan(0.5, 0.6))
    prospects.tell(told, 1.6)
    same, near, far, other = (
        chance(prospects, t)
        for t in (plan(0.5, 0.6), plan(0.55, 0.6), plan(0.9, 0.6), plan(0.5, 0.6, CHAINS))
    )
    assert same < near < far < before
    assert far == pytest.approx(other, abs=0.01)
    assert same < 0.3  # it lost twice as much, so 1.2 is expected
    prospects.tell(plan(0.9, 0.5), 0.5)
    assert chance(prospects, plan(0.9, 0.6)) > 0.8


def test_what_lost_less_than_expected_makes_hope_for_bolder_plans() -> None:
    prospects = Prospects()
    before = chance(prospects, plan(0.4, 1.3))
    prospects.tell(plan(0.5, 0.8), 0.4)
    assert before < 0.4
    assert chance(prospects, plan(0.5, 1.3)) > 0.8


def test_what_was_not_measured_tells_nothing() -> None:
    prospects = Prospects()
    prospects.tell(plan(0.5, 0.8), 0.0)
    assert chance(prospects, plan(0.5, 1.0)) == pytest.approx(0.5)


def test_a_promise_is_what_would_be_gained_times_the_chance_that_it_holds() -> None:
    prospects, trial = Prospects(), plan(0.5, 1.0)
    assert prospects.improvement(trial.chain, 1.0, 0.2) == pytest.approx(0.1)
    assert prospects.improvement(trial.chain, 1.0, -0.2) == 0.0

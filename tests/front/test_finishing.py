"""Which plans are carried out once one is known to hold."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ocompress.auto import Chain, PlanGoal, PlanTrial, Step
from ocompress.auto.families import chosen_families
from ocompress.front.carrying import Outcome
from ocompress.front.finishing import Finishing

LEVER = next(f for f in chosen_families(PlanGoal.LATENCY) if f.item == "prune-channels")


def plan(level: float, strain: float, latency: float, seconds: float = 5.0) -> PlanTrial:
    return PlanTrial(
        chain=Chain.of([Step(LEVER, level)]),
        held=strain <= 1,
        drop=strain / 100,
        strain=strain,
        latency=latency,
        size=1,
        seconds=seconds,
    )


def finish(
    trials: list[PlanTrial],
    outcomes: dict[float, Outcome],
    seconds: float,
    *,
    interrupted: bool = False,
) -> tuple[float, list[float]]:
    """Return the level of the plan that is written, and those that were carried out."""
    calls: list[float] = []

    class Carrier:
        time = seconds
        deadline = 0.0

        def spending(self, _: str) -> contextlib.AbstractContextManager[None]:
            return contextlib.nullcontext()

        def outcome(self, trial: PlanTrial, **_: Any) -> Outcome:
            level = trial.chain.steps[0].level
            assert level is not None
            calls.append(level)
            self.time -= outcomes[level].seconds
            return outcomes[level]

        def result(self, _: PlanTrial) -> Any:
            return SimpleNamespace(pipeline=SimpleNamespace(records=[]))

        def spare(self, _: PlanTrial) -> frozenset[str]:
            return frozenset()

    known = {str(t.chain): t for t in trials}
    search = SimpleNamespace(
        finalists=lambda: trials[:1], goal=PlanGoal.LATENCY, moved=lambda trial, _: trial.chain
    )
    laboratory = SimpleNamespace(
        trials=known,
        without=lambda trial, _: trial,
        evaluate=lambda chains: [known[str(c)] for c in chains],
    )
    given = cast("Any", Carrier()), cast("Any", search), cast("Any", laboratory)
    finishing = Finishing(*given, hurried=True, interrupted=interrupted)
    trial, _ = finishing.run()
    level = trial.chain.steps[0].level
    assert level is not None
    return level, calls


@pytest.mark.parametrize(
    ("seconds", "interrupted", "carried"),
    [
        (30.0, False, [0.7, 0.6]),
        (14.0, False, [0.7]),  # there is no time for another one
        (30.0, True, [0.7]),  # somebody waits
    ],
)
def test_after_a_search_that_ended_early_what_left_much_is_followed_by_a_bolder_plan(
    seconds: float, interrupted: bool, carried: list[float]
) -> None:
    trials = [plan(0.7, 0.8, 0.5), plan(0.6, 1.3, 0.4), plan(0.5, 3.0, 0.3)]
    outcomes = {0.7: Outcome(0.45, "", 0.5, 7.0), 0.6: Outcome(0.8, "", 0.4, 7.0)}
    assert finish(trials, outcomes, seconds, interrupted=interrupted) == (
        carried[-1],
        carried,
    )


def test_plans_that_lose_about_as_much_and_promise_more_are_carried_out() -> None:
    trials = [
        plan(0.7, 0.7, 0.5),
        plan(0.6, 0.75, 0.45),
        plan(0.55, 0.72, 0.47),
        plan(0.5, 0.9, 0.3),
    ]
    outcomes = {
        0.7: Outcome(0.88, "", 0.5, 7.0),
        0.6: Outcome(1.1, "too much is lost", 0.45, 7.0),
        0.55: Outcome(0.9, "", 0.47, 7.0),
    }
    assert finish(trials, outcomes, 100.0) == (0.55, [0.7, 0.6, 0.55])


def test_one_that_is_no_better_is_not_carried_out_again() -> None:
    trials = [plan(0.7, 0.7, 0.5), plan(0.6, 0.72, 0.45), plan(0.55, 0.71, 0.47)]
    same = Outcome(0.88, "", 0.5, 7.0)
    found, calls = finish(trials, dict.fromkeys((0.7, 0.6, 0.55), same), 100.0)
    assert (found, calls) == (0.7, [0.7, 0.6, 0.55])

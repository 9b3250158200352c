"""Which plans are carried out, and made for it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ocompress.auto import Chain, PlanGoal, PlanTrial, Step
from ocompress.auto.families import chosen_families
from ocompress.auto.ranking import Ranking
from ocompress.front.carrying import Outcome
from ocompress.front.finishing import Finishing

LEVER = next(f for f in chosen_families(PlanGoal.LATENCY) if f.item == "prune-channels")


LEVELS = (0.7, 0.6, 0.55, 0.52)


def plan(level: float, seconds: float = 5.0) -> PlanTrial:
    """Return a trial: at level .5 as much is lost as may be, the time follows the level."""
    strain = (0.5 / level) ** 4
    return PlanTrial(
        chain=Chain.of([Step(LEVER, level)]),
        held=strain <= 1,
        drop=strain / 100,
        strain=strain,
        latency=level,
        size=1,
        seconds=seconds,
    )


PLAIN = PlanTrial(chain=Chain(), held=True, drop=0.0, strain=0.0, latency=1.0, size=1)


class Finished:
    """What is carried out of some trials, if plans lose so many times what they lost as trials."""

    def __init__(
        self,
        trials: Sequence[PlanTrial],
        worse: float | Callable[[float], float],
        seconds: float = 1000.0,
        pace: float = 1.0,
        *,
        interrupted: bool = False,
        slower: float | Callable[[float], float] = 1.0,
        limits_find: float | Sequence[float] | None = None,
        goal: PlanGoal = PlanGoal.LATENCY,
        stored: tuple[float, float] | None = None,
    ) -> None:
        self.time, self.deadline = seconds, 0.0
        self.slower = slower if callable(slower) else lambda _: slower
        self.pace = pace
        self.worse = worse if callable(worse) else lambda _: worse
        self.calls: list[float] = []
        self.small: list[float] = []
        self.stored = stored or (1.0, 1.0)
        self.made: list[float] = []
        self.trials = {str(t.chain): t for t in [*trials, PLAIN]}
        search = SimpleNamespace(
            finalists=lambda: Ranking(list(self.trials.values()), PlanGoal.LATENCY).finalists(),
            favoured=lambda best, _: best,
            goal=goal,
            moved=self.moved,
            families=() if stored is None else chosen_families(goal),
            partners=SimpleNamespace(by_limits=self.by_limits),
        )
        laboratory = SimpleNamespace(
            trials=self.trials, without=lambda trial, _: trial, evaluate=self.evaluate
        )
        several = limits_find if isinstance(limits_find, Sequence) else [limits_find]
        self.limits_find, self.asked = [f for f in several if f is not None], 0
        given = cast("Any", self), cast("Any", search), cast("Any", laboratory)
        self.finishing = Finishing(*given, interrupted=interrupted)
        taken = self.finishing.run()[0]
        self.chosen, self.numbers = level(taken), taken.chain.numbers

    def moved(self, trial: PlanTrial, part: float) -> Chain:
        return Chain.of([Step(LEVER, round(level(trial) * part**-0.25, 3))])

    def by_limits(self, best: PlanTrial, _: object, trials: Sequence[PlanTrial]) -> list[Chain]:
        assert best in trials
        return [Chain.of([Step(LEVER, 0.9 - 0.01 * at)]) for at in range(len(self.limits_find))]

    def limited(self, _: Chain) -> Chain | None:
        found = self.limits_find[self.asked]
        self.asked += 1
        self.time -= 20.0
        return Chain.of([Step(LEVER, found)]) if found else None

    def evaluate(self, chains: Sequence[Chain]) -> list[PlanTrial]:
        found = [self._tried(c) for c in chains]
        self.made += [level(t) for t in found if t.chain.numbers is None]
        self.trials.update((str(t.chain), t) for t in found)
        return found

    def _tried(self, chain: Chain) -> PlanTrial:
        found = plan(chain.steps[0].level or 1.0)
        if chain.numbers is None:
            return found
        return replace(found, chain=chain, latency=(found.latency or 1.0) * self.stored[0])

    def spending(self, _: str) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def outcome(self, trial: PlanTrial, *, last: bool, below: float) -> Outcome:
        (self.calls if trial.chain.numbers is None else self.small).append(level(trial))
        self.time -= (spent := self.pace * trial.seconds)
        lost = trial.strain * self.worse(level(trial))
        value = (trial.latency or 1.0) * self.slower(level(trial))
        value *= self.stored[1] if trial.chain.numbers is not None else 1.0
        return Outcome(lost, "too much is lost" if lost > 1 else "", value, spent)

    def result(self, _: PlanTrial) -> Any:
        return SimpleNamespace(pipeline=SimpleNamespace(records=[]))

    def spare(self, _: PlanTrial) -> frozenset[str]:
        return frozenset()


def level(trial: PlanTrial) -> float:
    return trial.chain.steps[0].level or 1.0 if trial.chain.steps else 1.0


@pytest.mark.parametrize("worse", [0.4, 0.7, 1.0, 1.5, 2.5])
def test_what_is_found_loses_nearly_what_may_be_lost_however_plans_turn_out(worse: float) -> None:
    found = Finished([plan(x) for x in (0.7, 0.6, 0.52, 0.48)], worse)
    assert 0.6 <= plan(found.chosen).strain * worse <= 1.0 or found.chosen < 0.46
    assert len(found.calls) <= 9
    assert len(set(found.calls)) == len(found.calls)


def test_the_best_that_holds_is_taken_not_the_last() -> None:
    found = Finished([plan(x) for x in (0.7, 0.55, 0.5)], lambda x: 0.9 if x > 0.53 else 9.0)
    assert found.chosen == min(x for x in found.calls if x > 0.53)
    assert min(found.calls) < 0.53


@pytest.mark.parametrize(
    ("seconds", "pace", "calls"),
    [(3.0, 1.0, 1), (13.0, 1.0, 2), (23.0, 1.0, 3), (14.0, 0.4, 4), (9.0, 2.0, 1)],
)
def test_there_are_as_many_as_there_is_time_for(seconds: float, pace: float, calls: int) -> None:
    found = Finished([plan(x) for x in (0.7, 0.6, 0.55, 0.52)], 0.9, seconds, pace)
    assert len(found.calls) == calls


def test_somebody_who_waits_gets_the_first_that_holds() -> None:
    found = Finished([plan(0.6)], 0.3, interrupted=True)
    assert (found.calls, found.made) == ([0.6], [])


def test_plans_that_are_slower_than_they_were_do_not_make_others_promise_more() -> None:
    found = Finished([plan(0.7), plan(0.53)], 1.0, slower=1.3)
    usual = Finished([plan(0.7), plan(0.53)], 1.0)
    assert len(found.calls) <= len(usual.calls) + 1  # which tells the machine from the plan


@pytest.mark.parametrize(("factor", "milder"), [(1.0, False), (1.2, True)])
def test_beside_a_plan_that_is_slower_than_it_was_milder_ones_promise_something(
    factor: float, milder: bool
) -> None:
    found = Finished([plan(0.7), plan(0.53)], 1.2, slower=lambda x: factor if x == 0.53 else 1.0)
    assert found.calls[0] == 0.53
    assert any(x > 0.53 for x in found.calls[1:]) is milder


def test_when_the_time_is_over_a_few_milder_ones_come_before_the_model_as_it_is() -> None:
    trials = [plan(x) for x in (0.9, 0.8, 0.7, 0.6, 0.55, 0.52)]
    found = Finished(trials, lambda x: 1.05 / plan(x).strain, 1.0)
    assert found.chosen == 1.0
    assert found.calls[1:] == [0.8, 0.9, 1.0]  # samples hardly tell the two apart


def test_what_is_hopeless_is_not_carried_out() -> None:
    found = Finished([plan(x) for x in (0.56, 0.54, 0.53, 0.52)], 99.0)
    assert found.calls[-1] == found.chosen == 1.0
    assert len(found.calls) <= 4


def test_with_nothing_that_keeps_all_limits_the_nearest_is_written() -> None:
    found = Finished([], 1.0)
    found.trials.clear()
    found.calls.clear()
    over = PlanTrial(chain=Chain.of([Step(LEVER, 0.5)]), held=False, over="too many bytes")
    found.trials[str(over.chain)] = over
    trial, _ = found.finishing.run()
    assert trial is over


def test_levels_that_limits_find_are_carried_out_next_and_taken_if_they_are_better() -> None:
    trials, steep = [plan(0.7), plan(0.6)], lambda x: 3.0 if 0.45 < x < 0.59 else 0.1
    assert Finished(trials, steep).chosen == 0.6
    found = Finished(trials, steep, limits_find=0.4)
    assert (found.chosen, found.calls[:2], found.asked) == (0.4, [0.6, 0.4], 1)
    tried = ((0.65, steep), (0.607, steep), (0.0, steep), (0.5, steep), (0.4, lambda _: 0.9))
    for level, worse in tried:
        other = Finished(trials, worse, limits_find=level)
        assert other.asked == 1
        assert other.chosen not in (0.65, 0.607, 0.5)
        assert other.calls.count(level) == (level in (0.607, 0.5, 0.4))  # as about as fast


def test_limits_find_levels_of_several_structures_as_long_as_there_is_time() -> None:
    trials = [plan(0.6), plan(0.65)]

    def steep(level: float) -> float:
        return 0.1 if level >= 0.6 or level in (0.4, 0.35) else 3.0

    found = Finished(trials, steep, limits_find=[0.0, 0.4, 0.3, 0.35])
    assert (found.chosen, found.asked) == (0.35, 4)  # of them 0.3 loses too much
    assert Finished(trials, steep, limits_find=[0.4, 0.55]).chosen == 0.4
    short = Finished(trials, steep, limits_find=[0.0, 0.0, 0.35], seconds=75.0)
    assert (short.chosen, short.asked) == (0.6, 2)


@pytest.mark.parametrize(("times", "strain"), [(0.8, 0.9), (1.2, 0.9), (0.8, 1.6)])
def test_numbers_that_limits_found_are_tried_as_they_were_asked_for_too(
    times: float, strain: float
) -> None:
    """A clock that errs for a moment leaves all in float; integers may lose too much, though."""
    integers = Step(next(f for f in chosen_families(PlanGoal.LATENCY) if f.clocked))
    in_float = Step(integers.family.having({"in_float": ["*"]}))
    asked, found = (Chain.of([Step(LEVER, 0.5), step]) for step in (integers, in_float))
    finished = Finished([plan(0.6)], 0.1)

    def evaluate(chains: Sequence[Chain]) -> list[PlanTrial]:
        open_ = {c: c.numbers == integers for c in chains}
        return [
            replace(
                plan(0.5), chain=c, latency=0.5 * (times if o else 1.0), strain=strain if o else 1.0
            )
            for c, o in open_.items()
        ]

    finished.finishing.laboratory = cast("Any", SimpleNamespace(evaluate=evaluate))
    better = finished.finishing._better(found, asked)
    assert better is not None
    assert better.chain == (asked if times < 1 and strain < 1.5 else found)


def test_a_plan_that_became_another_model_says_nothing_of_the_machine() -> None:
    found = Finished(
        [plan(0.6), plan(0.65)],
        lambda level: 0.1 if level >= 0.6 or level == 0.57 else 3.0,
        slower=lambda level: 1.5 if level == 0.6 else 1.0,
        limits_find=0.57,
    )
    assert found.calls[0] == 0.6
    assert found.chosen == 0.57


@pytest.mark.parametrize("how", [{"seconds": 12.0}, {"interrupted": True}, {"goal": PlanGoal.SIZE}])
def test_limits_find_levels_only_where_there_is_time_and_time_is_the_goal(how: Any) -> None:
    found = Finished([plan(0.6)], lambda x: 3.0 if 0.45 < x < 0.59 else 0.1, limits_find=0.4, **how)
    assert (found.asked, found.chosen) == (0, 0.6)


@pytest.mark.parametrize(
    ("times", "taken", "tries"),
    [
        ((1.0, 1.0), True, 1),
        ((1.01, 1.005), True, 1),  # as fast, as far as a clock tells
        ((1.03, 1.0), False, 0),  # slower where plans are chosen
        ((1.0, 1.03), False, 1),  # or once it is carried out
    ],
)
def test_a_plan_in_float_stores_its_weights_in_few_bytes_if_that_is_as_fast(
    times: tuple[float, float], taken: bool, tries: int
) -> None:
    plain = Finished([plan(at) for at in LEVELS], 1.0)
    finished = Finished([plan(at) for at in LEVELS], 1.0, stored=times)
    assert finished.chosen == plain.chosen
    assert finished.calls == plain.calls
    assert (finished.numbers is not None and finished.numbers.family.name == "weights") is taken
    assert len(finished.small) == tries


@pytest.mark.parametrize("seconds", [15.0, 23.0, 33.0])
def test_time_is_kept_for_storing_weights(seconds: float) -> None:
    finished = Finished([plan(at) for at in LEVELS], 1.0, seconds, stored=(1.0, 1.0))
    assert finished.small
    assert finished.time >= 0


def test_bytes_are_no_afterthought_where_they_are_the_goal() -> None:
    finished = Finished([plan(at) for at in LEVELS], 1.0, goal=PlanGoal.SIZE, stored=(1.0, 1.0))
    assert not finished.small

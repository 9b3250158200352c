"""Interleaving, with a clock that only moves when a model runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ocompress.profiling.latency import WallTimes, interleave


class FakeMachine:
    """Counts the order of runs; each takes a given time."""

    def __init__(self, *durations: float) -> None:
        self.now = 0.0
        self.order: list[int] = []
        self.calls = [self._call(i, d) for i, d in enumerate(durations)]

    def _call(self, index: int, duration: float) -> Callable[[], None]:
        def call() -> None:
            self.order.append(index)
            self.now += duration

        return call

    def interleave(
        self, seconds: float = 1.0, runs: int | None = None, seed: int = 0, beaten: Any = None
    ) -> list[WallTimes]:
        return interleave(
            self.calls,
            seconds=seconds,
            warmup=2,
            runs=runs,
            clock=lambda: self.now,
            beaten=beaten,
        )


def test_times_belong_to_their_model() -> None:
    fast, slow = FakeMachine(0.02, 0.05).interleave()
    assert fast.runs == pytest.approx(20.0)
    assert slow.runs == pytest.approx(50.0)
    assert len(fast.turns) == len(slow.turns) == int(2.0 / 0.07)


def test_every_block_has_a_turn_of_each_in_random_order() -> None:
    machine = FakeMachine(0.02, 0.02, 0.02)
    machine.interleave(runs=50)
    blocks = [tuple(machine.order[i : i + 3]) for i in range(6, len(machine.order), 3)]
    assert all(sorted(b) == [0, 1, 2] for b in blocks)
    assert len(set(blocks)) > 3
    again = FakeMachine(0.02, 0.02, 0.02)
    again.interleave(runs=50)
    assert again.order == machine.order


def test_short_runs_come_in_bursts_whose_first_is_not_counted() -> None:
    machine = FakeMachine(0.001)
    (times,) = machine.interleave(seconds=0.5)
    burst = len(times.runs) // len(times.turns)
    assert burst > 5
    assert len(machine.order) == 2 + len(times.turns) * (burst + 1)


@pytest.mark.parametrize("seconds", [0.02, 0.05, 0.2])
def test_turns_take_no_longer_than_all_of_them_may(seconds: float) -> None:
    """Five turns of ten milliseconds are more than there is, where a candidate gets twenty."""
    machine = FakeMachine(0.0001, 0.0002)
    each = machine.interleave(seconds=seconds)
    assert all(len(times.turns) >= 5 for times in each)
    assert 0.5 * 2 * seconds < machine.now < 1.3 * 2 * seconds + 0.01  # the last is to warm up


def test_long_runs_are_made_five_times() -> None:
    (times,) = FakeMachine(10.0).interleave(seconds=1.0)
    assert len(times.runs) == 5


@pytest.mark.parametrize("runs", [1, 3, 7, 100])
def test_runs_rule_over_seconds(runs: int) -> None:
    (times,) = FakeMachine(0.0001).interleave(runs=runs)
    assert len(times.runs) == runs


def test_a_call_that_takes_no_time() -> None:
    (times,) = FakeMachine(0.0).interleave(seconds=0.1)
    assert times.runs.max() == 0.0


def test_a_machine_that_gets_busy_does_not_take_longer() -> None:
    machine = FakeMachine(0.02)

    def call() -> None:
        machine.now += 0.02 if machine.now < 0.1 else 0.2

    (times,) = interleave([call], seconds=2.0, clock=lambda: machine.now)
    assert machine.now < 2.5
    assert len(times.runs) >= 5


def test_what_has_lost_takes_no_more_turns() -> None:
    def beaten(times: list[float]) -> list[int]:
        return [at for at, one in enumerate(times) if one > 1.5 * min(times)]

    quick, slow, near = FakeMachine(0.02, 0.05, 0.025).interleave(beaten=beaten)
    assert len(slow.turns) == 2
    assert slow.runs == pytest.approx(50.0)
    assert len(quick.turns) == len(near.turns) > 20

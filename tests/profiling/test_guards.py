"""The guards on latency and size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

import ocompress.profiling.latency_guard as latency_guard
from ocompress.analysis.cost import count
from ocompress.front import Budget
from ocompress.front.judging import too_slow
from ocompress.ir.inference import infer_types
from ocompress.profiling import (
    LatencyGuard,
    LayerClock,
    ModelProfile,
    ProfileResult,
    Ratio,
    SizeGuard,
)
from ocompress.profiling.environment import environment
from ocompress.profiling.latency import WallTimes
from ocompress.profiling.statistics import summarize
from tests.profiling.nets import mlp

FEEDS = {"x": np.ones((2, 4), np.float32)}
CANDIDATE, BEST, REFERENCE = 0, 1, 2


class Fake:
    """Stands for the machine: gives each model a median, look by look."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *looks: tuple[float, ...]) -> None:
        self.looks = list(looks)
        self.seconds: list[float] = []
        self.noise = [0.02] * len(looks)
        monkeypatch.setattr(latency_guard, "interleave", self)

    def __call__(self, calls: Sequence[Any], *, seconds: float, seed: int) -> list[WallTimes]:
        medians, noise = self.looks[len(self.seconds)], self.noise[len(self.seconds)]
        self.seconds.append(seconds)
        self.timed = len(calls)
        for call in calls:
            call()
        rng = np.random.default_rng(seed)
        turns = [m * (1 + noise * rng.standard_normal(50)) for m in medians]
        return [WallTimes(t, t) for t in turns]


def guard(**given: Any) -> LatencyGuard:
    return LatencyGuard(mlp(), FEEDS, seconds=0.1, **given)


def test_equal_models_hold_at_the_first_look(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Fake(monkeypatch, (1.0, 1.0, 1.0))
    verdict = guard().judge(mlp(), mlp())
    assert verdict.held
    assert machine.seconds == [0.1]
    assert "not clearly above the 1 allowed" in verdict.message


def test_a_slower_model_is_refused_after_two_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Fake(monkeypatch, (1.2, 1.0, 1.0), (1.2, 1.0, 1.0))
    verdict = guard().judge(mlp(), mlp())
    assert not verdict.held
    assert machine.seconds == pytest.approx([0.1, 0.3])
    assert verdict.figures["ratio"] == pytest.approx(1.2, rel=0.02)
    assert "the best so far" in verdict.message


def test_an_unclear_first_look_calls_for_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Fake(monkeypatch, (1.4, 1.0, 1.0), (1.2, 1.0, 1.0))
    machine.noise[0] = 0.8
    assert not guard().judge(mlp(), mlp()).held
    assert len(machine.seconds) == 2


def test_a_model_that_stands_for_two_is_timed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    original = mlp()
    for order in ((1.2, 1.0), (1.0, 1.2)):  # the second look loads them the other way round
        machine = Fake(monkeypatch, order, order)
        verdict = LatencyGuard(original, FEEDS, seconds=0.1).judge(mlp(), original)
        assert machine.timed == 2
        ratio = order[0] / order[1]
        assert verdict.held is (ratio < 1)
        for name in ("ratio", "ratio_to_original"):
            assert verdict.figures[name] == pytest.approx(ratio, rel=0.02)


def test_a_slow_first_look_is_not_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    Fake(monkeypatch, (1.2, 1.0, 1.0), (1.0, 1.0, 1.0))
    assert guard().judge(mlp(), mlp()).held


def test_within_the_margin_counts_as_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    Fake(monkeypatch, (1.04, 1.0, 1.0))
    assert guard().judge(mlp(), mlp()).held
    Fake(monkeypatch, (1.04, 1.0, 1.0), (1.04, 1.0, 1.0))
    assert not guard(margin=0.0).judge(mlp(), mlp()).held


def test_small_losses_do_not_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    Fake(monkeypatch, (1.2, 1.19, 1.0), (1.2, 1.19, 1.0))
    verdict = guard().judge(mlp(), mlp())
    assert not verdict.held
    assert "the original" in verdict.message


def test_a_higher_ratio_may_be_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    Fake(monkeypatch, (1.2, 1.0, 1.0))
    assert guard(max_ratio=1.25).judge(mlp(), mlp()).held


def test_a_pass_that_comes_nearer_to_a_goal_is_not_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    Fake(monkeypatch, (0.8, 1.0, 1.0))
    verdict = guard(max_ratio=0.5).judge(mlp(), mlp())
    assert verdict.held
    assert verdict.figures["limit"] == 0.5
    assert verdict.figures["low_to_original"] > 0.7
    Fake(monkeypatch, (1.2, 1.0, 1.0), (1.2, 1.0, 1.0))
    assert not guard(max_ratio=0.5).judge(mlp(), mlp()).held


def test_models_really_run() -> None:
    verdict = LatencyGuard(mlp(), FEEDS, max_ratio=1000, seconds=0.01).judge(mlp(), mlp())
    assert verdict.held
    assert verdict.figures["ratio"] > 0


def test_layers_are_timed_in_milliseconds() -> None:
    small, large = LayerClock(FEEDS).layer_times([mlp(), mlp(100_000)])
    assert {"hidden", "y"} <= large.keys()
    assert 0 < small["y"] < large["y"] / 10
    assert 0.01 < large["y"] < 1000  # 600,000 multiply-accumulates take no second and no time


def test_a_model_that_does_not_run_is_refused() -> None:
    broken = mlp()
    broken.graph.nodes[1].op_type = "NoSuchOperator"
    verdict = guard().judge(broken, mlp())
    assert not verdict.held
    assert "cannot be timed" in verdict.message


def test_size_is_that_of_the_serialized_model() -> None:
    small, large = mlp(8), mlp(800)
    ratio = SizeGuard(large).judge(small, large).figures["ratio"]
    assert 0.01 < ratio < 0.1
    assert SizeGuard(large, ratio * 1.001).judge(small, large).held
    assert not SizeGuard(large, ratio * 0.999).judge(small, mlp(1)).held
    assert not SizeGuard(small).judge(large, small).held
    assert SizeGuard(small).judge(small.clone(), large).held


def test_types_that_the_file_will_not_hold_take_no_room() -> None:
    original = mlp()
    for _, node in original.nodes():
        for made in node.outputs:
            if made is not None and not made.is_output:
                made.set_type(None, None)
    candidate = original.clone()
    assert infer_types(candidate)
    assert SizeGuard(original).judge(candidate, original).figures["ratio"] == 1


def test_a_pass_is_not_blamed_for_what_came_before_it() -> None:
    original, best, larger = mlp(8), mlp(80), mlp(800)
    assert SizeGuard(original).judge(best.clone(), best).held
    assert not SizeGuard(original).judge(larger, best).held


def test_a_model_that_was_just_judged_is_not_timed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Fake(monkeypatch, (0.9, 1.0, 1.0), (0.8, 1.0, 1.0))
    judge = guard()
    first = judge.judge(mlp(), mlp(9))
    assert judge.judge(mlp(), mlp(9)) is first
    assert judge.judge(mlp(9), mlp(9)).figures["ratio"] < 0.85
    assert len(machine.seconds) == 2


@pytest.mark.parametrize("low", [1.02, 1.04, 1.049, 1.051, 1.2])
def test_guards_and_the_final_judgement_have_one_tolerance(
    monkeypatch: pytest.MonkeyPatch, low: float
) -> None:
    monkeypatch.setattr(latency_guard, "ratio_of_medians", lambda *_: Ratio(low, low, low + 0.01))
    look = (1.0, 1.0, 1.0)
    Fake(monkeypatch, look, look)
    held = guard().judge(mlp(), mlp()).held
    model = ModelProfile(summarize(np.ones(5)), count(mlp()), 1)
    made = ProfileResult(model, (), environment(1), model, Ratio(low, low, low + 0.01))
    assert held == (not too_slow(Budget(), made))
    assert held == (low < 1.05)

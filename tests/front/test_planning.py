"""Plans from data to a file, on a small net."""

from __future__ import annotations

import gc
import os
import time
import weakref
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import ocompress
from ocompress import stopping
from ocompress.auto import (
    FAMILIES,
    TUNING,
    Chain,
    Made,
    Plan,
    PlanGoal,
    PlanSearch,
    PlanTrial,
    Step,
    Workshop,
    laboratory,
)
from ocompress.errors import UsageError
from ocompress.front import (
    Budget,
    Planning,
    Request,
    carrying,
    choosing,
    find_plan,
    finishing,
    measuring,
    optimize_planned,
    planning,
)
from ocompress.front.job import attempt
from ocompress.io import Dataset, as_dataset
from ocompress.ir import Model, fingerprint
from ocompress.pipeline import Context, Outcome, Pass, Pipeline
from ocompress.profiling import Ratio
from ocompress.report import Optimization
from tests.build import Builder

DATA = np.random.default_rng(1).standard_normal((240, 32)).astype(np.float32)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep what plans remember in a folder of the test."""
    monkeypatch.setenv("OCOMPRESS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def net() -> Model:
    """Return an MLP of which half the hidden channels say next to nothing."""
    b = Builder(seed=3)
    x = b.input("x", ["n", 32])
    first = b.rng.standard_normal((32, 64)).astype(np.float32)
    first[:, 24:] *= 0.01
    hidden = b.op("Relu", b.op("Gemm", x, b.const(first), b.weight(64)))
    b.op("Gemm", hidden, b.weight(64, 10, scale=0.5), b.weight(10), to="y")
    b.output("y", ["n", 10])
    return b.model()


def smooth() -> Model:
    """Return an MLP of which every hidden channel says a little less than the one before."""
    b = Builder(seed=3)
    x = b.input("x", ["n", 32])
    first = b.rng.standard_normal((32, 512)).astype(np.float32) * 0.99 ** np.arange(512)
    hidden = b.op("Relu", b.op("Gemm", x, b.const(first.astype(np.float32)), b.weight(512)))
    b.op("Gemm", hidden, b.weight(512, 10, scale=0.5), b.weight(10), to="y")
    b.output("y", ["n", 10])
    return b.model()


def planned(
    tmp_path: Path | None = None,
    model: Model | None = None,
    max_drop: float = 0.05,
    **more: Any,
) -> Optimization:
    settings: dict[str, Any] = {"families": ("channels", "int8"), "seconds": 60.0} | more
    request = Request(data=DATA, target="portable", budget=Budget(max_drop=max_drop))
    output = None if tmp_path is None else tmp_path / "out.onnx"
    return optimize_planned(request, Planning(**settings), model or net(), output)


def test_a_plan_is_found_and_its_recipe_gives_the_same_bytes(tmp_path: Path) -> None:
    done = planned(tmp_path)
    assert done.held
    plan = done.plan
    assert isinstance(plan, Plan)
    assert "prune-channels{max_time=" in str(plan.chosen.chain)
    assert (plan.chosen.latency or 1) < 1  # predicted, as nothing is timed for another target
    (tmp_path / "plan.toml").write_text(plan.recipe())
    again = ocompress.optimize(
        net(), tmp_path / "b.onnx", recipe=tmp_path / "plan.toml", data=DATA, target="portable"
    )
    assert (tmp_path / "b.onnx").read_bytes() == (tmp_path / "out.onnx").read_bytes()
    assert again.held
    document = done.to_json()["plan"]
    assert document["front"]
    assert len(document["trials"]) == len(plan.trials)


def test_the_same_plan_is_found_again_without_a_clock() -> None:
    request = Request(data=DATA, target="portable", budget=Budget(max_drop=0.05))
    how = Planning(families=("channels", "int8"))
    first, second = (find_plan(request, how, net()) for _ in range(2))
    assert first.recipe() == second.recipe()
    assert [str(t.chain) for t in first.trials] == [str(t.chain) for t in second.trials]


def test_the_same_job_again_runs_its_last_step_only(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = planned()
    files = list((cache / "plans").glob("*.json"))
    assert first.plan is not None
    assert len(files) == sum(t.drop is not None for t in first.plan.trials) + 2  # and the end
    monkeypatch.setattr(Workshop, "_measure", None)  # nothing is measured again
    second = planned()
    assert second.plan is not None
    assert second.plan.recipe() == first.plan.recipe()
    files[0].write_text("{")  # a damaged file is as none
    monkeypatch.undo()
    monkeypatch.setenv("OCOMPRESS_CACHE", str(cache))
    assert planned().plan is not None


def test_trials_are_chosen_on_samples_that_judges_do_not_see(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[np.ndarray] = []
    original = Workshop

    def watched(**settings: Any) -> Workshop:
        seen.append(np.concatenate([f["x"] for f in settings["data"]]))
        return original(**settings)

    monkeypatch.setattr(choosing, "Workshop", watched)
    done = planned()
    rows = {row.tobytes() for row in seen[0]}
    total = as_dataset(DATA, net()).samples
    assert len(rows) + done.validation.samples < total - 30  # the rest is what plans are chosen on


def test_a_result_that_does_not_hold_gives_way_to_a_milder_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real, calls = attempt, list[str]()

    def tried(*given: Any, **more: Any) -> Any:
        done = real(*given, **more)
        calls.append(str(given[1].passes))
        return done if len(calls) > 1 else _broken(done)

    monkeypatch.setattr(carrying, "attempt", tried)
    done = planned()
    assert done.held
    assert len(calls) == 2
    assert done.plan is not None
    assert [str(t.chain.pipeline()) for t in done.plan.passed_over] == calls[:1]
    assert any(
        "did not hold once carried out (more was lost)" in sentence for sentence in done.remarks
    )
    first = done.plan.passed_over[0]
    assert done.plan.why_passed_over(first) == "more was lost"
    assert done.plan.why_passed_over(done.plan.chosen) == ""


@pytest.mark.parametrize("seconds", [60.0, 0.0])
def test_a_plan_that_loses_more_than_expected_comes_again_milder(
    seconds: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = attempt, list[str]()
    known = set[str]()

    def searched(session: Any, pool: Any) -> None:
        search(session, pool)
        known.update(session.laboratory.trials)
        session._start = time.monotonic() - session.planning.seconds + seconds

    def tried(*given: Any, **more: Any) -> Any:
        calls.append(str(given[1].passes))
        done = real(*given, **more)
        return done if len(calls) > 1 else _broken(done)

    search = planning._Session.search
    monkeypatch.setattr(planning._Session, "search", searched)
    monkeypatch.setattr(carrying, "attempt", tried)
    monkeypatch.setattr(carrying, "exceeding", lambda _: 3.0)
    done = planned(model=smooth(), max_drop=0.04, families=("channels",))
    assert done.held
    assert done.plan is not None
    assert (str(done.plan.chosen.chain) not in known) is bool(seconds)
    (first,) = done.plan.passed_over
    assert first.strain > 0.6
    assert done.plan.chosen.strain * 3.0 <= first.strain


@pytest.mark.parametrize("holds", [True, False])
def test_where_much_is_left_of_what_may_be_lost_bolder_plans_are_tried(
    holds: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = attempt, list[str]()

    def tried(*given: Any, **more: Any) -> Any:
        calls.append(str(given[1].passes))
        if len(calls) == 1 or holds:
            return real(*given, **more)
        return _broken(real(*given, **more | {"wanted": lambda _: False}))

    monkeypatch.setattr(carrying, "attempt", tried)
    monkeypatch.setattr(carrying, "exceeding", lambda _: 0.3 if len(calls) < 2 else 0.9)
    how: dict[str, Any] = {"families": ("channels",), "goal": PlanGoal.SIZE, "model": smooth()}
    done = planned(tmp_path, **how)
    assert done.plan is not None
    assert done.held
    first, *others = calls
    assert others
    assert (str(done.plan.pipeline) == first) is not holds
    written = (tmp_path / "out.onnx").read_bytes()
    assert len(written) == done.bytes[1]
    assert [t.why for t in done.plan.passed_over] == ["more was lost"] * (
        0 if holds else len(others)
    )
    assert min(others) < first  # a lower level
    calls.clear()
    again = planned(tmp_path, **how)  # what is known to hold or not is not found out again
    assert calls == [str(done.plan.pipeline)]
    assert again.plan is not None
    assert again.plan.recipe() == done.plan.recipe()
    assert (tmp_path / "out.onnx").read_bytes() == written


def test_a_bolder_plan_that_is_no_better_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values: list[int] = []

    def measured(done: Any) -> dict[str, Any]:
        return {"bytes": values[0] if values else done.bytes[1]}

    real = attempt

    def tried(*given: Any, **more: Any) -> Any:
        done = real(*given, **more)
        values[:] = values or [done.bytes[1]]
        return done

    monkeypatch.setattr(carrying, "attempt", tried)
    monkeypatch.setattr(carrying, "measured", measured)
    monkeypatch.setattr(carrying, "exceeding", lambda _: 0.3)
    done = planned(tmp_path, model=smooth(), families=("channels",), goal=PlanGoal.SIZE)
    assert done.plan is not None
    assert (tmp_path / "out.onnx").stat().st_size == done.bytes[1] == values[0]
    assert not done.plan.passed_over  # it held


def test_no_plan_is_carried_out_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = attempt, list[str]()

    def tried(*given: Any, **more: Any) -> Any:
        calls.append(str(given[1].passes))
        return _broken(real(*given, **more))

    monkeypatch.setattr(carrying, "attempt", tried)
    monkeypatch.setattr(carrying, "exceeding", lambda _: 1.2)
    for families in (("weights", "int8"), ("channels",)):
        calls.clear()
        planned(model=smooth(), families=families)
        assert len(calls) > 1
        assert len(set(calls)) == len(calls)


@pytest.mark.parametrize("low", [1.02, 0.99])
def test_a_plan_for_the_latency_that_is_slower_gives_way(
    low: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = attempt, list[str]()

    def tried(*given: Any, **more: Any) -> Any:
        done = real(*given, **more)
        calls.append(str(given[1].passes))
        profile: Any = SimpleNamespace(ratio=Ratio(1.04, low, 1.06), against=None)
        return replace(done, profile=profile)

    monkeypatch.setattr(carrying, "attempt", tried)
    monkeypatch.setattr(finishing.Finishing, "_promising", lambda *_: None)  # nothing follows
    monkeypatch.setattr(carrying.Carrier, "limited", lambda *_: None)
    done = planned()
    assert done.plan is not None
    if low < 1:
        assert len(calls) == 1  # about as fast
        assert not done.plan.passed_over
    else:
        assert len(calls) > 1
        assert calls[-1] == "canonicalize"
        assert "takes 1.04 times" in done.plan.passed_over[0].why


def _broken(done: Any) -> Any:
    return replace(done, broken=("more was lost",))


def test_where_nothing_pays_the_model_is_put_in_order() -> None:
    b = Builder()
    x = b.input("x", ["n", 4])
    b.op("Relu", x, to="y")
    b.output("y", ["n", 4])
    request = Request(data=DATA[:, :4], target="portable")
    done = optimize_planned(request, Planning(), b.model(), None)
    assert done.held
    assert any("nothing pays" in sentence for sentence in done.remarks)
    assert str(done.plan and done.plan.pipeline) == "canonicalize"


@pytest.mark.parametrize(
    ("family", "max_drop", "times"),
    [("channels", 0.2, 0), ("channels", 0.001, 1), ("int8", 1e-5, 1)],
)
def test_samples_that_can_show_nothing_are_the_reason(
    family: str, max_drop: float, times: int
) -> None:
    done = planned(max_drop=max_drop, families=(family,))
    assert done.plan is not None
    assert bool(done.plan.chosen.chain.steps) is (family == "channels")
    assert sum("held-out samples cannot show" in text for text in done.remarks) == times


@pytest.mark.parametrize("program", [True, False])
def test_an_interruption_keeps_the_best_so_far(
    program: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Workshop._measure
    count = []

    def measure(*given: Any) -> Any:
        count.append(1)
        if len(count) == 3:
            if not program:
                raise KeyboardInterrupt
            assert stopping.ask_for_early_end()
        return real(*given)

    monkeypatch.setattr(Workshop, "_measure", measure)
    done = planned()
    assert done.held
    assert len(count) == 3
    assert any("interrupted" in sentence for sentence in done.remarks)
    assert not stopping.ask_for_early_end()  # carrying it out can be interrupted as anything


def test_no_time_is_enough_for_the_model_as_it_is() -> None:
    begun = time.monotonic()
    done = planned(seconds=1e-3)
    assert time.monotonic() - begun < 30
    assert done.held
    (said,) = [sentence for sentence in done.remarks if "ended early" in sentence]
    assert "no plan was tried to its end" in said
    assert "more --time" in said
    assert not any("nothing pays" in sentence for sentence in done.remarks)  # who knows


@pytest.mark.parametrize("goal", [PlanGoal.SIZE, PlanGoal.ARCHIVE])
def test_bytes_are_what_a_plan_for_them_makes_few(
    goal: PlanGoal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "_QUICK", 0)
    monkeypatch.setattr(measuring, "can_compile", lambda: False)
    request = Request(data=DATA, target="portable", budget=Budget(max_drop=0.05))
    plan = find_plan(request, Planning(goal=goal, families=("cluster", "pack")), net())
    plain = plan.trials[0]
    assert "cluster" in str(plan.chosen.chain)
    assert plan.chosen.value(goal) < 0.6 * plain.value(goal)


def test_limits_that_nothing_keeps_are_broken_by_the_nearest(tmp_path: Path) -> None:
    request = Request(data=DATA, target="portable", budget=Budget(max_drop=0.05, max_bytes=100))
    planned = Planning(families=("int8",), goal=PlanGoal.SIZE)
    done = optimize_planned(request, planned, net(), tmp_path / "out.onnx")
    assert not done.held
    assert "more than the 100 B allowed" in done.broken[-1]
    assert done.plan is not None
    assert done.plan.chosen.chain.numbers is not None


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"passes": "quant", "data": DATA}, "leave out --passes"),
        ({"synthetic": 4}, "needs data to measure what is lost, which random numbers do not show"),
        ({}, "needs data to measure what is lost"),
    ],
)
def test_what_no_plan_can_do_is_said(more: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        optimize_planned(Request(**more), Planning(), net(), None)


def test_from_python() -> None:
    done = ocompress.optimize(
        net(), auto=True, families=["channels"], data=DATA, target="portable", max_drop=0.05
    )
    assert done.plan is not None
    assert isinstance(done.plan.pipeline, Pipeline)
    with pytest.raises(UsageError, match="goal is for plans"):
        ocompress.optimize(net(), passes="quant", goal="size", data=DATA)
    with pytest.raises(UsageError, match="goal 'speed' is none of latency"):
        ocompress.optimize(net(), auto=True, goal="speed", data=DATA)
    assert fingerprint(done.model) != fingerprint(net())


def test_steps_and_other_models_stand_beside_a_plan() -> None:
    other = Builder(seed=5)
    x = other.input("x", ["n", 32])
    other.op("Gemm", x, other.weight(32, 10), other.weight(10), to="y")
    other.output("y", ["n", 10])
    wrong = Builder(seed=5)
    wrong.op("Relu", wrong.input("x", ["n", 31]), to="y")
    wrong.output("y", ["n", 31])
    plan = planned(compare=(net(), other.model(), wrong.model())).plan
    assert plan is not None
    assert plan.steps[-1] is plan.chosen
    assert [len(t.chain.steps) for t in plan.steps] == list(range(len(plan.steps)))
    assert plan.limit == pytest.approx(0.025)  # half is a reserve
    same, worse, broken = plan.peers
    assert (same.drop, same.held) == (0.0, True)
    assert worse.drop is not None
    assert worse.drop > 0.1
    assert "more than" in worse.why
    assert (broken.drop, broken.held) == (None, False)
    assert "no longer runs" in broken.why


def test_models_to_compare_with_are_for_plans() -> None:
    with pytest.raises(UsageError, match="compare is for plans"):
        ocompress.optimize(net(), passes="prune", compare=[net()])


def test_a_plan_may_end_with_training(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    short = replace(TUNING, options={"epochs": 3})
    monkeypatch.setattr(planning, "TUNING", short)
    done = planned(tune=True, families=("channels",))
    assert done.held
    assert done.plan is not None
    tuned = [t for t in done.plan.trials if "tune" in str(t.chain)]
    assert tuned
    assert all("tune{epochs=3}" in str(t.chain) for t in tuned)
    assert any(t.drop is not None and "tune" not in t.idle for t in tuned)


def test_what_a_plan_trains_is_chosen_by_samples_that_no_pass_saw(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Nor those that made a beginning of the chain for another one."""
    pytest.importorskip("torch")
    monkeypatch.setattr(planning, "TUNING", replace(TUNING, options={"epochs": 1}))
    behind: dict[str, set[bytes]] = {}  # by model, what those were fitted to that made it
    asked: list[int] = []
    run_one = Context.run_one

    def rows(data: Dataset) -> set[bytes]:
        return {np.asarray(row).tobytes() for feed in data for row in feed["x"]}

    def noted(ctx: Context, item: Pass, model: Model) -> Outcome:
        seen = behind.get(fingerprint(model), set())
        parts = ctx.lessons
        if item.name == "tune":
            assert not rows(parts.held_out) & (seen | rows(parts.fit))
            asked.append(len(seen))
        done = run_one(ctx, item, model)
        if done and item.needs_data | (item.name == "prune-channels"):
            behind[fingerprint(model)] = seen | rows(ctx.data)
        return done

    monkeypatch.setattr(Context, "run_one", noted)
    planned(tune=True, families=("channels",))
    assert max(asked) > 0


def test_training_without_its_package_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(UsageError, match=r"--tune needs the package 'torch'.*ocompress\[tune\]"):
        ocompress.optimize(net(), auto=True, tune=True, data=DATA)
    with pytest.raises(UsageError, match="tune is for plans; give auto=True"):
        ocompress.optimize(net(), passes="quant", tune=True, data=DATA)


def test_what_a_pass_did_nothing_for_is_known_without_it() -> None:
    plan = planned(families=("heads", "cluster", "pack"), goal=PlanGoal.SIZE).plan
    assert plan is not None
    known = {str(t.chain): t for t in plan.trials}
    idle = [t for t in plan.trials if t.idle]
    assert any(len(t.chain.steps) > 1 for t in idle)
    for trial in idle:
        twin = known[str(trial.shorter)]
        assert not twin.idle
        assert (twin.latency, twin.size, twin.drop) == (trial.latency, trial.size, trial.drop)
    assert not any(t.idle for t in plan.front)


def test_a_pass_that_does_nothing_on_all_samples_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = PlanSearch.finalists
    heads = next(f for f in FAMILIES if f.name == "heads")

    def finalists(self: PlanSearch) -> list[PlanTrial]:
        trials = [replace(t, chain=t.chain.having(Step(heads, 0.5))) for t in real(self)]
        self.laboratory.trials.update((str(t.chain), t) for t in trials)
        return trials

    monkeypatch.setattr(PlanSearch, "finalists", finalists)
    done = planned(tmp_path)
    plan = done.plan
    assert plan is not None
    assert not done.idle
    assert [r.text for r in done.pipeline.records] == str(plan.pipeline).split(",")
    assert done.settings["passes"] == str(plan.pipeline)
    assert plan.chosen in plan.trials
    assert not any(r.source == "prune-heads" for r in done.pipeline.diagnostics)
    (tmp_path / "plan.toml").write_text(plan.recipe())
    recipe = tmp_path / "plan.toml"
    ocompress.optimize(net(), tmp_path / "b.onnx", recipe=recipe, data=DATA, target="portable")
    assert (tmp_path / "b.onnx").read_bytes() == (tmp_path / "out.onnx").read_bytes()


def test_no_plan_that_is_carried_out_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*args: Any, **kwargs: Any) -> Optimization:
        done = attempt(*args, **kwargs)
        return done if kwargs["last"] else replace(done, broken=("it loses too much",))

    monkeypatch.setattr(carrying, "attempt", refused)
    done = planned()
    assert done.plan is not None
    assert not done.plan.chosen.chain.steps
    said = " ".join(done.remarks)
    assert "that were carried out did what was asked" in said
    assert "nothing pays" not in said


def test_what_a_search_held_goes_before_its_plan_is_carried_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    built, left = Workshop.build, list[bool]()
    searched: list[weakref.ref[Workshop]] = []

    def build(self: Workshop, chain: Chain) -> Made:
        searched.append(weakref.ref(self))
        return built(self, chain)

    def tried(*args: Any, **kwargs: Any) -> Optimization:
        gc.collect()
        left.append(any(shop() is not None for shop in searched))
        return attempt(*args, **kwargs)

    monkeypatch.setattr(Workshop, "build", build)
    monkeypatch.setattr(carrying, "attempt", tried)
    assert planned().plan is not None
    assert searched
    assert not left[0]


class Ticks:
    """A clock that goes on by a second whenever somebody looks at it."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        self.now += 1.0
        return self.now


@pytest.mark.parametrize(("least", "each"), [(40, 2.0), (90, 30.0)])
def test_a_search_whose_time_was_over_goes_on_only_with_more(
    least: float, each: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planning, "reserve", lambda _: each)  # what is kept for a plan

    def found(seconds: float) -> Plan:
        clock = Ticks()
        monkeypatch.setattr(planning, "time", clock)
        monkeypatch.setattr(laboratory, "time", clock)
        plan = planned(seconds=seconds).plan
        assert plan is not None
        return plan

    first = found(least)
    assert first.ended
    with monkeypatch.context() as patch:
        patch.setattr(Workshop, "_measure", None)  # nothing is measured
        again = found(least)
    assert [str(t.chain) for t in again.trials] == [str(t.chain) for t in first.trials]
    assert again.recipe() == first.recipe()
    assert len(found(1500).trials) > len(first.trials)


def test_another_limit_judges_known_trials_again(monkeypatch: pytest.MonkeyPatch) -> None:
    def found(limit: float) -> Plan:
        request = Request(data=DATA, target="portable", budget=Budget(max_drop=limit))
        return find_plan(request, Planning(families=("channels",)), net())

    fresh = found(0.02)
    monkeypatch.setenv("OCOMPRESS_CACHE", str(Path(os.environ["OCOMPRESS_CACHE"]) / "other"))
    first, measured = found(0.05), list[str]()
    real = Workshop._measure

    def measure(self: Workshop, chain: Chain, model: Model) -> PlanTrial:
        measured.append(str(chain))
        return real(self, chain, model)

    monkeypatch.setattr(Workshop, "_measure", measure)
    again = found(0.02)
    assert [t.to_json() | {"seconds": 0} for t in again.trials] == [
        t.to_json() | {"seconds": 0} for t in fresh.trials
    ]
    both = {str(t.chain) for t in first.trials} & {str(t.chain) for t in again.trials}
    assert len(both) >= 2
    assert not both & set(measured)  # what was measured is known whatever the limit

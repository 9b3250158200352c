"""Samples by which a pass chooses are given to no pass of its pipeline."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import ocompress
from ocompress.analysis import MeasurementStore
from ocompress.front.shorter import without_idle
from ocompress.io import Dataset, as_dataset, hold_out
from ocompress.ir import Facet, Model, edit
from ocompress.pipeline import (
    Context,
    Instrument,
    Numerics,
    Outcome,
    Pass,
    PassManager,
    Pipeline,
    ProposalMemo,
    Status,
    put_aside,
)
from ocompress.validation import AccuracyGuard
from tests.build import InMemory
from tests.contract.harness import TARGET
from tests.graphs import ZOO

X = np.random.default_rng(3).standard_normal((60, 16)).astype(np.float32)
X[:, 0] = np.arange(60)

Seen = list[tuple[str, set[int], set[int]]]
"""By name of a pass, the samples it may be fitted to and those it may choose by."""


class Fitting(Pass):
    """Look at the data, and change something."""

    name = "fitting"
    numerics = Numerics.LOSSY
    needs_data = True

    def run(self, model: Model, ctx: Context) -> Outcome:
        value = next(v for v in model.graph.initializers.values() if v.data is not None)
        assert value.data is not None
        edit.set_weight(value, value.data * np.float32(1.001))
        return Outcome(Facet.WEIGHTS)


class Choosing(Fitting):
    """Choose by samples that it is not fitted to, too."""

    name = "choosing"
    sets_aside = True
    recovers = True


class Idle(Choosing):
    """Choose to change nothing."""

    name = "idle"

    def run(self, model: Model, ctx: Context) -> Outcome:
        return Outcome()


class Told(Instrument):
    """Keep what is said before work starts."""

    def __init__(self, said: list[str]) -> None:
        self.said = said

    def announce(self, sentence: str) -> None:
        self.said.append(sentence)


def numbers(data: Dataset) -> set[int]:
    return {int(n) for feed in data for n in feed["x"][:, 0]}


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Seen:
    """Note what lossy passes may look at."""
    found: Seen = []
    run_one = Context.run_one

    def noted(ctx: Context, item: Pass, model: Model) -> Outcome:
        if item.numerics is Numerics.LOSSY:
            parts = ctx.lessons
            found.append((item.name, numbers(ctx.data), numbers(parts.held_out)))
            assert parts.fit is ctx.data
        return run_one(ctx, item, model)

    monkeypatch.setattr(Context, "run_one", noted)
    return found


def run(*passes: Pass, seed: int = 0, data: object = None, **more: object) -> PassManager:
    samples = as_dataset({"x": X} if data is None else data, ZOO["mlp"]())
    manager = PassManager(target=TARGET, data=samples, seed=seed, **more)  # type: ignore[arg-type]
    manager.run(Pipeline.of(passes), ZOO["mlp"]())
    return manager


def test_what_a_pass_chooses_by_no_pass_was_fitted_to(seen: Seen) -> None:
    run(Fitting(), Choosing(), Fitting())
    fitted, (_, also, aside), after = seen
    assert fitted[1] == also == after[1]
    assert len(aside) == 6
    assert not aside & fitted[1]
    assert aside | fitted[1] == set(range(60))
    seen.clear()
    run(Fitting(), Choosing(), seed=1)
    assert seen[1][2] not in (set(), aside)


def test_where_no_pass_chooses_all_see_all(seen: Seen) -> None:
    run(Fitting(), Fitting())
    assert [s[1] for s in seen] == [set(range(60))] * 2


def test_what_cannot_be_divided_serves_for_both(seen: Seen) -> None:
    run(Fitting(), Choosing(), data=[{"x": X[:1]}])
    assert [s[1:] for s in seen] == [({0}, {0})] * 2


def test_what_was_measured_of_a_part_is_not_known_of_the_whole(tmp_path: Path) -> None:
    data = InMemory([{"x": X}])
    arrays = (np.arange(3.0),)

    def store() -> MeasurementStore:
        return MeasurementStore(folder=tmp_path, data=data)

    one = store()
    assert one.part("a").put("m", "pairs", arrays)
    assert one.part("a") is one.part("a")
    for known in (one, store()):
        assert known.part("a").get("m", "pairs") is not None
        assert known.get("m", "pairs") is None
        assert known.part("b").get("m", "pairs") is None
    assert one.part("a").of == "a"
    assert not one.of


def test_measurements_and_proposals_are_those_of_the_part() -> None:
    """Pipelines that share what is known do not mix samples."""
    store, known = MeasurementStore(), ProposalMemo()

    def pruned(*after: Pass, own: bool = False) -> Model:
        mine = {} if own else {"store": store, "proposals": known}
        samples = as_dataset({"x": X}, ZOO["mlp"]())
        manager = PassManager(target=TARGET, data=samples, **mine)  # type: ignore[arg-type]
        pipeline = Pipeline.of([*Pipeline.items("prune{sparsity=0.5}"), *after], fixed=True)
        return manager.run(pipeline, ZOO["mlp"]()).model

    def same(one: Model, other: Model) -> bool:
        pairs = zip(one.weights(), other.weights(), strict=True)
        return all(np.array_equal(a, b) for a, b in pairs)

    alone, before = pruned(own=True), pruned(Idle(), own=True)
    assert not same(alone, before)
    assert same(pruned(), alone)
    assert same(pruned(Idle()), before)
    assert same(pruned(), alone)


def test_a_pass_that_samples_were_put_aside_for_is_not_left_out() -> None:
    """Without it the others would have been fitted to them, and the same passes make no same."""
    data = as_dataset({"x": X}, ZOO["mlp"]())
    pipeline = Pipeline.of([Fitting(), Idle()])
    result = PassManager(target=TARGET, data=data).run(pipeline, ZOO["mlp"]())
    assert result.records[-1].status is Status.UNCHANGED
    assert without_idle(pipeline, result, {"idle"})[0] == pipeline


def test_a_limit_does_not_look_at_what_is_put_aside(
    seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How far a pass goes would be chosen by it, too."""
    fitted: list[set[int]] = []
    said: list[str] = []
    begin = AccuracyGuard.__init__

    def noted(guard: AccuracyGuard, *args: object, **more: Dataset) -> None:
        fitted.append(numbers(more["fitted"]))
        begin(guard, *args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(AccuracyGuard, "__init__", noted)
    done = ocompress.optimize(
        ZOO["mlp"](),
        passes=Pipeline.of([Fitting(), Choosing()]),
        data={"x": X},
        max_drop=0.9,
        measure=False,
        instruments=[Told(said)],
    )
    assert [r.name for r in done.pipeline.records] == ["canonicalize", "fitting", "choosing"]
    assert "4 of the samples to fit to are put aside, for choosing to choose by" in said
    parts = hold_out(as_dataset({"x": X}, ZOO["mlp"]()))
    less = put_aside(parts.fit, [Choosing()])
    assert fitted == [numbers(less.fit)] == [seen[0][1]]
    assert seen[1][2] == numbers(less.held_out)

"""Chains that end worse than a part of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import pytest

from ocompress import targets
from ocompress.diagnostics import Severity
from ocompress.front.shorter import Begun, Contest
from ocompress.ir import Facet, Model, edit
from ocompress.ir.serialized_size import serialized_bytes
from ocompress.pipeline import (
    Allowance,
    Context,
    Guard,
    Numerics,
    Outcome,
    Pass,
    PassManager,
    Pipeline,
    PipelineResult,
    Prefixes,
    Verdict,
    option,
)
from ocompress.report import Tried
from tests.build import Builder


class Become(Pass):
    """Give the weight another size, which depends on the size that it has."""

    name = "become"
    numerics = Numerics.LOSSY
    sizes: dict[str, float] = option({}, help="New size by old one.")

    def run(self, model: Model, ctx: Context) -> Outcome:
        (value,) = model.graph.initializers.values()
        assert value.data is not None
        new = self.sizes.get(str(value.data.size))
        if new is None:
            return Outcome()
        edit.set_weight(value, np.ones(int(new), np.float32))
        return Outcome(Facet.WEIGHTS | Facet.TYPES)


class Drop:
    """Lets everything pass."""

    kind = "max-drop"
    limit = 1.0
    default = False

    def judge(self, candidate: Model, best: Model) -> Verdict:
        return Verdict(True, self.kind, "", {"drop": 0.0, "limit": 1.0})


class Clock:
    """Times a model by its bytes, or by something else."""

    kind = "latency"
    limit = 1.0

    def __init__(self, power: float = 1.0) -> None:
        self.power = power

    def judge(self, candidate: Model, best: Model) -> Verdict:
        ratio = (serialized_bytes(candidate) / serialized_bytes(best)) ** self.power
        return Verdict(True, self.kind, "", {"ratio": ratio})


def net() -> Model:
    b = Builder()
    b.op("Mul", b.input("x", ["n", 1]), b.const(np.ones(4000, np.float32)), to="y")
    b.output("y", ["n", 4000])
    return b.model()


def contest(
    passes: Sequence[Pass], guards: Sequence[Guard]
) -> tuple[PipelineResult, PipelineResult, list[Tried]]:
    model, prefixes = net(), Prefixes()

    def run(pipeline: Pipeline, begun: Begun = (), *more: Prefixes) -> PipelineResult:
        manager = PassManager(target=targets.find("host"), guards=guards, instruments=more)
        return manager.run(pipeline, model, begun)

    pipeline = Pipeline.of(passes)
    asked = run(pipeline, (), prefixes)
    kept, tried = Contest(model, Allowance(guards), run).best(pipeline, asked, prefixes)
    return asked, kept, tried


EATS = Become(sizes={"4000": 3000})
LAST = Become(sizes={"3000": 2900, "4000": 1000})


def size_of(result: PipelineResult) -> int:
    (value,) = result.model.graph.initializers.values()
    assert value.data is not None
    return int(value.data.size)


def test_the_last_pass_alone_may_be_better() -> None:
    asked, kept, tried = contest([EATS, LAST], [Drop(), Clock()])
    assert (size_of(asked), size_of(kept)) == (2900, 1000)
    assert [(t.passes, t.kept) for t in tried] == [
        (f"{EATS},{LAST}", False),
        (str(EATS), False),
        (str(LAST), True),
    ]
    assert tried[2].size_ratio < 0.3
    assert tried[2].latency_ratio == pytest.approx(tried[2].size_ratio)
    assert [r.text for r in kept.records[1:]] == [str(LAST)]


def test_a_prefix_may_be_better() -> None:
    worse = Become(sizes={"3000": 3500})
    asked, kept, _ = contest([EATS, worse], [Drop(), Clock()])
    assert (size_of(asked), size_of(kept)) == (3500, 3000)
    assert [r.text for r in kept.records[1:]] == [str(EATS)]


class Counted(Become):
    """Becomes, and counts how often, and tells."""

    name = "counted"
    runs: ClassVar[list[str]] = []

    def run(self, model: Model, ctx: Context) -> Outcome:
        self.runs.append(str(self))
        ctx.remark(Severity.NOTE, "counted", str(self))
        return super().run(model, ctx)


class Middle(Counted):
    name = "counted-in-the-middle"


class Last(Counted):
    name = "counted-last"


def test_a_pass_in_the_middle_may_be_better_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Counted, "runs", [])
    first = Counted(sizes={"4000": 3000})
    middle = Middle(sizes={"3000": 2900, "4000": 3900})
    last = Last(sizes={"3000": 500, "2900": 2800, "3900": 3800, "4000": 3700})
    asked, kept, tried = contest([first, middle, last], [Drop(), Clock()])
    assert (size_of(asked), size_of(kept)) == (2800, 500)
    assert [r.text for r in kept.records[1:]] == [str(first), str(last)]
    assert [t.passes for t in tried] == [
        f"{first},{middle},{last}",
        str(first),
        f"{first},{middle}",
        f"{first},{last}",
        str(last),
        f"{middle},{last}",
    ]
    assert [t.passes for t in tried if t.kept] == [f"{first},{last}"]
    assert Counted.runs.count(str(first)) == 1  # what stands before it is not run again
    assert Counted.runs.count(str(middle)) == 2
    said = [r.message for r in kept.diagnostics.remarks if r.code == "counted"]
    assert said == [str(first), str(last)]


class Share:
    """A purse that remembers what was closed."""

    kind = "max-drop"
    limit = 1.0
    default = False

    def __init__(self) -> None:
        self.closed: list[tuple[str, float]] = []

    def restart(self) -> None:
        self.closed.clear()

    def applies_to(self, item: Pass) -> bool:
        return item.numerics is Numerics.LOSSY

    def open(self, item: Pass, best: Model, later: Sequence[Pass]) -> None:
        pass

    def close(self, item: Pass, kept: Model, verdict: Verdict | None) -> None:
        self.closed.append((str(item), float(kept.weight_bytes)))

    def judge(self, candidate: Model, best: Model) -> Verdict:
        return Verdict(True, self.kind, "", {"drop": 0.0, "limit": 1.0})


def test_what_was_spent_before_is_spent_where_a_run_is_taken_up() -> None:
    share, model, seen = Share(), net(), Prefixes()
    manager = PassManager(target=targets.find("host"), guards=[share], instruments=[seen])
    asked = manager.run(Pipeline.of([EATS, LAST]), model)
    spent = list(share.closed)
    begun = seen.of(asked)[:2]
    again = PassManager(target=targets.find("host"), guards=[share])
    found = again.run(Pipeline.of([EATS, LAST]), model, begun)
    assert share.closed == spent
    assert found.records[:2] == tuple(record for record, _ in begun)
    assert size_of(found) == size_of(asked) == 2900


def test_smaller_but_slower_is_not_better() -> None:
    asked, kept, tried = contest([EATS, LAST], [Drop(), Clock(-1.0)])
    assert kept is asked
    assert [t.kept for t in tried] == [True, False, False]


@pytest.mark.parametrize(
    ("passes", "guards"),
    [([EATS, LAST], [Clock()]), ([LAST], [Drop(), Clock()]), ([EATS, EATS], [Drop(), Clock()])],
)
def test_without_a_limit_or_a_chain_nothing_is_tried(
    passes: list[Pass], guards: list[Guard]
) -> None:
    asked, kept, tried = contest(passes, guards)
    assert kept is asked
    assert tried == []


class Told(Counted):
    """One that is told how far to go."""

    name = "counted-and-told"
    goals = ("sizes",)


class Trains(Counted):
    """One that makes up for what others did."""

    name = "counted-training"
    recovers = True


@pytest.mark.parametrize("last", [Trains, Told, Last])
def test_nothing_is_trained_anew_where_no_limit_says_how_far_passes_go(
    last: type[Counted], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Counted, "runs", [])
    chain = [
        Told(sizes={"4000": 3000}),
        Trains(sizes={"3000": 2900, "4000": 3900}),
        last(sizes={"2900": 2800, "3900": 1000, "3000": 900}),
    ]
    _, kept, tried = contest(chain, [Drop(), Clock()])
    assert (len(Counted.runs) > 3) == (last is Last)
    assert size_of(kept) == (900 if last is Last else 2800)
    assert len(tried) == (5 if last is Last else 3)  # models on the way are there already

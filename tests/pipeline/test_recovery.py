"""Passes that a later one makes good are judged with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from ocompress.front.shorter import Contest
from ocompress.ir import Facet, Model, edit
from ocompress.pipeline import (
    Allowance,
    Context,
    Limit,
    Numerics,
    Outcome,
    Pass,
    PassManager,
    PassRecord,
    Pipeline,
    PipelineResult,
    Prefixes,
    Status,
    Verdict,
    option,
)
from tests.contract.harness import TARGET
from tests.graphs import ZOO


class Shrink(Pass):
    """Multiply every weight."""

    name = "shrink"
    numerics = Numerics.LOSSY
    goals = ("by",)
    by: float = option(1.0, help="Factor.")

    def run(self, model: Model, ctx: Context) -> Outcome:
        assert self.has_goal == (not ctx.allowance.has(Limit.DROP))
        return _scale(model, self.by if self.has_goal else 0.5)


class Idle(Pass):
    """Change nothing."""

    name = "idle"
    numerics = Numerics.LOSSY

    def run(self, model: Model, ctx: Context) -> Outcome:
        return Outcome()


class Trim(Pass):
    """Go as far as a limit lets, which is not far."""

    name = "trim"
    numerics = Numerics.LOSSY

    def run(self, model: Model, ctx: Context) -> Outcome:
        return _scale(model, 0.999)


class Mend(Pass):
    """Multiply every weight again."""

    name = "mend"
    numerics = Numerics.LOSSY
    recovers = True
    by: float = option(1.0, help="Factor.")

    def run(self, model: Model, ctx: Context) -> Outcome:
        assert ctx.allowance.has(Limit.DROP)
        return _scale(model, self.by)


def _scale(model: Model, factor: float) -> Outcome:
    if factor == 1:
        return Outcome()
    for value in model.graph.initializers.values():
        assert value.data is not None
        edit.set_weight(value, (value.data * factor).astype(value.data.dtype))
    return Outcome(Facet.WEIGHTS)


def size(model: Model) -> float:
    return float(sum(np.abs(w).sum() for w in model.weights()))


@dataclass
class Near:
    """A limit on what is missing of the weights' size, which passes share."""

    whole: float
    limit: float = 0.2
    kind: str = Limit.DROP
    default: bool = False
    opened: list[str] = field(default_factory=list)

    def judge(self, candidate: Model, best: Model) -> Verdict:
        drop = 1 - size(candidate) / self.whole
        return Verdict(drop <= self.limit, self.kind, f"{drop:.2f}", {"drop": drop, "limit": 0.2})

    def restart(self) -> None:
        self.opened.clear()

    def applies_to(self, item: Pass) -> bool:
        return item.numerics is Numerics.LOSSY

    def open(self, item: Pass, best: Model, later: Sequence[Pass]) -> None:
        self.opened.append(item.name)

    def close(self, item: Pass, kept: Model, verdict: Verdict | None) -> None:
        pass


A, R, U = Status.APPLIED, Status.ROLLED_BACK, Status.UNCHANGED


@pytest.mark.parametrize(
    ("passes", "statuses", "left", "opened"),
    [
        # what is lost is made good, or not
        ([Shrink(by=0.5), Mend(by=1.8)], [A, A], 0.9, ["shrink"]),
        ([Shrink(by=0.5), Mend(by=1.2)], [R, R], 1.0, ["shrink"]),
        ([Shrink(by=0.5), Mend()], [R, R], 1.0, ["shrink"]),
        ([Shrink(by=0.9), Mend()], [A, U], 0.9, ["shrink"]),
        # two wait; one that did nothing is no matter
        ([Shrink(by=0.5), Shrink(by=0.5), Mend(by=3.6)], [A, A, A], 0.9, ["shrink"]),
        ([Shrink(by=0.5), Shrink(by=0.5), Mend(by=2)], [R, R, R], 1.0, ["shrink"]),
        # nothing waits: nobody makes it good, or it goes as far as the limit lets
        ([Mend(by=0.9), Shrink()], [A, R], 0.9, ["mend", "shrink"]),
        ([Shrink(), Mend(by=1.8)], [R, A], 1.8, ["shrink", "mend"]),
        # what was made good stays if a later one fails
        (
            [Shrink(by=0.5), Mend(by=1.8), Shrink(by=0.5), Mend()],
            [A, A, R, R],
            0.9,
            ["shrink", "shrink"],
        ),
    ],
)
def test_judged_together(
    passes: list[Pass], statuses: list[Status], left: float, opened: list[str]
) -> None:
    model = ZOO["mlp"]()
    guard = Near(size(model))
    result = PassManager(target=TARGET, guards=[guard]).run(Pipeline(tuple(passes)), model)
    assert [r.status for r in result.records] == statuses
    assert size(result.model) == pytest.approx(left * size(model), rel=1e-5)
    assert result.held == (R not in statuses)
    assert guard.opened == opened


def test_shorter_chains_do_not_keep_what_nobody_judged() -> None:
    model = ZOO["mlp"]()
    pipeline = Pipeline((Trim(), Shrink(by=0.5), Mend(by=1.8), Mend(by=1.01)))
    guard, prefixes, ran = Near(size(model)), Prefixes(), list[tuple[str, int]]()

    def run(shorter: Pipeline, begun: Sequence[tuple[PassRecord, Model]]) -> PipelineResult:
        ran.append((str(shorter), len(begun)))
        assert not (begun and begun[-1][0].waits)
        return PassManager(target=TARGET, guards=[guard]).run(
            Pipeline(shorter.passes[1:] if shorter.passes[0].name == "canonicalize" else ()), model
        )

    asked = PassManager(target=TARGET, guards=[guard], instruments=[prefixes]).run(pipeline, model)
    assert [r.waits for r in asked.records] == [False, True, False, False]
    kept, tried = Contest(model, Allowance([guard]), run).best(pipeline, asked, prefixes)
    assert kept is asked
    assert ran
    assert all(t.passes.count("shrink") <= t.passes.count("mend") for t in tried)


def test_models_of_what_was_taken_back_are_those_before() -> None:
    model = ZOO["mlp"]()
    prefixes = Prefixes()
    passes = Pipeline((Mend(by=0.9), Shrink(by=0.5), Mend()))
    manager = PassManager(target=TARGET, guards=[Near(size(model))], instruments=[prefixes])
    after = prefixes.of(manager.run(passes, model))
    assert [round(size(m) / size(model), 3) for _, m in after] == [0.9] * 3


def test_a_pass_that_recovers_knows_what_earlier_passes_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: list[list[float]] = []

    def look(_: Mend, model: Model, ctx: Context) -> Outcome:
        seen.append([size(m) for m in ctx.earlier])
        return _scale(model, 2.0)

    monkeypatch.setattr(Mend, "run", look)
    model = ZOO["mlp"]()
    pipeline = Pipeline.of([Shrink(by=0.5), Idle(), Shrink(by=0.25), Mend(), Mend()])
    done = PassManager(target=TARGET).run(pipeline, model)
    whole = size(model)
    np.testing.assert_allclose(seen[0][-2:], [whole / 2, whole / 8])
    np.testing.assert_allclose(seen[1][-3:], [whole / 2, whole / 8, whole / 4])
    assert len(seen[1]) == len(seen[0]) + 1
    first = PassManager(target=TARGET).run(Pipeline.of([Shrink(by=0.5)]), model)
    begun = [(record, first.model) for record in first.records]
    PassManager(target=TARGET).run(Pipeline.of([Shrink(by=0.5), Mend()]), model, begun)
    np.testing.assert_allclose(seen[-1][-1], whole / 2)
    assert done.model.weight_bytes == model.weight_bytes


def test_no_model_is_kept_that_no_pass_needs() -> None:
    seen: list[int] = []

    class Look(Pass):
        """Count the models that are kept."""

        name = "look"
        numerics = Numerics.LOSSY

        def run(self, model: Model, ctx: Context) -> Outcome:
            seen.append(len(ctx.earlier))
            return Outcome()

    pipeline = Pipeline.of([Shrink(by=0.5), Look()])
    PassManager(target=TARGET).run(pipeline, ZOO["mlp"]())
    assert seen == [0]

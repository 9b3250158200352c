"""Results of which only the last look finds that they collapsed."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

import ocompress
from ocompress import Budget, Context, Model, Outcome, Pass
from ocompress.ir import Facet, edit
from ocompress.pipeline import Numerics, Status, Verdict
from ocompress.report import Optimization
from ocompress.validation import CollapseGuard
from tests.graphs import ZOO

X = np.random.default_rng(0).standard_normal((20, 16)).astype(np.float32)


class Times(Pass):
    """Multiply every weight."""

    name = "times"
    numerics = Numerics.LOSSY
    goals: ClassVar[tuple[str, ...]] = ("factor",)
    factor: float = ocompress.option(1.0, help="Factor.")

    def run(self, model: Model, ctx: Context) -> Outcome:
        """Multiply."""
        for value in model.graph.initializers.values():
            if value.data is not None and value.data.ndim == 2:
                edit.set_weight(value, value.data * np.float32(self.factor))
        return Outcome(Facet.WEIGHTS, {"scaled": 1})


class Erase(Times):
    """Leave nothing of the outputs."""

    name = "erase"


class Mend(Pass):
    """Put every weight back, or leave it."""

    name = "mend"
    numerics = Numerics.LOSSY
    recovers = True
    helps: bool = ocompress.option(True, help="Whether it does.")

    def run(self, model: Model, ctx: Context) -> Outcome:
        """Put them back."""
        old = ctx.original.graph.initializers if ctx.original is not None else {}
        for name, value in model.graph.initializers.items():
            if self.helps and name in old and old[name].data is not None:
                edit.set_weight(value, np.array(old[name].data))
        return Outcome(Facet.WEIGHTS, {"mended": 1})


def done(passes: list[Pass], output: Path, **more: object) -> Optimization:
    return ocompress.optimize(
        ZOO["mlp"](),
        output,
        passes=passes,
        data={"x": X},
        budget=Budget(max_latency_ratio=None),
        measure=False,
        **more,  # type: ignore[arg-type]
    )


def statuses(result: Optimization) -> dict[str, Status]:
    return {r.name: r.status for r in result.pipeline.records[1:]}


@pytest.mark.parametrize("first", [Times(factor=0.99), Erase(factor=0.0)])
def test_the_pass_that_did_it_is_rolled_back_and_the_others_are_not(
    first: Pass, tmp_path: Path
) -> None:
    other = (
        Erase(factor=0.0)
        if isinstance(first, Times) and not isinstance(first, Erase)
        else Times(factor=0.99)
    )
    found = done([first, other], tmp_path / "out.onnx")
    assert statuses(found) == {"times": Status.APPLIED, "erase": Status.ROLLED_BACK}
    assert len(found.broken) == 1
    assert found.broken[0].startswith("erase was rolled back: output 'y' collapsed: ")
    assert found.output == tmp_path / "out.onnx"
    again = ocompress.validate(ZOO["mlp"](), found.output, {"x": X})
    assert not again.collapsed
    assert not found.validation.collapsed
    weights = ocompress.load(found.output).graph.initializers.values()
    before = ZOO["mlp"]().graph.initializers.values()
    sizes = [sum(np.abs(v.data).sum() for v in w if v.data.ndim == 2) for w in (weights, before)]  # type: ignore[union-attr, arg-type]
    assert sizes[0] == pytest.approx(0.99 * sizes[1], rel=1e-5)


def test_what_a_later_pass_makes_good_waits_for_it(tmp_path: Path) -> None:
    found = done([Erase(factor=0.0), Mend()], tmp_path / "out.onnx")
    assert found.held
    assert set(statuses(found).values()) == {Status.APPLIED}
    found = done([Erase(factor=0.0), Mend(helps=False)], tmp_path / "out.onnx")
    assert not found.held
    assert set(statuses(found).values()) == {Status.ROLLED_BACK}
    assert not ocompress.validate(ZOO["mlp"](), tmp_path / "out.onnx", {"x": X}).collapsed


def test_the_report_is_of_what_is_left(tmp_path: Path) -> None:
    found = done([Erase(factor=0.0), Times(factor=0.99)], tmp_path / "out.onnx")
    assert [r.code for r in found.pipeline.diagnostics if r.source == "erase"] == ["rolled-back"]
    assert not any("DIVERGED" in r for r in found.remarks)
    assert found.bytes[1] == (tmp_path / "out.onnx").stat().st_size


def test_nothing_is_written_where_no_model_on_the_way_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CollapseGuard, "judge", lambda *_: Verdict(False, "related", "lost"))
    found = done([Erase(factor=0.0)], tmp_path / "out.onnx")
    assert found.output is None
    assert found.discarded
    assert not list(tmp_path.iterdir())
    assert found.broken[0].startswith("output 'y' collapsed")


def test_a_pass_with_a_goal_may_leave_nothing_for_the_limit_of_others(tmp_path: Path) -> None:
    """What is spent cannot be counted where an output became the same for every input."""

    class Limited(Times):
        """Has no goal, so there is a limit by default."""

        name = "limited"
        goals: ClassVar[tuple[str, ...]] = ()

    found = done([Erase(factor=0.0), Limited(factor=0.999)], tmp_path / "out.onnx")
    assert statuses(found) == {"erase": Status.ROLLED_BACK, "limited": Status.APPLIED}
    assert not found.validation.collapsed

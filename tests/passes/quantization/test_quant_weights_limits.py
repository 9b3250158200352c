"""How many weights are stored in fewer bits where a limit on the drop says so."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest

from ocompress.ir import Model, from_proto, to_proto
from ocompress.pipeline import PassManager, Pipeline, PipelineResult, Verdict
from ocompress.targets import find
from passes.quantization.weight_forms import Effect
from tests.build import Builder, InMemory
from tests.passes.quantization.runs import data_for
from tests.passes.quantization.test_too_slow import Clock
from tests.passes.quantization.weight_runs import rows_of


def unequal() -> Model:
    """Three products; rounding the weight of the second costs by far the most."""
    b = Builder()
    h = b.input("x", ["n", 32])
    for at in range(3):
        weight = b.rng.standard_normal((32, 32)).astype(np.float32) / 6
        if at == 1:
            weight[0] = 40.0  # its grid is for these, which meet hardly anything
        h = b.op("MatMul", h, b.const(weight, f"weight{at}"), to=f"y{at}")
        if at == 0:
            mask = np.ones(32, np.float32)
            mask[0] = 1e-3
            h = b.op("Mul", h, b.const(mask))
    b.output(h, ["n", 32])
    return b.model(opset=21, ir_version=10)


@dataclass
class AtMost:
    """Allows so many stored weights."""

    most: int
    kind: str = "max-drop"
    limit: float = 1.0
    asked: list[int] = field(default_factory=list)

    def judge(self, candidate: Model, best: Model) -> Verdict:
        count = sum(n.is_op("DequantizeLinear") for _, n in candidate.nodes())
        self.asked.append(count)
        return Verdict(count <= self.most, self.kind, f"{count} weights", {})


def run(text: str, guard: AtMost) -> PipelineResult:
    model = unequal()
    manager = PassManager(
        target=find("portable"), data=InMemory(data_for(model, 6)), guards=[guard]
    )
    return manager.run(Pipeline.parse(text), from_proto(to_proto(model)))


@pytest.mark.parametrize("most", [3, 2, 0])
def test_a_limit_on_the_drop_leaves_the_costliest_weights_in_float(most: int) -> None:
    guard = AtMost(most)
    result = run("quant-weights{smallest=1}", guard)
    assert str(result.records[-1].status) == ("applied" if most else "unchanged")
    stored = {r["weight"] for r in rows_of(result)} if most else set()
    assert (
        stored == {3: {"weight0", "weight1", "weight2"}, 2: {"weight0", "weight2"}, 0: set()}[most]
    )
    left = {r.node for r in result.diagnostics if r.code == "too-lossy"}
    assert left == {f"y{at}" for at in range(3) if f"weight{at}" not in stored}
    assert guard.asked[0] == 3  # it mostly holds, so all of them come first
    assert len(guard.asked) <= 7


@pytest.mark.parametrize(("runs", "code"), [(True, "too-lossy"), (False, "no-longer-runs")])
def test_where_nothing_holds_weights_hear_the_true_reason(runs: bool, code: str) -> None:
    @dataclass
    class Never(AtMost):
        def judge(self, candidate: Model, best: Model) -> Verdict:
            return Verdict(False, self.kind, "it ended with signal 9", {}, runs=runs)

    result = run("quant-weights{smallest=1}", Never(0))
    left = [r for r in result.diagnostics if r.code == code]
    assert len(left) == 3
    assert all("signal 9" in r.message for r in left)


def test_what_an_option_asks_for_is_not_searched_for() -> None:
    guard = AtMost(2)
    result = run("quant-weights{smallest=1,form=int4}", guard)
    assert str(result.records[-1].status) == "rolled-back"
    assert set(guard.asked) == {3}


def test_weights_that_are_folded_for_their_slow_kernel_are_still_searched_for() -> None:
    """Nobody asked for that form, so the limit on the drop goes on saying how many there are."""

    @dataclass
    class Folded(AtMost):
        def judge(self, candidate: Model, best: Model) -> Verdict:
            held = [v for v in candidate.graph.initializers.values() if v.packed is not None]
            kernels = sum(n.is_op("DequantizeLinear") for _, n in candidate.nodes())
            return Verdict(len(held) + kernels <= self.most, self.kind, f"{len(held)} weights", {})

    def ratio(model: Model) -> float:
        return 1.3 if any(n.is_op("DequantizeLinear") for _, n in model.nodes()) else 1.0

    model = unequal()
    data = InMemory(data_for(model, 6))
    manager = PassManager(target=find("portable"), data=data, guards=[Clock(ratio), Folded(2)])
    result = manager.run(Pipeline.parse("quant-weights{smallest=1}"), from_proto(to_proto(model)))
    assert str(result.records[-1].status) == "applied"
    assert [r["latency"] for r in rows_of(result)] == 2 * [Effect.FOLDED]
    assert [r.node for r in result.diagnostics if r.code == "too-lossy"] == ["y1"]

"""Results that may be slower: one mechanism, said for all passes or by options of one."""

from __future__ import annotations

import numpy as np
import pytest

from ocompress.front import Budget, Request, optimize
from ocompress.ir import Model
from ocompress.pipeline import Context, PassManager, Pipeline
from ocompress.profiling import LatencyGuard
from ocompress.targets import find
from passes.quantization.quant import Quant
from tests.build import Builder, InMemory


def test_what_options_allow_holds_for_guards_and_the_final_judgement() -> None:
    def ratio(passes: str, budget: Budget, measure: bool = True) -> tuple[float | None, bool]:
        request = Request(passes=passes, budget=budget, measure=measure)
        return request.limits.max_latency_ratio, request.allow_slower

    assert ratio("quant", Budget()) == (1.0, False)
    assert ratio("quant{keep_slower=true}", Budget()) == (None, True)
    assert ratio("quant", Budget(max_latency_ratio=None)) == (None, True)
    assert ratio("quant{keep_slower=true}", Budget(max_latency_ratio=0.5)) == (0.5, False)
    assert ratio("quant", Budget(max_latency_ratio=None), measure=False) == (None, False)


@pytest.mark.parametrize(
    ("text", "allow", "said"),
    [("quant", False, False), ("quant", True, True), ("quant{keep_slower=true}", False, True)],
)
def test_passes_are_told(
    monkeypatch: pytest.MonkeyPatch, text: str, allow: bool, said: bool
) -> None:
    seen: list[bool] = []

    def look(_: Quant, __: Model, ctx: Context) -> bool:
        seen.append(ctx.allows_slower)
        return False

    monkeypatch.setattr(Quant, "_may_run", look)
    b = Builder()
    b.output(b.op("Relu", b.input("x", ["n", 4])))
    model = b.model()
    manager = PassManager(target=find("portable"), data=InMemory([]), allow_slower=allow)
    manager.run(Pipeline.parse(text), model)
    assert seen == [said]


def test_a_slower_result_that_an_option_asks_for_is_no_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def judge(*_: object) -> None:
        pytest.fail("nobody limits the latency")

    monkeypatch.setattr(LatencyGuard, "judge", judge)
    b = Builder()
    b.output(b.op("Relu", b.op("MatMul", b.input("x", ["n", 4]), b.weight(4, 4))))
    data = {"x": np.random.default_rng(0).standard_normal((64, 4)).astype(np.float32)}
    done = optimize(b.model(), passes="quant{keep_slower=true}", data=data)
    assert not [why for why in done.broken if "time" in why]

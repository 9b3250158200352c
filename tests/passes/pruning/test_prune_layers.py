"""Branches that say little go, and something affine stands for them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from ocompress.ir import Model, onnx_api
from ocompress.pipeline import Context, Outcome, Verdict
from passes.pruning.branches import find_branches
from passes.pruning.prune_layers import PruneLayers
from tests.build import Builder
from tests.counting import counting, grows
from tests.passes.pruning.on_data import Fake, Stopwatch, context, error, run


def net(scales: tuple[float, ...] = (1.0, 0.02, 0.5)) -> Model:
    """Residual blocks of the same width whose branches say more or less."""
    b = Builder()
    h = b.op("Conv", b.input("x", ["n", 4, 12, 12]), b.weight(16, 4, 1, 1), b.weight(16))
    for i, scale in enumerate(scales):
        g = b.op("Relu", b.op("Conv", h, b.weight(24, 16, 3, 3), b.weight(24), pads=[1] * 4))
        w = b.weight(16, 24, 1, 1, scale=scale * 24**-0.5)
        g = b.op("Conv", g, w, b.const(np.full(16, i + 1.0, np.float32)))
        h = b.op("Add", g, h, to=f"sum{i}")
    p = b.op("Flatten", b.op("GlobalAveragePool", b.op("Relu", h)))
    b.output(b.op("Gemm", p, b.weight(16, 10), b.weight(10), to="y"), ["n", 10])
    return b.model()


def pruned(model: Model, *, guards: Any = (), **options: Any) -> tuple[Model, Outcome, Context]:
    return run(PruneLayers(**options), model, guards=guards)


def left(model: Model) -> set[str]:
    onnx_api.infer_types(model)
    return {b.add.label for b in find_branches(model)}


def test_the_branch_that_says_least_goes() -> None:
    model = net()
    assert left(model) == {"sum0", "sum1", "sum2"}
    after, outcome, ctx = pruned(model)
    assert left(after) == {"sum0", "sum2"}
    assert outcome.counts == {"branches removed": 1}
    assert error(model, after) < 1e-3  # its offset of 2 was made up for
    assert ctx.diagnostics.declined()["not-chosen"] == 2
    rows = outcome.details["branches"]
    assert [r["name"] for r in rows] == ["sum0", "sum1", "sum2"]
    assert [r["removed"] for r in rows] == [0, rows[1]["nodes"], 0]
    assert rows[1]["predicted_error"] == min(r["predicted_error"] for r in rows)
    assert [r.get("code") for r in rows] == ["not-chosen", None, "not-chosen"]
    error_ = outcome.details["error"]
    assert error_["predicted"] == rows[1]["predicted_error"]
    assert 0 < error_["reached"] <= 1.1 * error_["predicted"]  # the layers behind were fitted


def test_as_many_go_as_asked_for() -> None:
    after, outcome, _ = pruned(net(), count=2)
    assert len(left(after)) == 1
    assert outcome.counts["branches removed"] == 2


def test_a_limit_on_the_drop_says_how_many_go() -> None:
    model = net()

    def rule(candidate: Model, _: Model) -> Verdict:
        return Verdict(len(left(candidate.clone())) >= 2, "max-drop", "")

    after, _, _ = pruned(model, guards=[Fake("max-drop", rule)])
    assert left(after) == {"sum0", "sum2"}
    never = Fake("max-drop", lambda *_: Verdict(False, "max-drop", ""))
    after, outcome, ctx = pruned(model, guards=[never])
    assert not outcome
    assert ctx.diagnostics.declined()["too-lossy"] == 3


def test_what_is_excluded_or_no_branch_stays() -> None:
    after, _, ctx = pruned(net(), exclude=("sum1",))
    assert "sum1" in left(after)
    assert ctx.diagnostics.declined()["excluded"] == 1
    b = Builder()
    x = b.input("x", ["n", 4, 12, 12])
    h = b.op("Conv", x, b.weight(4, 4, 1, 1), to="c")
    inner = b.op("Relu", h, to="r")  # read elsewhere too
    s = b.op("Add", b.op("Conv", inner, b.weight(4, 4, 1, 1)), h, to="s")
    b.output(b.op("Add", s, inner, to="y"), ["n", 4, 12, 12])
    _, outcome, _ = pruned(b.model())
    assert not outcome


def test_rows_have_the_times_of_branches_and_of_what_stands_for_them() -> None:
    _, outcome, _ = pruned(net(), guards=[Stopwatch()])
    rows = outcome.details["branches"]
    sizes = 24 * 16 * 9 + 24 * 16
    assert [r["ms_before"] for r in rows] == [sizes] * 3
    assert [r["ms_predicted"] for r in rows] == [sizes, 0, sizes]
    assert [r["ms_after"] for r in rows] == [sizes, 32, sizes]  # a factor and an offset each


def test_a_model_that_is_no_faster_is_given_up_and_rows_say_so() -> None:
    model = net()
    after, outcome, ctx = pruned(model, guards=[Stopwatch(ratio=1.1)])
    assert not outcome
    assert left(after) == left(model)
    assert ctx.diagnostics.declined()["not-faster"] == 1
    codes = [r["code"] for r in outcome.details["branches"]]
    assert sorted(codes) == ["not-chosen", "not-chosen", "not-faster"]


def test_what_removing_branches_takes_grows_with_their_number(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def counted(branches: int) -> Counter[str]:
        model = net((0.1,) * branches)
        onnx_api.infer_types(model)
        ctx = context(model)
        item = PruneLayers(count=branches)
        plan = item.asked(item.propose(model, ctx))
        with counting(monkeypatch) as counts:
            item.build(model, plan, ctx, fit=True)
        assert len(plan) == branches
        return counts

    grows(counted(6), counted(12), 2)

"""Results whose outputs become NaN or infinite are rolled back, or are seen to come."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import ocompress
from ocompress.io import load_model
from ocompress.ir import Model, edit
from ocompress.validation import AccuracyGuard, FiniteGuard
from tests.build import Builder, InMemory
from tests.counting import counting

X = np.random.default_rng(3).standard_normal((128, 16, 6, 6)).astype(np.float32)


def net(norm: str = "InstanceNormalization", *, masked: bool = False) -> Model:
    """Two convolutions; what the first makes is divided by its deviation in each image."""
    b = Builder(5)
    x = b.input("x", ["n", 16, 6, 6])
    h = b.op("Conv", x, b.weight(16, 16, 3, 3), pads=[1] * 4, to="first")
    if norm == "InstanceNormalization":
        ones, zeros = b.const(np.ones(16, np.float32)), b.const(np.zeros(16, np.float32))
        h = b.op(norm, h, ones, zeros, epsilon=0.0)
    else:
        h = b.op("Sub", h, b.op("ReduceMean", h, axes=[2, 3]))
        h = b.op("Div", h, b.op("ReduceL2", h, axes=[2, 3]))
    h = b.op("Conv", b.op("Relu", h), b.weight(16, 16, 3, 3), pads=[1] * 4, to="second")
    h = b.op("Flatten", b.op("GlobalAveragePool", b.op("Relu", h)))
    h = b.op("Gemm", h, b.weight(5, 16), transB=1, to="" if masked else "y")
    if masked:  # 1 / 0 in the original, too
        b.op("Concat", h, b.op("Reciprocal", b.op("Sub", h, h)), axis=1, to="y")
    b.output("y", ["n", 10 if masked else 5])
    return b.model()


def without_filters(model: Model) -> Model:
    """Return it with the first two filters of the first convolution zero."""
    found = model.clone()
    weight = next(n for n in found.graph.nodes if n.op_type == "Conv").inputs[1]
    assert weight is not None
    assert weight.data is not None
    array = weight.data.copy()
    array[:2] = 0
    edit.set_weight(weight, array)
    return found


@pytest.mark.parametrize("masked", [False, True])
def test_new_ones_are_refused_and_old_ones_are_not(*, masked: bool) -> None:
    model = net(masked=masked)
    guard = FiniteGuard(model, InMemory([{"x": X[:20]}, {"x": X[20:40]}]))
    assert guard.judge(model.clone(), model).held
    verdict = guard.judge(without_filters(model), model)
    assert not verdict.held
    assert verdict.figures["lost"] == 40 * (10 if masked else 5)
    assert "became NaN or infinite on 40 samples" in verdict.message


@pytest.mark.parametrize("norm", ["InstanceNormalization", "spelled out"])
def test_prune_foresees_what_whole_filters_do(tmp_path: Path, norm: str) -> None:
    out = tmp_path / "o.onnx"
    done = ocompress.optimize(net(norm), out, passes="prune{pattern=filter}", data={"x": X})
    assert done.held
    skipped = {r.node: r.code for r in done.pipeline.diagnostics.remarks if r.code == "not-finite"}
    assert skipped == {"first": "not-finite"}
    second = next(n for n in load_model(out).graph.nodes if n.name == "second").inputs[1]
    assert second is not None
    assert second.data is not None
    assert 6 <= (np.abs(second.data).max(axis=(1, 2, 3)) == 0).sum() <= 10


@pytest.mark.parametrize("synthetic", [False, True])
def test_what_nobody_foresaw_is_rolled_back(tmp_path: Path, *, synthetic: bool) -> None:
    """Magnitudes say nothing of it; what other passes made stays."""
    passes = "prune{pattern=filter criterion=l1 protect_ends=false},quant-weights{form=fp16}"
    data = {"synthetic": 64} if synthetic else {"data": {"x": X}}
    done = ocompress.optimize(net(), tmp_path / "o.onnx", passes=passes, **data)
    assert not done.held
    (why,) = done.broken
    assert why.startswith("prune was rolled back: ")
    assert "became NaN or infinite" in why
    assert [r.status for r in done.pipeline.records[1:]] == ["rolled-back", "applied"]


@pytest.mark.parametrize("labelled", [False, True])
def test_what_a_search_has_judged_does_not_run_again(
    monkeypatch: pytest.MonkeyPatch, *, labelled: bool
) -> None:
    model, feeds = net(), [{"x": X[:40]}, {"x": X[40:80]}]
    data = InMemory(feeds, labels=np.arange(80) % 5 if labelled else None)
    judge = AccuracyGuard(model, data, 0.5)
    guard = FiniteGuard(model, data, known=judge.found_finite)
    good, bad = model.clone(), without_filters(model)
    with counting(monkeypatch) as counts:
        verdicts = [guard.judge(good, model)]  # nobody has looked at it
        assert counts["sessions"] == 1
        judge.judge(good, model)
        verdicts.append(guard.judge(good, model))
        assert counts["sessions"] == 2
    assert verdicts[0] == verdicts[1]
    judge.judge(bad, model)
    assert not guard.judge(bad, model).held

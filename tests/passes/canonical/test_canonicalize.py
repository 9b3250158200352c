"""The family as a whole."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from ocompress.ir import Model, from_proto, to_proto
from ocompress.pipeline import Pass, find
from tests.build import Builder
from tests.contract.harness import context
from tests.passes.canonical.exact import run


def _exported() -> Model:
    """Return what exporters write: old opset, Constant nodes, shape arithmetic, no-ops."""
    b = Builder()
    x = b.input("x", ["n", 3, 4])
    shape = b.op("Shape", x)
    batch = b.op("Gather", shape, b.op("Constant", value_int=0))
    rest = b.op("Constant", value_ints=[12])
    target = b.op("Concat", b.op("Unsqueeze", batch, axes=[0]), rest, axis=0)
    h = b.op("Reshape", b.op("Dropout", b.op("Identity", x)), target)
    w = b.op("Transpose", b.weight(5, 12), perm=[1, 0])
    h = b.op("Clip", b.op("MatMul", h, w), b.op("Constant", value_float=0.0))
    b.op("Softmax", h, to="y")
    b.output("y", ["n", 5])
    return b.model(opset=12)


def test_exported_graph() -> None:
    ran = run("canonicalize", _exported(), types=False)
    assert ran.after.opset == 17
    assert {"Constant", "Identity", "Dropout", "Transpose"}.isdisjoint(ran.ops)
    assert ran.ops["MatMul"] + ran.ops["Gemm"] == 1
    ran.same_bits()


def test_members_run_again_only_when_something_they_read_changed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runs: list[str] = []
    family = find("canonicalize")
    for name in family.members:  # type: ignore[attr-defined]
        _count(monkeypatch, find(name), runs)
    model = _exported()
    context(model).run_one(family(), model)
    first = len(runs)
    assert runs.count("inline-functions") <= 4
    runs.clear()
    outcome = context(model).run_one(family(), model)
    assert not outcome
    assert len(runs) == len(family.members)  # type: ignore[attr-defined]
    assert first < 5 * len(runs)


def _count(monkeypatch: pytest.MonkeyPatch, cls: type[Pass], runs: list[str]) -> None:
    original = cls.run

    def counted(self: Pass, model: Model, ctx: object) -> object:
        runs.append(cls.name)
        return original(self, model, ctx)  # type: ignore[arg-type]

    monkeypatch.setattr(cls, "run", counted)


def test_lowest_opset_is_an_option() -> None:
    ran = run("canonicalize", _exported(), types=False, opset=13)
    assert ran.after.opset == 13
    ran.same_bits()


def test_dynamic_batch_stays_dynamic() -> None:
    ran = run("canonicalize", _exported(), types=False)
    ran.same_bits(x=np.random.default_rng(1).random((7, 3, 4), dtype=np.float32))


def test_refusals_of_early_rounds_are_taken_back() -> None:
    """The scales are constant only after the branch is inlined, a round later."""

    def branch(factor: float) -> onnx.GraphProto:
        inner = Builder()
        inner.op("Constant", to=f"s{factor}", value_floats=[1.0, 1.0, factor, factor])
        inner.output(f"s{factor}", [4])
        return inner.graph("branch")

    b = Builder()
    x, c = b.input("x", [1, 1, 2, 2]), b.const(np.asarray(True))
    scales = b.op("If", c, then_branch=branch(2.0), else_branch=branch(0.5))
    b.op("Resize", x, scales, to="y")
    b.output("y", [None] * 4)
    model = b.model(opset=10)
    proto = to_proto(model)
    for graph in (a.g for n in proto.graph.node for a in n.attribute if a.g.node):
        for attribute in graph.node[0].attribute:  # opset 10 knows tensors only
            array = np.asarray(attribute.floats, np.float32)
            attribute.CopyFrom(onnx.helper.make_attribute("value", numpy_helper.from_array(array)))
    ran = run("canonicalize", from_proto(proto), types=False)
    assert ran.after.opset == 17
    ctx = context(ran.before)
    ctx.run_one(find("canonicalize")(), ran.before.clone())
    assert not ctx.diagnostics.declined("upgrade-opset")
    ran.same_bits()

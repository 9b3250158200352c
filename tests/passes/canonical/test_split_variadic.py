"""Operators of many operands become chains of two that compute the same."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto as T

from ocompress.pipeline import find
from tests.build import Builder
from tests.contract.harness import context
from tests.passes.canonical import exact, folding

KINDS = {"Sum": "Add", "Mean": "Add", "Max": "Max", "Min": "Min"}


def build(op: str, *shapes: Any, dtype: int = T.FLOAT) -> Builder:
    b = Builder()
    b.op(op, *(b.input(f"x{i}", list(shape), dtype) for i, shape in enumerate(shapes)), to="y")
    b.output("y", list(np.broadcast_shapes(*shapes)), dtype)
    return b


@pytest.mark.parametrize("op", KINDS)
@pytest.mark.parametrize("count", [3, 4, 5])
def test_the_runtime_computes_the_same_bits(op: str, count: int) -> None:
    shapes = [(2, 1, 4), (3, 1), (1, 4), (4,), ()][:count]
    ran = exact.run("split-variadic", build(op, *shapes).model())
    expected = {KINDS[op]: count - 1, **({"Mul": 1} if op == "Mean" else {})}
    assert ran.ops == expected
    ran.same_bits()


@pytest.mark.parametrize(("op", "ops"), [("Sum", ["Add"]), ("Mean", ["Add", "Mul"])])
def test_pairs(op: str, ops: list[str]) -> None:
    ran = exact.run("split-variadic", build(op, (2, 3), (3,)).model())
    assert [n.op_type for _, n in ran.after.nodes()] == ops
    assert ran.after.graph.nodes[-1].name == "y"  # what options name goes on being there
    ran.same_bits()


@pytest.mark.parametrize("op", ["Max", "Min"])
def test_pairs_of_extrema_are_what_they_are(op: str) -> None:
    assert not exact.run("split-variadic", build(op, (2, 3), (3,)).model()).outcome


@pytest.mark.parametrize("op", KINDS)
def test_single_operands_vanish(op: str) -> None:
    b = build(op, (2, 3))
    b.outputs.clear()
    b.op("Relu", "y", to="z")
    b.output("z", [2, 3])
    assert not exact.run("split-variadic", b.model()).outcome
    assert exact.run("remove-identity", b.model()).ops == {"Relu": 1}


@pytest.mark.parametrize("op", KINDS)
def test_float16(op: str) -> None:
    b = Builder()
    x = b.input("x", [3, 64])
    b.ops("Cast", [x], ["h"], to=T.FLOAT16)
    parts = ["h", b.op("Neg", "h"), b.weight(64, dtype=np.float16, scale=1.0)]
    b.op(op, *parts, b.weight(3, 1, dtype=np.float16, scale=1.0), to="y")
    b.output("y", [3, 64], T.FLOAT16)
    folding.run("split-variadic", b.model()).same(2e-3)


@pytest.mark.parametrize(("op", "dtype"), [("Sum", T.DOUBLE), ("Max", T.INT32), ("Min", T.INT64)])
def test_other_types(op: str, dtype: int) -> None:
    ran = exact.run("split-variadic", build(op, (2, 3), (3,), (2, 1), dtype=dtype).model())
    assert len(ran.ops) == 1
    ran.same_bits()


@pytest.mark.parametrize("op", KINDS)
def test_old_opsets(op: str) -> None:
    for opset in (6, 8, 13):
        b = build(op, (2, 3), (2, 3), (2, 3))
        model = b.model(opset)
        context(model).run_one(find("canonicalize")(), model)
        assert model.opset == 17
        assert not any(n.op_type in ("Sum", "Mean") or len(n.inputs) > 2 for _, n in model.nodes())


def test_operands_that_repeat_and_constants() -> None:
    b = Builder()
    x = b.input("x", [2, 3])
    b.op("Sum", x, b.weight(3, scale=1.0), x, b.weight(2, 1, scale=1.0), to="y")
    b.output("y", [2, 3])
    ran = exact.run("split-variadic", b.model())
    assert ran.ops == {"Add": 3}
    ran.same_bits()


@pytest.mark.parametrize("op", ["Add", "Sum"])
def test_branches_merge_whoever_added_them(op: str) -> None:
    b = Builder()
    x = b.input("x", ["n", 8, 6, 6])
    wide = b.op("Conv", x, b.weight(8, 8, 3, 3), pads=[1] * 4)
    point = b.op("Conv", x, b.weight(8, 8, 1, 1))
    total = b.op("Sum", wide, point, x) if op == "Sum" else b.op("Add", b.op("Add", wide, point), x)
    b.op("Relu", total, to="y")
    b.output("y")
    model = b.model()
    context(model).run_one(find("canonicalize")(), model)
    context(model).run_one(find("merge-layers")(), model)
    assert [n.op_type for _, n in model.nodes()] == ["Conv", "Relu"]


def test_bodies_are_split_too() -> None:
    b = Builder()
    x, flag = b.input("x", [2, 3]), b.input("flag", [], T.BOOL)
    inner = Builder()
    inner.op("Sum", x, x, x, to="inner")
    inner.output("inner", [2, 3])
    other = Builder()
    other.op("Mean", x, x, to="other")
    other.output("other", [2, 3])
    b.op("If", flag, to="y", then_branch=inner.graph("t"), else_branch=other.graph("e"))
    b.output("y", [2, 3])
    ran = exact.run("split-variadic", b.model())
    assert ran.ops == {"If": 1, "Add": 3, "Mul": 1}
    ran.same_bits(flag=np.asarray(True))
    ran.same_bits(flag=np.asarray(False))

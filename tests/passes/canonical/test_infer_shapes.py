"""Types are recorded afresh, and kept where inference knows nothing."""

from __future__ import annotations

import onnx
from onnx import TensorProto as T

from ocompress.ir import DType, Model, Value
from tests.build import Builder
from tests.passes.canonical.exact import run


def _value(model: Model, name: str) -> Value:
    values = {v.name: v for _, n in model.nodes() for v in n.outputs if v is not None}
    return values[name]


def test_symbols_go_through() -> None:
    b = Builder()
    h = b.op("MatMul", b.input("x", ["n", 4]), b.weight(4, 8))
    b.op("Relu", h, to="y")
    b.output("y", ["n", 8])
    ran = run("infer-shapes", b.model(), types=False)
    assert _value(ran.after, h).shape == ("n", 8)
    assert _value(ran.after, h).dtype is DType.FLOAT
    assert not run("infer-shapes", ran.after, types=False).outcome


def test_bodies() -> None:
    def branch(op: str) -> onnx.GraphProto:
        inner = Builder()
        inner.op("Neg", inner.op(op, "x", to=f"inner{op}"), to=f"o{op}")
        inner.output(f"o{op}", ["n", 2])
        return inner.graph(op)

    b = Builder()
    b.input("x", ["n", 2])
    c = b.input("c", [], T.BOOL)
    b.op("If", c, to="y", then_branch=branch("Sin"), else_branch=branch("Cos"))
    b.output("y", ["n", 2])
    ran = run("infer-shapes", b.model(), types=False)
    assert _value(ran.after, "innerSin").shape == ("n", 2)


def _custom(recorded: tuple[int, ...]) -> Model:
    b = Builder()
    h = b.op("Mystery", b.op("Neg", b.input("x", ["n", 2]), to="neg"), to="h", domain="my")
    b.op("Relu", h, to="y")
    b.output("y", None)
    model = b.model(my=1)
    _value(model, "h").set_type(DType.FLOAT, (7, 7))
    if recorded:
        _value(model, "neg").set_type(DType.FLOAT, recorded)
    return model


def test_types_of_unknown_operators_are_kept() -> None:
    ran = run("infer-shapes", _custom(()), types=False)
    assert _value(ran.after, "h").shape == (7, 7)


def test_recorded_numbers_against_symbols_are_replaced() -> None:
    ran = run("infer-shapes", _custom((1, 2)), types=False)
    assert _value(ran.after, "neg").shape == ("n", 2)


def test_recorded_extents_fill_gaps() -> None:
    b = Builder()
    h = b.op("Reshape", b.input("x", [6]), b.input("s", [2], T.INT64))
    b.op("Relu", h, to="y")
    b.output("y", [None, None])
    model = b.model()
    _value(model, h).set_type(DType.FLOAT, (2, None))
    ran = run("infer-shapes", model, types=False)
    assert _value(ran.after, h).shape == (2, None)


def test_declared_outputs_are_kept() -> None:
    b = Builder()
    b.op("Relu", b.input("x", ["n", 3]), to="y")
    b.output("y", ["batch", 3])
    ran = run("infer-shapes", b.model(), types=False)
    assert ran.after.graph.outputs[0].shape == ("batch", 3)


def test_negative_extents_are_not_multiplied() -> None:
    b = Builder()
    h = b.op("Flatten", b.input("x", [-1, 3, -1, -2]))
    b.op("Relu", h, to="y")
    b.output("y", [-1, -1])
    ran = run("infer-shapes", b.model(), types=False)
    assert _value(ran.after, h).shape == (None, None)

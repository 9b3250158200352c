"""If with a known condition."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto as T

from tests.build import Builder
from tests.passes.canonical.exact import run


def _branch(op: str, tag: str = "") -> onnx.GraphProto:
    inner = Builder()
    inner.op(
        "Mul", inner.op(op, "h", to=f"t{tag}"), inner.const(np.float32(3), f"k{tag}"), to=f"o{tag}"
    )
    inner.output(f"o{tag}", ["n", 2])
    return inner.graph(op)


def _builder(condition: bool) -> Builder:
    b = Builder()
    b.op("Neg", b.input("x", ["n", 2]), to="h")
    b.const(np.asarray(condition), "c")
    return b


@pytest.mark.parametrize(("condition", "op"), [(True, "Sin"), (False, "Cos")])
def test_taken_branch_moves_out(condition: bool, op: str) -> None:
    b = _builder(condition)
    b.op("If", "c", to="y", then_branch=_branch("Sin", "a"), else_branch=_branch("Cos", "b"))
    b.output("y", ["n", 2])
    ran = run("inline-branches", b.model())
    assert ran.ops == {"Neg": 1, op: 1, "Mul": 1}
    ran.same_bits()


def test_same_names_in_several_bodies() -> None:
    b = _builder(True)
    for index in range(2):
        b.op("If", "c", to=f"y{index}", then_branch=_branch("Sin"), else_branch=_branch("Cos"))
        b.output(f"y{index}", ["n", 2])
    ran = run("inline-branches", b.model())
    assert ran.ops == {"Neg": 1, "Sin": 2, "Mul": 2}
    ran.same_bits()


def test_nested() -> None:
    outer = Builder()
    outer.op(
        "If", "c", to="inner", then_branch=_branch("Sin", "a"), else_branch=_branch("Cos", "b")
    )
    outer.output("inner", ["n", 2])
    b = _builder(True)
    b.op("If", "c", to="y", then_branch=outer.graph(), else_branch=_branch("Exp", "e"))
    b.output("y", ["n", 2])
    ran = run("inline-branches", b.model())
    assert ran.ops == {"Neg": 1, "Sin": 1, "Mul": 1}
    ran.same_bits()


def test_branch_that_returns_a_constant() -> None:
    def constant(name: str) -> onnx.GraphProto:
        inner = Builder()
        inner.op("Constant", to=name, value_floats=[1.0, 2.0])
        inner.output(name, [2])
        return inner.graph(name)

    b = _builder(True)
    b.op("If", "c", to="y", then_branch=constant("a"), else_branch=constant("b"))
    b.output("y", [2])
    ran = run("inline-branches", b.model())
    assert "If" not in ran.ops
    ran.same_bits()


def test_computed_conditions_stay() -> None:
    b = _builder(True)
    c = b.input("flag", [], T.BOOL)
    b.op("If", c, to="y", then_branch=_branch("Sin", "a"), else_branch=_branch("Cos", "b"))
    b.output("y", ["n", 2])
    assert not run("inline-branches", b.model()).outcome

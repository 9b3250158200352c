"""Softmax between Flatten and Reshape."""

from __future__ import annotations

from typing import Any

import pytest

from ocompress.ir import Model
from tests.build import Builder
from tests.passes.canonical.exact import run


def _model(shape: list[Any], cut: int, op: str = "Softmax", other: bool = False) -> Model:
    b = Builder()
    x = b.op("Neg", b.input("x", shape))
    flat = b.op(op, b.op("Flatten", x, axis=cut), axis=-1)
    b.op("Reshape", flat, b.op("Shape", b.op("Abs", x) if other else x), to="y")
    b.output("y", [None] * len(shape))
    return b.model()


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax", "Hardmax"])
def test_last_axis(op: str) -> None:
    ran = run("unflatten-softmax", _model(["n", 3, 5], 2, op))
    assert ran.ops[op] == 1
    assert ran.ops["Reshape"] == 0
    ran.same_bits()


def test_axis_before_ones() -> None:
    ran = run("unflatten-softmax", _model(["n", 6, 1, 1], 1))
    softmax = next(n for n in ran.after.graph.nodes if n.op_type == "Softmax")
    assert softmax.attr("axis") == 1
    ran.same_bits()


def test_several_axes_stay() -> None:
    assert not run("unflatten-softmax", _model(["n", 3, 5], 1)).outcome


def test_shape_of_something_else_stays() -> None:
    assert not run("unflatten-softmax", _model(["n", 3, 5], 2, other=True)).outcome

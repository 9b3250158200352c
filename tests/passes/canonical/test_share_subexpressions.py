"""Equal computations become one."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto as T

from tests.build import Builder
from tests.passes.canonical.exact import run


def test_chain_of_equals() -> None:
    b = Builder()
    x = b.input("x", [3])
    sides = [b.op("Sin", b.op("Neg", x)) for _ in range(3)]
    b.op("Sum", *sides, to="y")
    b.output("y", [3])
    ran = run("share-subexpressions", b.model())
    assert ran.ops == {"Neg": 1, "Sin": 1, "Sum": 1}
    ran.same_bits()


def test_attributes_and_order_of_inputs_matter() -> None:
    b = Builder()
    x, z = b.input("x", [2, 3]), b.input("z", [2, 3])
    parts = [b.op("Sub", x, z), b.op("Sub", z, x)]
    parts += [b.op("LeakyRelu", x, alpha=a) for a in (0.1, 0.2)]
    b.op("Sum", *parts, to="y")
    b.output("y", [2, 3])
    assert not run("share-subexpressions", b.model()).outcome


def test_random_and_foreign_nodes_stay() -> None:
    b = Builder()
    x = b.input("x", [3])
    parts = [b.op("RandomNormalLike", x) for _ in range(2)]
    parts += [b.op("Gelu", x, domain="com.microsoft") for _ in range(2)]
    b.op("Sum", *parts, to="y")
    b.output("y", [3])
    assert not run("share-subexpressions", b.model(com_microsoft=1)).outcome


def test_formal_outputs() -> None:
    b = Builder()
    x = b.input("x", [3])
    b.op("Abs", b.op("Sin", x, to="inner"), to="z")
    b.op("Sin", x, to="y")
    b.op("Sin", x, to="w")
    for name in ("z", "y", "w"):
        b.output(name, [3])
    ran = run("share-subexpressions", b.model())
    assert ran.ops == {"Sin": 2, "Abs": 1}
    assert [v.name for v in ran.after.graph.outputs] == ["z", "y", "w"]
    ran.same_bits()


def test_bodies_share_with_outside_not_with_each_other() -> None:
    def branch(op: str) -> onnx.GraphProto:
        inner = Builder()
        total = inner.op(
            "Add", inner.op("Sin", "x", to=f"s{op}"), inner.op("Exp", "x", to=f"e{op}")
        )
        inner.op(op, total, to=f"o{op}")
        inner.output(f"o{op}", [3])
        return inner.graph(op)

    b = Builder()
    h = b.op("Sin", b.input("x", [3]))
    c = b.input("c", [], T.BOOL)
    b.op("Add", h, b.op("If", c, then_branch=branch("Neg"), else_branch=branch("Abs")), to="y")
    b.output("y", [3])
    ran = run("share-subexpressions", b.model())
    assert ran.ops["Sin"] == 1
    assert ran.ops["Exp"] == 2
    for choice in (True, False):
        ran.same_bits(c=np.asarray(choice))


def test_unequal_numbers_of_outputs() -> None:
    b = Builder()
    x = b.input("x", [1, 1, 4, 4])
    b.ops("MaxPool", [x], ["a"], kernel_shape=[2, 2])
    b.ops("MaxPool", [x], ["b", "indices"], kernel_shape=[2, 2])
    b.op("Add", "a", "b", to="y")
    b.op("Identity", "indices", to="z")
    b.output("y", [1, 1, 3, 3])
    b.output("z", [1, 1, 3, 3], T.INT64)
    assert not run("share-subexpressions", b.model()).outcome

"""What nobody reads."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto as T

from tests.build import Builder
from tests.passes.canonical.exact import run


def test_nodes_and_constants() -> None:
    b = Builder()
    x = b.input("x", [3])
    b.op("Mul", b.op("Sin", x), b.weight(3))
    b.op("Relu", x, to="y")
    b.output("y", [3])
    ran = run("remove-dead-code", b.model())
    assert ran.ops == {"Relu": 1}
    assert not ran.after.graph.initializers
    ran.same_bits()


def test_inside_bodies_and_what_only_they_read() -> None:
    def branch(op: str) -> onnx.GraphProto:
        inner = Builder()
        inner.op("Exp", "outer", to=f"dead{op}")
        inner.op(op, "x", to=f"o{op}")
        inner.output(f"o{op}", [3])
        return inner.graph(op)

    b = Builder()
    b.op("Sin", b.input("x", [3]), to="outer")
    c = b.input("c", [], T.BOOL)
    b.op("If", c, to="y", then_branch=branch("Neg"), else_branch=branch("Abs"))
    b.output("y", [3])
    ran = run("remove-dead-code", b.model())
    assert "Exp" not in ran.ops
    ran.same_bits(c=np.asarray(True))


def _max_pool(b: Builder) -> None:
    b.ops("MaxPool", [b.input("x", [1, 1, 4, 4])], ["y", "indices"], kernel_shape=[4, 4])


def _lstm(b: Builder) -> None:
    w, r = b.weight(1, 12, 4), b.weight(1, 12, 3)
    b.ops("LSTM", [b.input("x", [2, 1, 4]), w, r], ["all", "y", "cell"], hidden_size=3)


@pytest.mark.parametrize(
    ("build", "shape", "kept"), [(_max_pool, [1] * 4, ["y"]), (_lstm, [1, 1, 3], [None, "y"])]
)
def test_optional_outputs(
    build: Callable[[Builder], None], shape: list[int], kept: list[str | None]
) -> None:
    b = Builder()
    build(b)
    b.output("y", shape)
    ran = run("remove-dead-code", b.model())
    node = ran.after.graph.nodes[0]
    assert [v.name if v is not None else None for v in node.outputs] == kept
    ran.same_bits()


def test_mandatory_outputs_stay() -> None:
    b = Builder()
    b.ops("TopK", [b.input("x", [5]), b.const(np.asarray([2]))], ["y", "indices"])
    b.output("y", [2])
    assert not run("remove-dead-code", b.model()).outcome


@pytest.mark.parametrize(
    ("past", "read", "kept"),
    [
        (True, [], ["y", "key", "value"]),
        (True, ["value"], ["y", "key", "value"]),
        (False, ["value"], ["y", None, "value"]),
        (False, [], ["y"]),
    ],
)
def test_attention_that_goes_on_makes_keys_and_values(
    past: bool, read: list[str], kept: list[str | None]
) -> None:
    b = Builder()
    given = [b.input(name, [1, 2, 3, 4]) for name in ("q", "k", "v")]
    given += ["", b.input("pk", [1, 2, 5, 4]), b.input("pv", [1, 2, 5, 4])] if past else []
    b.ops("Attention", given, ["y", "key", "value", "products"])
    for name in ("y", *read):
        b.output(name, [1, 2, None, 4])
    ran = run("remove-dead-code", b.model(opset=23, ir_version=11))
    outputs = ran.after.graph.nodes[0].outputs
    assert [v.name if v is not None else None for v in outputs] == kept
    ran.same_bits()


@pytest.mark.parametrize("training", [0, 1])
def test_training_batch_norm_keeps_its_outputs(training: int) -> None:
    b = Builder()
    x = b.input("x", [2, 3, 4])
    names = ["y", "mean", "var"] if training else ["y"]
    params = [b.weight(3), b.weight(3), b.weight(3), b.positive(3)]
    b.ops("BatchNormalization", [x, *params], names, training_mode=training)
    b.output("y", [2, 3, 4])
    assert not run("remove-dead-code", b.model(opset=15)).outcome

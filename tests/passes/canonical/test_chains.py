"""Chains of foldable nodes with layout changes between, and inside bodies."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto as T

from ocompress.ir import from_proto
from tests.build import Builder
from tests.passes.canonical.folding import (
    CHANNELS_OUT,
    data_shape,
    linear,
    run,
)


def test_elementwise_nodes_of_the_chain_go_along_and_transposes_stay() -> None:
    b = Builder()
    h = linear(b, "Conv", b.input("x", data_shape("Conv")))
    h = b.op("Mul", b.batch_norm(h, 4), b.positive(4, 1, 1))
    h = b.op("Transpose", h, perm=[0, 2, 3, 1])
    h = b.op("Add", h, b.weight(4))
    b.op("Transpose", h, to="y", perm=[0, 3, 1, 2])
    b.output("y")
    result = run("fold-batch-norm", b.model())
    assert result.ops == {"Conv": 1, "Transpose": 2}
    result.same()


def test_batch_norm_of_sequences_between_transposes() -> None:
    b = Builder()
    h = b.op("MatMul", b.input("x", ["n", "t", 6]), b.weight(6, 4))
    h = b.batch_norm(b.op("Transpose", h, perm=[0, 2, 1]), 4)
    b.op("Transpose", h, to="y", perm=[0, 2, 1])
    b.output("y")
    result = run("fold-batch-norm", b.model())
    assert result.ops == {"MatMul": 1, "Transpose": 2, "Add": 1}
    result.same()


def test_two_in_a_row_become_one() -> None:
    b = Builder()
    b.batch_norm(b.batch_norm(b.op("Relu", b.input("x", ["n", 4, 5])), 4), 4, to="y")
    b.output("y")
    result = run("fold-batch-norm", b.model())
    assert result.ops == {"Relu": 1, "BatchNormalization": 1}
    assert result.codes == {"no-linear-neighbour": 1}
    result.same()


def test_batch_norm_between_unsqueeze_and_squeeze() -> None:
    b = Builder()
    h = linear(b, "Gemm:tb", b.input("x", ["n", 6]))
    two = b.const(np.array([2]))
    h = b.batch_norm(b.op("Unsqueeze", h, two), 4)
    b.op("Squeeze", h, two, to="y")
    b.output("y")
    result = run("fold-batch-norm", b.model())
    assert "BatchNormalization" not in result.ops
    result.same()


def test_bodies_are_folded() -> None:
    inner = Builder()
    inner.batch_norm(linear(inner, "Conv:pad", "x"), CHANNELS_OUT, to="inner")
    inner.output("inner")
    other = Builder(1)
    linear(other, "Conv:pad", "x", to="other")
    other.output("other")
    b = Builder()
    b.input("x", data_shape("Conv"))
    b.input("c", [], T.BOOL)
    for name, prefix in ((inner, "i_"), (other, "o_")):
        _rename(name, prefix)
    b.op("If", "c", to="y", then_branch=inner.graph("then"), else_branch=other.graph("else"))
    b.output("y")
    result = run("fold-batch-norm", from_proto(b.proto()))
    assert result.ops == {"If": 1, "Conv": 2}
    result.same()


def _rename(b: Builder, prefix: str) -> None:
    for node in b.nodes:
        node.input[:] = [i if i == "x" else prefix + i for i in node.input]
        node.output[:] = [prefix + o for o in node.output]
    for tensor in b.inits:
        tensor.name = prefix + tensor.name
    for output in b.outputs:
        output.name = prefix + output.name

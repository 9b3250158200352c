"""Which weights pruning touches, and why not the others."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from onnx import TensorProto as T

from ocompress.ir import Model
from tests.build import Builder
from tests.passes.pruning.pruned import prune


def _depthwise(b: Builder, h: str) -> str:
    return b.op("Conv", h, b.weight(64, 1, 3, 3), group=64, pads=[1] * 4)


def _dynamic(b: Builder, h: str) -> str:
    return b.op("Conv", h, b.op("Abs", b.input("w", [64, 64, 1, 1])))


def _quantized(b: Builder, h: str) -> str:
    raw = b.const(b.rng.integers(-9, 9, (64, 64, 1, 1)).astype(np.int8))
    scale = b.const(np.float32(0.1))
    return b.op("Conv", h, b.op("DequantizeLinear", raw, scale))


def _small(b: Builder, h: str) -> str:
    h = b.op("Conv", h, b.weight(4, 64, 1, 1))
    return b.op("Expand", h, b.const(np.array([1, 4, 5, 5])))


def _infinite(b: Builder, h: str) -> str:
    return b.op("Conv", h, b.const(np.full((64, 64, 1, 1), np.inf, np.float32)))


def _read_elsewhere(b: Builder, h: str) -> str:
    w = b.weight(64, 64, 1, 1)
    b.op("Relu", w, to="extra")
    b.output("extra", [64, 64, 1, 1])
    return b.op("Conv", h, w)


@pytest.mark.parametrize(
    ("middle", "code"),
    [
        (_depthwise, "depthwise"),
        (_dynamic, "dynamic-weight"),
        (_quantized, "already-quantized"),
        (_small, "too-small"),
        (_infinite, "non-finite"),
        (_read_elsewhere, "shared-weight"),
    ],
)
def test_left_alone(middle: Callable[[Builder, str], str], code: str) -> None:
    b = Builder()
    h = b.op("Conv", b.input("x", [1, 3, 5, 5]), b.weight(64, 3, 1, 1))
    h = middle(b, h)
    channels = 4 if code == "too-small" else 64
    b.op("Conv", h, b.weight(8, channels, 1, 1), to="y")
    b.output("y", [1, 8, 5, 5])
    result = prune(b.model())
    beside = {"no-rule": 1} if code == "shared-weight" else {}  # whoever else reads it
    assert result.codes == {"first-layer": 1, code: 1, "last-layer": 1, **beside}
    assert not result.outcome


def test_depthwise_on_request() -> None:
    b = Builder()
    h = b.op("Conv", b.input("x", [1, 3, 5, 5]), b.weight(64, 3, 1, 1))
    b.op("Conv", _depthwise(b, h), b.weight(8, 64, 1, 1), to="y")
    b.output("y", [1, 8, 5, 5])
    rows = prune(b.model(), depthwise=True).outcome.details["layers"]
    assert [r["sparsity"] for r in rows] == [0, 0.5, 0]


def _tied() -> Model:
    b = Builder()
    table = b.const(b.rng.standard_normal((64, 32)).astype(np.float32), "table")
    h = b.op("Gather", table, b.input("i", ["n"], T.INT64))
    for i in range(2):
        h = b.op("MatMul", h, b.const(b.rng.standard_normal((32, 32)).astype(np.float32), f"m{i}"))
    b.op("Gemm", h, table, to="y", transB=1)
    b.output("y", ["n", 64])
    return b.model()


def test_tied_embedding() -> None:
    result = prune(_tied())
    assert result.codes == {"embedding": 2}
    assert result.zeros("m0", "m1") == 1024
    every = ("Gather", "Gemm")
    result = prune(_tied(), op_types=every, protect_ends=False, scope="layer")
    assert result.zeros("table") == 1024
    assert result.codes == {"op-type": 2}


def test_parallel_branches_are_all_first_or_last() -> None:
    b = Builder()
    left = b.op("MatMul", b.input("a", ["n", 32]), b.weight(32, 32), to="left")
    right = b.op("MatMul", b.input("b", ["n", 32]), b.weight(32, 32), to="right")
    h = b.op("MatMul", b.op("Add", left, right), b.weight(32, 32), to="middle")
    for name in ("y", "z"):
        b.op("MatMul", h, b.weight(32, 32), to=name)
        b.output(name, ["n", 32])
    result = prune(b.model())
    assert result.codes == {"first-layer": 2, "last-layer": 2}
    rows = result.outcome.details["layers"]
    assert [r["name"] for r in rows if r["removed"]] == ["middle"]
    assert {r["code"] for r in rows if not r["removed"]} == {"first-layer", "last-layer"}


def test_bodies() -> None:
    branches = []
    for prefix in ("t", "e"):
        inner = Builder()
        w = inner.const(inner.rng.standard_normal((32, 32)).astype(np.float32), f"{prefix}w")
        inner.op("MatMul", "h", w, to=f"{prefix}y")
        inner.output(f"{prefix}y", ["n", 32])
        branches.append(inner.graph(prefix))
    b = Builder()
    b.op("MatMul", b.input("x", ["n", 32]), b.const(np.ones((32, 32), np.float32), "first"), to="h")
    b.input("c", [], T.BOOL)
    h = b.op("If", "c", then_branch=branches[0], else_branch=branches[1])
    b.op("MatMul", h, b.const(np.ones((32, 32), np.float32), "last"), to="y")
    b.output("y", ["n", 32])
    result = prune(b.model())
    assert result.codes == {"first-layer": 1, "last-layer": 1}
    assert result.zeros("tw", "ew") == 1024

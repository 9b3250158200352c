"""Small graphs with everything that trips an interpreter, and what runs them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from onnx import TensorProto as T

from ocompress.ir import Model
from ocompress.runtime import Session
from ocompress.training.dtypes import to_held
from ocompress.training.program import TrainableProgram
from ocompress.training.typed import typed
from tests.build import Builder, feeds

Array = np.ndarray
GRAPHS: dict[str, Callable[[], Model]] = {}


def graph(build: Callable[[Builder], None]) -> Callable[[Builder], None]:
    """Enrol a graph; it fills a builder, whose last node makes `y`."""

    def made() -> Model:
        b = Builder(3)
        build(b)
        b.output("y")
        return b.model(opset=21, ir_version=10)

    GRAPHS[build.__name__] = made
    return build


def _convs(b: Builder, **attrs: Any) -> None:
    x = b.input("x", ["n", 4, 9, 7])
    b.op("Conv", x, b.weight(6, 2, 3, 3), b.weight(6), to="y", group=2, **attrs)


@graph
def same_upper(b: Builder) -> None:
    _convs(b, auto_pad="SAME_UPPER", strides=[2, 3])


@graph
def same_lower(b: Builder) -> None:
    _convs(b, auto_pad="SAME_LOWER", strides=[3, 2])


@graph
def uneven_pads(b: Builder) -> None:
    _convs(b, pads=[1, 0, 2, 1], dilations=[1, 2])


@graph
def conv_transpose_uneven(b: Builder) -> None:
    x = b.input("x", ["n", 4, 5, 6])
    weight, bias = b.weight(4, 3, 3, 3), b.weight(6)
    more: dict[str, Any] = {
        "strides": [2, 3],
        "output_padding": [1, 2],
        "pads": [0, 1, 1, 2],
        "group": 2,
    }
    b.op("ConvTranspose", x, weight, bias, to="y", **more)


@graph
def conv_transpose_shape(b: Builder) -> None:
    x = b.input("x", ["n", 2, 5, 6])
    more: dict[str, Any] = {"strides": [2, 3], "output_shape": [10, 17], "auto_pad": "SAME_LOWER"}
    b.op("ConvTranspose", x, b.weight(2, 3, 3, 3), to="y", **more)


@graph
def max_pool_ceil(b: Builder) -> None:
    more: dict[str, Any] = {
        "kernel_shape": [3, 2],
        "strides": [2, 2],
        "ceil_mode": 1,
        "pads": [1, 0, 0, 1],
    }
    b.op("MaxPool", b.input("x", ["n", 2, 8, 7]), to="y", **more)


@graph
def average_pool_ceil(b: Builder) -> None:
    more: dict[str, Any] = {
        "kernel_shape": [3, 3],
        "strides": [2, 2],
        "ceil_mode": 1,
        "pads": [1, 1, 0, 1],
    }
    h = b.op("AveragePool", b.input("x", ["n", 2, 8, 7]), count_include_pad=1, **more)
    b.op("AveragePool", h, to="y", kernel_shape=[2, 2], auto_pad="SAME_UPPER")


@graph
def gemm_turned(b: Builder) -> None:
    x = b.input("x", [5, "n"])
    given = b.weight(4, 5), b.weight(4)
    b.op("Gemm", x, *given, to="y", transA=1, transB=1, alpha=0.5, beta=2.0)


@graph
def normalizations(b: Builder) -> None:
    x = b.input("x", ["n", 6, 4, 2])
    h = b.op("LayerNormalization", x, b.positive(6, 4, 2), b.weight(6, 4, 2), axis=1)
    h = b.op("InstanceNormalization", h, b.positive(6), b.weight(6))
    h = b.op("GroupNormalization", h, b.positive(6), b.weight(6), num_groups=3)
    b.op("LpNormalization", b.batch_norm(h, 6), to="y", axis=1, p=2)


@graph
def attention(b: Builder) -> None:
    x = b.input("x", ["n", 5, 8])
    q, k = (b.op("MatMul", x, b.weight(8, 8)) for _ in range(2))
    scores = b.op("MatMul", q, b.op("Transpose", k, perm=[0, 2, 1]))
    shares = b.op("Softmax", b.op("Div", scores, b.const(np.float32(8**0.5))), axis=-1)
    b.op("Gelu", b.op("Add", b.op("MatMul", shares, x), x), to="y", approximate="tanh")


@graph
def extents_of_the_batch(b: Builder) -> None:
    """Reshape to what Shape, Gather and Concat make."""
    x = b.input("x", ["n", 6, 4])
    rows = b.op("Gather", b.op("Shape", x), b.const(np.array([0])))
    target = b.op("Concat", rows, b.const(np.array([-1])), axis=0)
    h = b.op("Slice", x, *(b.const(np.array([i])) for i in (-1, -7, 1, -2)))
    b.op("MatMul", b.op("Reshape", h, target), b.weight(12, 3), to="y")


@graph
def negative_indices(b: Builder) -> None:
    x = b.input("x", ["n", 6, 4])
    h = b.op("Gather", x, b.const(np.array([[-1, 0], [2, -3]])), axis=1)
    h = b.op("Pad", h, b.const(np.array([0, 1, 0, 0, 0, 0, 1, 1])), mode="reflect")
    b.ops("Split", [h, b.const(np.array([1, 1, 1]))], ["p", "q", "r"], axis=1)
    b.op("Concat", "r", "p", to="y", axis=-1)


@graph
def nothing_joined(b: Builder) -> None:
    """Join something and nothing, whose other extents do not count."""
    x = b.input("x", ["n", 6])
    b.op(
        "MatMul",
        b.op("Concat", x, b.const(np.zeros((1, 0), np.float32)), axis=1),
        b.weight(6, 3),
        to="y",
    )


@graph
def resizes(b: Builder) -> None:
    x = b.input("x", ["n", 2, 5, 4])
    for mode, scale in (("linear", 1.7), ("cubic", 0.8), ("nearest", 2.0)):
        scales = b.const(np.array([1, 1, scale, 2], np.float32))
        x = b.op("Resize", x, "", scales, mode=mode)
    b.op("DepthToSpace", b.op("Concat", x, x, axis=1), to="y", blocksize=2, mode="CRD")


@graph
def reductions(b: Builder) -> None:
    x = b.input("x", ["n", 6, 4])
    h = b.op("ReduceMean", x, b.const(np.array([-1])))
    g = b.op("ReduceLogSumExp", x, b.const(np.array([1, 2])), keepdims=0)
    b.op("Mul", b.op("ReduceL2", h, keepdims=0), g, to="y")


@graph
def recurrent(b: Builder) -> None:
    x = b.input("x", [5, "n", 3])
    b.ops("LSTM", [x, b.weight(2, 16, 3), b.weight(2, 16, 4)], ["h"], hidden_size=4,
          direction="bidirectional")  # fmt: skip
    h = b.op("Reshape", b.op("Transpose", "h", perm=[0, 2, 1, 3]), b.const(np.array([0, 0, 8])))
    more: dict[str, Any] = {"hidden_size": 2, "direction": "reverse", "linear_before_reset": 1}
    b.ops("GRU", [h, b.weight(1, 6, 8), b.weight(1, 6, 2), b.weight(1, 12)], ["z", "last"], **more)
    b.op("Add", "z", "last", to="y")


@graph
def frozen_body(b: Builder) -> None:
    """A table is trained behind what an If makes of the input."""
    x = b.input("x", ["n", 4])
    inner = [Builder(seed) for seed in (1, 2)]
    for at, part in enumerate(inner):
        part.op("Mul", x, part.const(np.float32(at + 2)), to=f"made{at}")
        part.output(f"made{at}", ["n", 4])
    yes, no = (part.graph(f"branch{at}") for at, part in enumerate(inner))
    total = b.op("ReduceSum", x, keepdims=0)
    more: dict[str, Any] = {"then_branch": yes, "else_branch": no}
    h = b.op("If", b.op("Greater", total, b.const(np.float32(0))), **more)
    b.op("MatMul", h, b.weight(4, 3), to="y")


@graph
def chosen(b: Builder) -> None:
    x = b.input("x", ["n", 4])
    ids = b.input("ids", ["n", 2], T.INT64)
    table = b.op("Gather", b.weight(7, 4), ids)
    h = b.op("Where", b.op("Greater", x, b.const(np.float32(0))), x, b.op("Neg", x))
    b.op("Add", b.op("ReduceMax", table, b.const(np.array([1])), keepdims=0), h, to="y")


def program_of(model: Model, given: Mapping[str, Array], floating: torch.dtype) -> TrainableProgram:
    return TrainableProgram(typed(model), given, (), floating=floating, threads=1)


def apart(model: Model, given: Mapping[str, Array]) -> tuple[float, TrainableProgram]:
    """Return the largest difference to ONNX Runtime, relative above one; shapes must agree."""
    expected = Session(model).run(given)
    program = program_of(model, given, torch.float32)
    found = program.run({n: to_held(a, torch.float32) for n, a in given.items()})
    return max(_gap(found[name], want) for name, want in expected.items()), program


def _gap(found: Any, want: Array) -> float:
    got = found.numpy() if isinstance(found, torch.Tensor) else found
    assert got.shape == want.shape
    if want.dtype.kind == "O":
        assert (got == want).all()
        return 0.0
    got, whole = got.astype(np.float64), want.astype(np.float64)
    finite = np.isfinite(whole)
    np.testing.assert_array_equal(got[~finite], whole[~finite])
    gaps = np.abs(got[finite] - whole[finite]) / np.maximum(1, np.abs(whole[finite]))
    return float(gaps.max(initial=0))


def given_to(model: Model) -> dict[str, Array]:
    return feeds(model, batch=2)

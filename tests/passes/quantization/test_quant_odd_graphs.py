"""Graphs that are put together in ways that quantization must cope with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto as T

from ocompress.ir import Model
from tests.build import Array, Builder
from tests.passes.quantization.runs import data_for, executed, outputs, quantized, sqnr

INF = np.float32(np.inf)


def shared_bias(b: Builder) -> None:
    """One layer applied over and over, as ALBERT does, its bias on the left."""
    h, weight, bias = b.input("x", ["n", 6, 32]), b.weight(32, 32), b.weight(32)
    for _ in range(3):
        h = b.op("Relu", b.op("Add", bias, b.op("MatMul", h, weight)))
    b.output(h)


def bias_of_two_ranks(b: Builder) -> None:
    weight, bias = b.weight(32, 32), b.weight(32)
    for name, shape in (("x", ["n", 6, 32]), ("z", ["n", 2, 6, 32])):
        b.output(b.op("Add", b.op("MatMul", b.input(name, shape), weight), bias))


def bias_that_is_read_elsewhere(b: Builder) -> None:
    x, bias = b.input("x", ["n", 6, 32]), b.weight(32)
    h = b.op("Add", b.op("MatMul", x, b.weight(32, 32)), bias)
    b.output(b.op("Mul", b.op("Add", h, x), bias))
    b.output(b.op("Exp", bias))


def inner_outputs(b: Builder) -> None:
    """What units hand to each other is an output as well."""
    x = b.input("x", ["n", 4, 8, 8])
    h = b.op("Conv", x, b.weight(8, 4, 3, 3), pads=[1] * 4)
    b.output(h)
    h = b.op("Relu", h)
    b.output(h)
    b.output(b.op("MaxPool", h, kernel_shape=[2, 2], strides=[2, 2]))
    b.output(b.op("Add", h, h))


def masked_attention(b: Builder) -> None:
    """Scores of a mask that is minus infinity where nothing may be looked at."""
    x = b.input("x", ["n", 6, 16])
    q, k = (b.op("MatMul", x, b.weight(16, 16)) for _ in range(2))
    scores = b.op("MatMul", q, b.op("Transpose", k, perm=[0, 2, 1]))
    mask = np.triu(np.full((6, 6), -INF), 1)
    soft = b.op("Softmax", b.op("Add", scores, b.const(mask)), axis=-1)
    b.output(b.op("MatMul", soft, b.op("MatMul", x, b.weight(16, 16))))


def huge_mask(b: Builder) -> None:
    """The same with the smallest number that there is."""
    x = b.input("x", ["n", 6, 16])
    q, k = (b.op("MatMul", x, b.weight(16, 16)) for _ in range(2))
    scores = b.op("MatMul", q, b.op("Transpose", k, perm=[0, 2, 1]))
    mask = np.triu(np.full((6, 6), np.finfo(np.float32).min, np.float32), 1)
    soft = b.op("Softmax", b.op("Add", scores, b.const(mask)), axis=-1)
    b.output(b.op("MatMul", soft, b.op("MatMul", x, b.weight(16, 16))))


def computed_mask(b: Builder) -> None:
    x = b.input("x", ["n", 6, 16])
    scores = b.op("MatMul", x, b.op("Transpose", x, perm=[0, 2, 1]))
    keep = b.op("Greater", scores, b.const(np.float32(-1)))
    mask = b.op("Where", keep, b.const(np.float32(0)), b.const(-INF))
    soft = b.op("Softmax", b.op("Add", scores, mask), axis=-1)
    b.output(b.op("MatMul", b.op("MatMul", soft, x), b.weight(16, 16)))


def constants_as_data(b: Builder) -> None:
    """A token that is put before the others, a factor on the left, a constant read twice."""
    x, token = b.input("x", [1, 6, 16]), b.weight(1, 1, 16)
    h = b.op("Concat", token, x, token, axis=1)
    h = b.op("MatMul", b.weight(1, 8, 8), h)
    b.output(b.op("Mul", h, b.op("Sigmoid", h)))


def weight_as_data(b: Builder) -> None:
    """The weight of a product is added elsewhere."""
    weight = b.weight(16, 16)
    h = b.op("MatMul", b.input("x", [16, 16]), weight)
    b.output(b.op("Add", h, weight))


def optional_inputs(b: Builder) -> None:
    x = b.input("x", ["n", 4, 8, 8])
    h = b.op("Conv", x, b.weight(8, 4, 1, 1), "")
    h = b.op("Clip", h, "", b.const(np.float32(2)))
    h = b.op("Resize", h, "", b.const(np.array([1, 1, 2, 2], np.float32)), mode="nearest")
    h = b.op("Clip", b.op("Conv", h, b.weight(8, 8, 1, 1)), b.const(np.float32(0)), "")
    b.output(h)


def nothing_passes(b: Builder) -> None:
    """A branch whose tensors are empty beside one whose are not."""
    x = b.input("x", ["n", 4, 8, 8])
    h = b.op("Relu", b.op("Conv", x, b.weight(8, 4, 1, 1)))
    none = b.op("Slice", h, b.const([0]), b.const([0]), b.const([2]))
    b.output(b.op("Concat", h, b.op("Relu", none), axis=2))
    b.output(b.op("Mul", none, none))


BUILDS: list[Callable[[Builder], None]] = [
    shared_bias,
    bias_of_two_ranks,
    bias_that_is_read_elsewhere,
    inner_outputs,
    masked_attention,
    huge_mask,
    computed_mask,
    constants_as_data,
    weight_as_data,
    optional_inputs,
    nothing_passes,
]


def model_of(build: Callable[[Builder], None]) -> Model:
    b = Builder()
    build(b)
    return b.model()


@pytest.mark.parametrize("text", ["quant", "quant{keep_slower=true}"])
@pytest.mark.parametrize("build", BUILDS, ids=lambda build: build.__name__)
def test_odd_graphs_stay_faithful(build: Callable[[Builder], None], text: str) -> None:
    model = model_of(build)
    feed = data_for(model)[3]
    result = quantized(model, text).model
    before, after = outputs(model, feed), outputs(result, feed)
    assert [a.shape for a in before] == [a.shape for a in after]
    assert all(np.isfinite(a).all() for a in after)
    assert all(sqnr([a], [c]) > 15 for a, c in zip(before, after, strict=True) if a.size)


def test_a_shared_bias_is_still_shared() -> None:
    result = quantized(model_of(shared_bias)).model
    biases = [
        v
        for v in result.graph.initializers.values()
        if v.data is not None and v.data.size == 32 and v.data.ndim > 1
    ]
    assert len(biases) == 1
    assert sum(n.is_op("MatMul") for n in result.graph.nodes) == 3


def test_units_in_a_body_that_data_never_reach_stay_float() -> None:
    b, then, other = Builder(), Builder(), Builder()
    x = b.input("x", ["n", 6, 32])
    for body, scale in ((then, 1.0), (other, 2.0)):
        y = body.op("MatMul", x, body.weight(32, 32, scale=scale), to=f"y{scale}")
        body.output(y)
    condition = b.input("c", [], T.BOOL)
    b.op(
        "If",
        condition,
        to="h",
        then_branch=then.graph("then"),
        else_branch=other.graph("else"),
    )
    b.output(b.op("Tanh", "h"))
    model = b.model()
    rng = np.random.default_rng(0)
    batches: list[dict[str, Array]] = [
        {"x": rng.standard_normal((2, 6, 32)).astype(np.float32), "c": np.array(True)}
        for _ in range(3)
    ]
    result = quantized(model, batches=batches)
    for there in (True, False):
        feed = {**batches[0], "c": np.array(there)}
        assert sqnr(outputs(model, feed), outputs(result.model, feed)) > 25


def residual(b: Builder) -> None:
    x = b.input("x", ["n", 32])
    h = b.op("Add", x, b.op("MatMul", x, b.weight(32, 32)))
    b.output(b.op("Exp", h))


def sum_of_products(b: Builder) -> None:
    x, z = b.input("x", ["n", 32]), b.input("z", ["n", 32])
    h = b.op("Add", b.op("MatMul", x, b.weight(32, 32)), b.op("MatMul", z, b.weight(32, 32)))
    b.output(b.op("Exp", h))


def row_of_two_axes(b: Builder) -> None:
    x = b.input("x", ["n", 32])
    h = b.op("MatMul", x, b.weight(32, 32))
    b.output(b.op("Exp", b.op("Add", b.op("Sub", h, x), b.op("Add", h, b.weight(1, 32)))))


@pytest.mark.parametrize("options", ["", " op_types=[MatMul]"])
@pytest.mark.parametrize("build", [residual, sum_of_products, row_of_two_axes])
def test_a_product_of_matrices_stays_an_integer_one_where_something_is_added(
    build: Callable[[Builder], None], options: str, tmp_path: Path
) -> None:
    """ONNX Runtime would make one float Gemm of both."""
    model = model_of(build)
    result = quantized(model, f"quant{{keep_slower=true{options}}}").model
    ran = executed(result, tmp_path)
    assert not ran["Gemm"] + ran["FusedGemm"] + ran["MatMul"], ran
    feed = data_for(model)[3]
    assert sqnr(outputs(model, feed), outputs(result, feed)) > 20

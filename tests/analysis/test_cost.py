"""Parameters, bytes and multiply-accumulates, counted by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from ocompress.analysis.cost import Cost, count
from ocompress.errors import DataError
from ocompress.ir import Model, to_proto
from tests.build import Builder
from tests.graphs import ZOO


def one(op_type: str, shape: Any, *weights: Any, rank: int = 4, **attrs: Any) -> Model:
    b = Builder()
    x = b.input("x", shape)
    b.op(op_type, x, *(b.weight(*w) for w in weights), to="y", **attrs)
    b.output("y", [None] * rank)
    return b.model()


@pytest.mark.parametrize(
    ("model", "macs"),
    [
        (one("Conv", ["n", 4, 8, 8], (6, 4, 3, 3), (6,)), 6 * 6 * 6 * 4 * 9),
        (one("Conv", [2, 4, 8, 8], (6, 4, 3, 3), strides=[2, 2]), 2 * 6 * 3 * 3 * 4 * 9),
        (one("Conv", ["n", 4, 8, 8], (4, 1, 3, 3), group=4), 4 * 6 * 6 * 9),
        (one("ConvTranspose", ["n", 4, 5, 5], (4, 3, 2, 2), strides=[2, 2]), 4 * 25 * 3 * 4),
        (one("Gemm", ["n", 7], (7, 5), (5,), rank=2), 35),
        (one("Gemm", ["n", 7], (5, 7), rank=2, transB=1), 35),
        (one("Gemm", [7, 3], (7, 5), rank=2, transA=1), 3 * 5 * 7),
        (one("MatMul", ["n", 6, 7], (7, 5), rank=3), 6 * 7 * 5),
        (one("Relu", ["n", 7], rank=2), 0),
    ],
)
def test_macs(model: Model, macs: int) -> None:
    assert count(model).total_macs == macs
    assert count(model).unknown == ()


def test_what_is_computed_of_constants_counts_nothing() -> None:
    b = Builder()
    weight = b.op("Relu", b.op("MatMul", b.weight(7, 3), b.weight(3, 5)))
    b.op("MatMul", b.input("x", ["n", 7]), weight, to="y")
    b.output("y", ["n", 5])
    assert count(b.model()).total_macs == 35


def test_attention_over_inputs_of_different_ranks_is_unknown() -> None:
    b = Builder()
    shapes = {"q": [1, 1, 5, 1], "k": [1, 1, 5, 1], "v": [1, 5, 1]}
    operands = [b.input(name, shape) for name, shape in shapes.items()]
    b.op("Attention", *operands, to="y")
    b.output("y", [None] * 4)
    assert count(b.model(opset=23)).unknown == ("y",)


def test_recurrent_nets_count_every_step() -> None:
    b = Builder()
    w, r = b.weight(1, 12, 4), b.weight(1, 12, 3)
    b.ops("LSTM", [b.input("x", [5, "n", 4]), w, r], ["y"], hidden_size=3)
    b.output("y", [5, 1, "n", 3])
    cost = count(b.model(), {"x": (5, 2, 4)})
    assert cost.total_macs == 5 * 2 * 12 * (4 + 3)


def test_unknown_shapes_are_named_and_may_be_observed() -> None:
    b = Builder()
    x = b.input("x", ["n", 6])
    rows = b.op("NonZero", b.op("Equal", x, x))  # [2, 6], which inference cannot know
    f = b.op("Sqrt", b.op("CastLike", rows, x))
    b.op("MatMul", b.op("Transpose", f, perm=[1, 0]), f, to="y")
    b.output("y", [None, None])
    model = b.model()
    assert count(model).unknown == ("y",)
    assert count(model).total_macs == 0
    observed = count(model, run=True)
    assert observed.unknown == ()
    assert observed.total_macs == 6 * 2 * 6
    assert count(model, {"x": (3, 6)}, run=True).total_macs == 18 * 2 * 18


def test_free_extents_may_be_given() -> None:
    model = one("Conv", ["n", 4, "h", "w"], (6, 4, 1, 1))
    assert count(model).unknown == ("y",)
    assert count(model, {"x": (1, 4, 8, 9)}).total_macs == 72 * 24


@pytest.mark.parametrize(
    ("shapes", "words"), [({"z": (1,)}, "'z'"), ({"x": (1, 2)}, "has rank 2, the model wants 4")]
)
def test_wrong_shapes_are_named(shapes: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError) as caught:
        count(one("Conv", ["n", 4, "h", "w"], (6, 4, 1, 1)), shapes)
    assert words in str(caught.value)


def quantized(zero: int) -> Model:
    b = Builder()
    x = b.input("x", ["n", 4])
    data = np.full((4, 3), zero, np.uint8)
    data[0] = zero + 1
    scale, point = b.const(np.float32(0.1)), b.const(np.uint8(zero))
    b.op("MatMul", x, b.op("DequantizeLinear", b.const(data), scale, point), to="y")
    b.output("y", ["n", 3])
    return b.model()


def test_quantized_models_count_like_float_ones() -> None:
    cost = count(quantized(128))
    assert cost.total_macs == 12
    assert cost.weight_bytes == {"uint8": 13, "float": 4}
    assert cost.parameters == 14
    assert cost.nonzero == 3 + 1 + 1  # weights off their zero point, the scale, the zero point


def test_zero_points_per_channel() -> None:
    b = Builder()
    x = b.input("x", ["n", 2])
    data = np.array([[1, 2, 3], [1, 5, 3]], np.int8)
    point = b.const(np.array([1, 2, 3], np.int8))
    w = b.op("DequantizeLinear", b.const(data), b.positive(3), point, axis=1)
    b.op("MatMul", x, w, to="y")
    b.output("y", ["n", 3])
    assert count(b.model()).nonzero == 1 + 3 + 3


@pytest.mark.parametrize("axis", [2, -3, 7])
def test_an_axis_outside_the_weight_tells_nothing_of_zero_points(axis: int) -> None:
    b = Builder()
    x = b.input("x", ["n", 2])
    point = b.const(np.array([1, 2, 3], np.int8))
    w = b.const(np.array([[1, 0, 3], [1, 5, 3]], np.int8))
    w = b.op("DequantizeLinear", w, b.positive(3), point, axis=axis)
    b.op("MatMul", x, w, to="y")
    b.output("y", ["n", 3])
    assert count(b.model()).nonzero == 5 + 3 + 3


def test_constants_count_wherever_they_are() -> None:
    b = Builder()
    x = b.input("x", ["n", 4])
    w = np.zeros((4, 4), np.float32)
    w[0] = 1
    tensor = numpy_helper.from_array(w, "w")
    b.nodes.append(helper.make_node("Constant", [], ["w"], value=tensor))
    b.op("Reshape", b.op("MatMul", x, "w"), b.const(np.array([-1, 2, 2])), to="y")
    b.output("y", ["n", 2, 2])
    cost = count(b.model())
    assert (cost.parameters, cost.nonzero) == (16, 4)  # the target shape is no weight
    assert cost.weight_bytes == {"float": 64, "int64": 24}
    assert cost.ops == {"Constant": 1, "MatMul": 1, "Reshape": 1}


def test_shapes_in_bodies_alone_stay_unknown() -> None:
    def branch(name: str) -> onnx.GraphProto:
        inner = Builder()
        rows = inner.op("CastLike", inner.op("NonZero", "x"), "x", to=f"{name}_rows")
        inner.op("MatMul", inner.op("Transpose", rows, perm=[1, 0]), rows, to=f"{name}_out")
        inner.output(f"{name}_out", [None, None])
        return inner.graph(name)

    b = Builder()
    b.input("x", ["n", 6])
    condition = b.input("c", [], TensorProto.BOOL)
    b.op("If", condition, to="y", then_branch=branch("t"), else_branch=branch("e"))
    b.output("y", [None, None])
    assert set(count(b.model(), run=True).unknown) == {"t_out", "e_out"}


def test_shared_arrays_count_once() -> None:
    model = one("Gemm", ["n", 7], (7, 7), rank=2)
    first = next(iter(model.graph.initializers.values()))
    assert first.data is not None
    again = model.graph.constant("again", first.data)
    again.data = first.data
    assert count(model).parameters == 49


@pytest.mark.parametrize("name", sorted(ZOO))
def test_odd_models_are_counted(name: str) -> None:
    model = ZOO[name]()
    cost = count(model)
    assert isinstance(cost, Cost)
    assert sum(cost.ops.values()) == sum(1 for _ in model.nodes())


def test_counting_leaves_the_model_alone() -> None:
    model = one("Conv", ["n", 4, "h", "w"], (6, 4, 1, 1))
    before = to_proto(model).SerializeToString(deterministic=True)
    count(model, {"x": (1, 4, 8, 9)}, run=True)
    assert to_proto(model).SerializeToString(deterministic=True) == before

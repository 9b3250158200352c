"""The zoo of tiny graphs: one per thing that real files contain and that could trip a pass."""

from __future__ import annotations

from collections.abc import Callable

import ml_dtypes
import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper, numpy_helper

from ocompress.ir import Model, from_proto, to_proto
from tests.build import Builder

ZOO: dict[str, Callable[[], Model]] = {}


def zoo(build: Callable[[], Model]) -> Callable[[], Model]:
    """Enrol a graph under its function's name."""
    ZOO[build.__name__.removesuffix("_")] = build
    return build


@zoo
def mlp() -> Model:
    b = Builder()
    x = b.input("x", ["n", 16])
    h = b.op("Relu", b.op("Gemm", x, b.weight(32, 16), b.weight(32), transB=1))
    h = b.op("Relu", b.op("Gemm", h, b.weight(32, 32), b.weight(32)))
    b.op("Gemm", h, b.weight(10, 32), b.weight(10), to="y", transB=1)
    b.output("y", ["n", 10])
    return b.model()


@zoo
def conv_bn_relu() -> Model:
    b = Builder()
    x = b.input("x", ["n", 3, 12, 12])
    for index, (c_in, c_out) in enumerate([(3, 16), (16, 16)]):
        x = b.op("Conv", x, b.weight(c_out, c_in, 3, 3), pads=[1, 1, 1, 1], strides=[index + 1] * 2)
        x = b.op("Relu", b.batch_norm(x, c_out))
    x = b.op("Flatten", b.op("GlobalAveragePool", x))
    b.op("Gemm", x, b.weight(10, 16), b.weight(10), to="y", transB=1)
    b.output("y", ["n", 10])
    return b.model()


@zoo
def bn_spelled_out() -> Model:
    b = Builder()
    x = b.input("x", [2, 4, 8, 8])
    h = b.op("Conv", x, b.weight(8, 4, 3, 3), b.weight(8))
    h = b.op("Div", b.op("Sub", h, b.weight(1, 8, 1, 1)), b.positive(8, 1, 1))
    h = b.op("Add", b.op("Mul", b.positive(1, 8, 1, 1), h), b.weight(8, 1, 1))
    b.op(
        "Conv",
        b.op("Clip", h, b.const(np.float32(0)), b.const(np.float32(6))),
        b.weight(4, 8, 1, 1),
        to="y",
    )
    b.output("y", [2, 4, 6, 6])
    return b.model()


@zoo
def depthwise_residual() -> Model:
    b = Builder()
    x = b.input("x", ["n", 8, 10, 10])
    h = b.op("Relu", b.op("Conv", x, b.weight(16, 8, 1, 1), b.weight(16)))
    h = b.op("Conv", h, b.weight(16, 1, 3, 3), b.weight(16), group=16, pads=[1, 1, 1, 1])
    h = b.op("Clip", h, b.const(np.float32(0)), b.const(np.float32(6)))
    h = b.op("Conv", h, b.weight(8, 16, 1, 1), b.weight(8))
    b.op("Add", h, x, to="y")
    b.output("y", ["n", 8, 10, 10])
    return b.model()


@zoo
def concat_split_pool() -> Model:
    b = Builder()
    x = b.input("x", [1, 8, 8, 8])
    left = b.op("Relu", b.op("Conv", x, b.weight(8, 8, 3, 3), b.weight(8), pads=[1, 1, 1, 1]))
    right = b.op("MaxPool", x, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    h = b.op(
        "AveragePool", b.op("Concat", left, right, axis=1), kernel_shape=[2, 2], strides=[2, 2]
    )
    b.ops("Split", [h, b.const(np.array([4, 12], np.int64))], ["s0", "s1"], axis=1)
    b.op("Conv", "s1", b.weight(4, 12, 1, 1), b.weight(4), to="y")
    b.output("y", [1, 4, 4, 4])
    b.output("s0", [1, 4, 4, 4])
    return b.model()


@zoo
def mergeable() -> Model:
    """Layers in a row, side by side and added up, and averages next to them."""
    b = Builder()
    x = b.input("x", ["n", 4, 8, 8])
    h = b.op("Conv", x, b.weight(24, 4, 1, 1), b.weight(24))
    h = b.op("Relu", b.op("Conv", h, b.weight(4, 24, 3, 3), b.weight(4)))
    branches = [b.op("Conv", h, b.weight(4, 4, k, k), pads=[k // 2] * 4) for k in (3, 1)]
    h = b.op("Relu", b.op("Add", b.op("Add", *branches), b.batch_norm(h, 4)))
    h = b.op(
        "Concat", *(b.op("Conv", h, b.weight(o, 4, 1, 1), b.weight(o)) for o in (3, 5)), axis=1
    )
    h = b.op("Relu", b.op("AveragePool", h, kernel_shape=[2, 2], strides=[2, 2]))
    h = b.op("Conv", h, b.weight(6, 8, 2, 2), b.weight(6))
    h = b.op("AveragePool", h, kernel_shape=[2, 2])
    h = b.op("Reshape", h, b.const(np.array([0, 6], np.int64)))
    h = b.op("Add", b.op("MatMul", h, b.weight(6, 30)), b.weight(30))
    b.op("MatMul", h, b.weight(30, 5), to="y")
    b.output("y", ["n", 5])
    return b.model()


@zoo
def conv_transpose() -> Model:
    b = Builder()
    x = b.input("x", [1, 8, 6, 6])
    h = b.op("Conv", x, b.weight(8, 8, 3, 3), b.weight(8), pads=[1, 1, 1, 1])
    h = b.op("ConvTranspose", h, b.weight(8, 4, 2, 2), b.weight(4), strides=[2, 2])
    b.op("Sigmoid", b.batch_norm(h, 4), to="y")
    b.output("y", [1, 4, 12, 12])
    return b.model()


@zoo
def attention() -> Model:
    b = Builder()
    x = b.input("x", ["n", 6, 16])
    q, k, v = (b.op("Add", b.op("MatMul", x, b.weight(16, 16)), b.weight(16)) for _ in range(3))
    shape = b.const(np.array([0, 0, 4, 4], np.int64))
    q, v = (b.op("Transpose", b.op("Reshape", t, shape), perm=[0, 2, 1, 3]) for t in (q, v))
    k = b.op("Transpose", b.op("Reshape", k, shape), perm=[0, 2, 3, 1])
    scores = b.op("Div", b.op("MatMul", q, k), b.const(np.float32(2)))
    mixed = b.op("MatMul", b.op("Softmax", scores, axis=-1), v)
    mixed = b.op("Transpose", mixed, perm=[0, 2, 1, 3])
    mixed = b.op("Reshape", mixed, b.const(np.array([0, 0, 16], np.int64)))
    h = b.op("Add", x, b.op("MatMul", mixed, b.weight(16, 16)))
    b.op("LayerNormalization", h, b.positive(16), b.weight(16), to="y")
    b.output("y", ["n", 6, 16])
    return b.model()


@zoo
def embedding() -> Model:
    b = Builder()
    ids = b.input("ids", ["n", 5], T.INT64)
    h = b.op("ReduceMean", b.op("Gather", b.weight(100, 16), ids), axes=[1], keepdims=0)
    b.op("MatMul", h, b.weight(16, 4), to="y")
    b.output("y", ["n", 4])
    return b.model()


@zoo
def if_bodies() -> Model:
    b = Builder()
    x = b.input("x", ["n", 16])
    flag = b.input("flag", [], T.BOOL)
    outer = b.weight(16, 16)
    branches = []
    for seed in (1, 2):
        inner = Builder(seed)
        own = inner.const(inner.rng.standard_normal((16, 16)).astype(np.float32) / 4, "own")
        h = inner.op("MatMul", x, outer if seed == 1 else own, to=f"h{seed}")
        h = inner.op(
            "Add",
            h,
            inner.const(inner.rng.standard_normal(16).astype(np.float32), f"bias{seed}"),
            to=f"a{seed}",
        )
        inner.op("Relu", h, to=f"r{seed}")
        inner.output(f"r{seed}", ["n", 16])
        branches.append(inner.graph(f"branch{seed}"))
    b.op("If", flag, to="z", then_branch=branches[0], else_branch=branches[1])
    b.op("Gemm", "z", b.weight(16, 4), b.weight(4), to="y")
    b.output("y", ["n", 4])
    return b.model()


@zoo
def loop_body() -> Model:
    b = Builder()
    x = b.input("x", [2, 8])
    body = Builder(1)
    body.input("i", [], T.INT64)
    body.input("go", [], T.BOOL)
    body.input("state", [2, 8])
    body.op("Identity", "go", to="go_on")
    h = body.op(
        "MatMul",
        "state",
        body.const(body.rng.standard_normal((8, 8)).astype(np.float32) / 4, "wl"),
        to="ml",
    )
    body.op("Tanh", h, to="next")
    body.op("Identity", "next", to="scan")
    body.output("go_on", [], T.BOOL)
    body.output("next", [2, 8])
    body.output("scan", [2, 8])
    trips, go = b.const(np.array(3, np.int64)), b.const(np.array(True))
    b.ops("Loop", [trips, go, x], ["y", "all"], body=body.graph("body"))
    b.output("y", [2, 8])
    b.output("all", [3, 2, 8])
    return b.model()


@zoo
def nhwc() -> Model:
    b = Builder()
    x = b.input("x", ["n", 8, 8, 3])
    h = b.op("Conv", b.op("Transpose", x, perm=[0, 3, 1, 2]), b.weight(8, 3, 3, 3))
    h = b.op("Add", b.op("Transpose", h, perm=[0, 2, 3, 1]), b.weight(8))
    b.op("Relu", h, to="y")
    b.output("y", ["n", 6, 6, 8])
    return b.model()


@zoo
def shared_weights() -> Model:
    b = Builder()
    x, z = b.input("x", ["n", 16]), b.input("z", ["n", 16])
    w = b.weight(16, 16)
    h = b.op("Concat", b.op("MatMul", x, w), b.op("MatMul", z, w), axis=-1)
    b.op("Gemm", h, b.weight(8, 32), b.weight(8), to="y", transB=1)
    b.output("y", ["n", 8])
    return b.model()


def _typed(dtype: int, kind: type) -> Model:
    b = Builder()
    x = b.input("x", ["n", 16], dtype)
    h = b.op("Relu", b.op("Gemm", x, b.weight(16, 16, dtype=kind), b.weight(16, dtype=kind)))
    b.op("MatMul", h, b.weight(16, 4, dtype=kind), to="y")
    b.output("y", ["n", 4], dtype)
    return b.model()


@zoo
def float16() -> Model:
    return _typed(T.FLOAT16, np.float16)


@zoo
def double() -> Model:
    return _typed(T.DOUBLE, np.float64)


@zoo
def bfloat16() -> Model:
    b = Builder()
    x = b.input("x", [2, 8])
    b.const(b.rng.standard_normal((8, 4)).astype(ml_dtypes.bfloat16), "half")
    b.nodes.append(helper.make_node("Cast", ["half"], ["whole"], name="whole", to=T.FLOAT))
    b.op("MatMul", x, "whole", to="y")
    b.output("y", [2, 4])
    return b.model()


@zoo
def integers_only() -> Model:
    b = Builder()
    x = b.input("x", ["n"], T.INT64)
    b.op(
        "Mul",
        b.op("Add", x, b.const(np.array(3, np.int64))),
        b.const(np.array([2], np.int64)),
        to="y",
    )
    b.output("y", ["n"], T.INT64)
    return b.model()


@zoo
def no_weights() -> Model:
    b = Builder()
    x = b.input("x", ["n", "c", "h", "w"])
    b.op("Softmax", b.op("Exp", x), axis=1, to="y")
    b.output("y", ["n", "c", "h", "w"])
    return b.model()


@zoo
def zero_nodes() -> Model:
    b = Builder()
    b.input("x", [2, 2])
    b.output("x", [2, 2])
    return b.model()


@zoo
def rank_zero() -> Model:
    b = Builder()
    x = b.input("x", [])
    b.op("Add", b.op("Mul", x, b.const(np.float32(3))), b.const(np.float32(1)), to="y")
    b.output("y", [])
    return b.model()


@zoo
def initializers_as_inputs() -> Model:
    b = Builder()
    x = b.input("x", [1, 3, 8, 8])
    b.input("w", [8, 3, 3, 3])
    b.const(b.rng.standard_normal((8, 3, 3, 3)).astype(np.float32) / 5, "w")
    b.op("Relu", b.op("Conv", x, "w"), to="y")
    b.output("y", [1, 8, 6, 6])
    return b.model(opset=8, ir_version=3)


@zoo
def overridable_default() -> Model:
    b = Builder()
    x = b.input("x", ["n", 4])
    b.input("scale", [1])
    b.const(np.array([2], np.float32), "scale")
    b.op("Mul", b.op("MatMul", x, b.weight(4, 4)), "scale", to="y")
    b.output("y", ["n", 4])
    return b.model()


@zoo
def old_opset() -> Model:
    b = Builder()
    x = b.input("x", [2, 3, 8, 8])
    h = b.op("Conv", x, b.weight(8, 3, 3, 3), b.weight(8))
    h = b.op("Clip", b.batch_norm(h, 8), min=0.0, max=6.0)
    h = b.op("Squeeze", b.op("ReduceMean", h, axes=[2, 3], keepdims=1), axes=[2, 3])
    b.op("Softmax", b.op("Gemm", h, b.weight(8, 5), b.weight(5)), to="y")
    b.output("y", [2, 5])
    return b.model(opset=9, ir_version=4)


@zoo
def batched_scan() -> Model:
    """A Scan as opset 8 had it, with a batch axis: no later opset can say the same."""
    body = Builder()
    state, step = body.input("state", [16]), body.input("step", [16])
    body.output(body.op("Add", state, step, to="next"), [16])
    body.output(body.op("Identity", "next", to="seen"), [16])
    b = Builder()
    b.input("start", ["n", 16])
    x = b.input("x", ["n", 5, 16])
    b.ops("Scan", ["", "start", x], ["last", "all"], num_scan_inputs=1, body=body.graph("body"))
    h = b.op("Relu", b.op("Gemm", "last", b.weight(32, 16), b.weight(32), transB=1))
    h = b.op("Relu", b.op("Gemm", h, b.weight(32, 64), b.weight(64)))
    square = b.op("Reshape", h, b.const(np.array([-1, 4, 4, 4])))
    h = b.op("Relu", b.op("Conv", square, b.weight(8, 4, 3, 3), b.weight(8), pads=[1, 1, 1, 1]))
    h = b.op("MatMul", b.op("Flatten", b.op("GlobalAveragePool", h)), b.weight(8, 10))
    b.op("Add", h, b.weight(10), to="y")
    b.output("y", ["n", 10])
    return b.model(opset=8, ir_version=4)


@zoo
def new_opset() -> Model:
    b = Builder()
    x = b.input("x", ["n", 16])
    h = b.op("Gelu", b.op("Gemm", x, b.weight(16, 16), b.weight(16), transB=1))
    b.op("MatMul", h, b.weight(16, 4), to="y")
    b.output("y", ["n", 4])
    return b.model(opset=23, ir_version=10)


@zoo
def already_quantized() -> Model:
    b = Builder()
    x = b.input("x", ["n", 8])
    scale, zero = b.const(np.float32(0.02)), b.const(np.uint8(128))
    h = b.op("DequantizeLinear", b.op("QuantizeLinear", x, scale, zero), scale, zero)
    w = b.const(b.rng.integers(-63, 64, (8, 4)).astype(np.int8))
    w = b.op("DequantizeLinear", w, b.positive(4), b.const(np.zeros(4, np.int8)), axis=1)
    b.op("MatMul", h, w, to="y")
    b.output("y", ["n", 4])
    return b.model()


@zoo
def contrib_domain() -> Model:
    b = Builder()
    x = b.input("x", ["n", 8])
    h = b.op("FusedMatMul", x, b.weight(8, 8), domain="com.microsoft", alpha=0.5)
    b.op("MatMul", h, b.weight(8, 4), to="y")
    b.output("y", ["n", 4])
    return b.model(com_microsoft=1)


@zoo
def sequences() -> Model:
    b = Builder()
    x, z = b.input("x", [2, 4]), b.input("z", [2, 4])
    s = b.op("SequenceConstruct", x, b.op("MatMul", z, b.weight(4, 4)))
    b.op("ConcatFromSequence", s, axis=0, to="y")
    b.output("y", [4, 4])
    return b.model()


@zoo
def constant_nodes() -> Model:
    b = Builder()
    x = b.input("x", ["n", 2, 8])
    tensor = numpy_helper.from_array(b.rng.standard_normal((16, 4)).astype(np.float32), "t")
    w = b.op("Constant", value=tensor)
    head = b.op("Gather", b.op("Shape", x), b.op("Constant", value_int=0))
    one = b.op("Unsqueeze", head, b.op("Constant", value_ints=[0]))
    shape = b.op("Concat", one, b.op("Constant", value_ints=[-1]), axis=0)
    b.op("MatMul", b.op("Identity", b.op("Reshape", x, shape)), w, to="y")
    b.output("y", ["n", 4])
    return b.model()


@zoo
def duplicates_and_dead_code() -> Model:
    b = Builder()
    x = b.input("x", [2, 8])
    data = b.rng.standard_normal((8, 8)).astype(np.float32)
    left = b.op("MatMul", x, b.const(data))
    right = b.op("MatMul", x, b.const(data.copy()))
    b.op("Sin", right)
    b.const(np.ones(1000, np.float32), "unused")
    b.op("Add", left, b.op("Mul", right, b.const(np.float32(1))), to="y")
    b.output("y", [2, 8])
    return b.model()


@zoo
def recurrent() -> Model:
    b = Builder()
    x = b.input("x", [5, "n", 4])
    b.ops(
        "LSTM",
        [x, b.weight(1, 24, 4), b.weight(1, 24, 6), b.weight(1, 48)],
        ["ys", "y"],
        hidden_size=6,
    )
    b.output("ys", [5, 1, "n", 6])
    b.output("y", [1, "n", 6])
    return b.model()


@zoo
def documented() -> Model:
    b = Builder()
    x = b.input("x", ["n", 4])
    b.op("Relu", b.op("MatMul", x, b.weight(4, 4)), to="y")
    b.output("y", ["n", 4])
    proto = b.proto()
    proto.doc_string, proto.model_version, proto.domain = "what it is for", 7, "org.example"
    helper.set_model_props(proto, {"character": "a\nb\n", "author": "me"})
    proto.graph.doc_string = "graph doc"
    proto.graph.node[0].doc_string = "node doc"
    proto.graph.node[0].metadata_props.add(key="layer", value="fc1")
    proto.graph.input[0].doc_string = "pixels"
    return from_proto(proto)


@zoo
def local_function() -> Model:
    b = Builder()
    x = b.input("x", ["n", 4])
    h = b.op("Twice", b.op("MatMul", x, b.weight(4, 4)), domain="my.functions")
    b.op("Relu", h, to="y")
    b.output("y", ["n", 4])
    proto = b.proto(my_functions=1)
    double_ = helper.make_function(
        "my.functions",
        "Twice",
        ["a"],
        ["c"],
        [helper.make_node("Add", ["a", "a"], ["c"])],
        [helper.make_opsetid("", 17)],
    )
    proto.functions.append(double_)
    return from_proto(proto)


def protos() -> dict[str, onnx.ModelProto]:
    """Return every graph of the zoo in ONNX's own form."""
    return {name: to_proto(build()) for name, build in ZOO.items()}

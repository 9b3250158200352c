"""Graphs as exporters leave them, with something to do for every pass of `canonicalize`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper, numpy_helper

from ocompress.ir import Model, from_proto, onnx_api
from tests.build import Builder

UNTIDY: dict[str, Callable[[], Model]] = {}


def untidy(build: Callable[[], Model]) -> Callable[[], Model]:
    """Enrol a graph under its function's name."""
    UNTIDY[build.__name__] = build
    return build


def typed(model: Model) -> Model:
    """Return a model as it is behind the first pass of `canonicalize`, types inferred."""
    onnx_api.infer_types(model)
    return model


def _ints(b: Builder, *numbers: int) -> str:
    return b.const(np.array(numbers, np.int64))


def _branch(b: Builder, x: str, ops: Sequence[str], shape: Sequence[int | str], taken: bool) -> str:
    """Choose one of two branches, always the same."""
    bodies = [
        helper.make_graph(
            [helper.make_node(op, [x], [f"{op}_out"])],
            op,
            [],
            [helper.make_tensor_value_info(f"{op}_out", T.FLOAT, shape)],
        )
        for op in ops
    ]
    condition = b.const(np.array(taken))
    b.ops("If", [condition], ["chosen"], then_branch=bodies[0], else_branch=bodies[1])
    return "chosen"


def _hard_swish(b: Builder, x: str, sixth_of_gate: bool) -> str:
    """Spell out x * clip(x + 3, 0, 6) / 6."""
    three, zero, six = (b.const(np.float32(number)) for number in (3, 0, 6))
    gate = b.op("Clip", b.op("Add", x, three), zero, six)
    if sixth_of_gate:
        return b.op("Mul", x, b.op("Div", gate, six))
    return b.op("Div", b.op("Mul", x, gate), six)


@untidy
def leftovers() -> Model:
    """Make constants, shapes, branches and layouts to be folded."""
    b = Builder()
    x = b.input("x", ["n", 8, 6, 6])
    two = b.op("Add", b.const(np.float32(0.5)), b.const(np.float32(1.5)))
    h = b.op("Mul", x, two)
    h = b.op("Sum", h, b.op("Relu", x), b.op("Relu", x))
    h = b.op("Pad", h, _ints(b, 0, 0, 1, 1, 0, 0, 1, 1))
    h = b.op("Conv", h, b.weight(8, 8, 3, 3), b.weight(8))
    h = b.op("Transpose", b.op("Transpose", h, perm=[0, 2, 3, 1]), perm=[0, 3, 1, 2])
    count = b.op("Gather", b.op("Shape", x), b.const(np.array(1)))
    b.ops("Cast", [count], ["extent"], to=T.FLOAT)
    h = _hard_swish(b, b.op("Add", h, "extent"), sixth_of_gate=True)
    b.op("Identity", _branch(b, h, ("Relu", "Neg"), ["n", 8, 6, 6], taken=True), to="y")
    b.output("y", ["n", 8, 6, 6])
    return typed(b.model())


@untidy
def exported() -> Model:
    """Make weights in Constant nodes or turned round, poolings with what nobody reads."""
    b = Builder()
    x = b.input("x", [2, 4, 6, 6])
    kernel = b.rng.standard_normal((4, 4, 1, 1)).astype(np.float32)
    h = b.op("Pad", x, _ints(b, 0, 0, 1, 0, 0, 0, 1, 0))
    h = b.op("Conv", h, b.op("Constant", value=numpy_helper.from_array(kernel, "kernel")))
    h = b.op("Pad", h, _ints(b, 0, 0, 0, 1, 0, 0, 0, 1), b.const(np.float32(-np.inf)))
    b.ops("MaxPool", [h], ["pooled", "where"], kernel_shape=[3, 3], strides=[2, 2])
    b.op("Sin", "pooled")
    h = b.op("Reshape", b.op("Reshape", "pooled", _ints(b, 2, 36)), _ints(b, 2, 4, 9))
    w = b.op("Transpose", b.weight(5, 9), perm=[1, 0])
    h = b.op("Mean", b.op("MatMul", h, w), b.op("MatMul", h, w))
    ones = [b.const(np.ones(5, np.float32)) for _ in range(2)]
    h = b.op("Add", b.op("Mul", h, ones[0]), ones[1])
    b.ops("Cast", [b.op("Size", x)], ["elements"], to=T.FLOAT)
    h = _hard_swish(b, b.op("Dropout", b.op("Div", h, "elements")), sixth_of_gate=False)
    b.op("Tanh", _branch(b, h, ("Neg", "Sigmoid"), [2, 4, 5], taken=False), to="y")
    b.output("y", [2, 4, 5])
    return typed(b.model())


@untidy
def traced() -> Model:
    """Make shapes computed step by step, the same computed twice, branches in a body."""
    b = Builder()
    x = b.input("x", [3, 4, 5])
    body = Builder(1)
    body.input("i", [], T.INT64)
    body.input("go", [], T.BOOL)
    body.input("state", [3, 4, 5])
    body.op("Identity", "go", to="go_on")
    body.op("Max", _branch(body, "state", ("Tanh", "Sin"), [3, 4, 5], taken=True), x, to="next")
    body.output("go_on", [], T.BOOL)
    body.output("next", [3, 4, 5])
    trips, go = b.const(np.array(2, np.int64)), b.const(np.array(True))
    b.ops("Loop", [trips, go, x], ["looped"], body=body.graph("body"))
    tail = b.op("Slice", b.op("Shape", x), _ints(b, 1), _ints(b, 3))
    target = b.op("Concat", b.op("Constant", value_ints=[-1]), tail, axis=0)
    h = b.op("Reshape", "looped", target)
    h = b.op(
        "Unsqueeze", b.op("Squeeze", b.op("Unsqueeze", h, _ints(b, 0)), _ints(b, 0)), _ints(b, 0)
    )
    h = b.op("Pad", h, _ints(b, 0, 0, 1, 1, 0, 0, 1, 1))
    h = b.op("AveragePool", h, kernel_shape=[3, 3], count_include_pad=1)
    b.ops("Cast", [b.weight(4, 5, dtype=np.float16)], ["widened"], to=T.FLOAT)
    h = _hard_swish(b, b.op("Mul", h, "widened"), sixth_of_gate=False)
    b.op("Min", h, b.op("Exp", "looped", to="e1"), b.op("Exp", "looped", to="e2"), to="least")
    b.output("least", [3, 3, 4, 5])
    return typed(b.model())


@untidy
def products() -> Model:
    """Make products that could be said more plainly, or computed in int8."""
    b = Builder()
    x = b.input("x", ["n", 64])
    h = b.op("Gemm", x, b.weight(64, 64), b.weight(64), alpha=0.5, beta=2.0)
    h = b.op("Einsum", b.op("Relu", h), b.weight(64, 64), equation="nk,km->nm")
    stack = b.op("Reshape", h, _ints(b, -1, 4, 16))
    s = b.op("Softmax", b.op("Flatten", stack, axis=2), axis=-1)
    b.op("Reshape", s, b.op("Shape", stack), to="y")
    b.output("y", ["n", 4, 16])
    return typed(b.model())


@untidy
def projections() -> Model:
    """Make a left operand turned round, a bias and factors apart from their products."""
    b = Builder()
    x, q = b.input("x", [3, 8]), b.input("q", [2, 3, 8])
    h = b.op("Gemm", b.op("Transpose", x, perm=[1, 0]), b.weight(8, 4), transA=1, alpha=2.0)
    h = b.op("Mul", h, b.positive(4))
    h = b.op("Add", b.op("MatMul", h, b.weight(4, 8)), b.weight(8))
    h = b.op("Gemm", b.op("Relu", h), b.weight(8, 3), b.weight(3), alpha=0.25)
    scores = b.op("Einsum", q, b.op("Tanh", q), equation="bqd,bkd->bqk")
    s = b.op("LogSoftmax", b.op("Flatten", scores, axis=2), axis=-1)
    scores = b.op("Reshape", s, b.op("Shape", scores))
    b.op("MatMul", scores, h, to="y")
    b.output("y", [2, 3, 3])
    return typed(b.model())


@untidy
def heads() -> Model:
    """Make a stack of products over heads, and the largest of them picked out."""
    b = Builder()
    q, k = b.input("q", [2, 2, 3, 4]), b.input("k", [2, 2, 3, 4])
    h = b.op("Einsum", q, k, equation="bhqd,bhkd->bhqk")
    flat = b.op("Hardmax", b.op("Flatten", h, axis=3), axis=-1)
    picked = b.op("Reshape", flat, b.op("Shape", h))
    h = b.op("Reshape", b.op("MatMul", picked, k), _ints(b, 12, 4))
    h = b.op("Add", b.op("MatMul", h, b.weight(4, 6)), b.weight(1, 6))
    b.op("Gemm", h, b.weight(2, 6), b.weight(2), to="y", transB=1, beta=0.5)
    b.output("y", [12, 2])
    return typed(b.model())


def _legacy(opset: int) -> Model:
    """Make a model of before IR version 4, whose weights are listed as inputs."""
    b = Builder()
    x = b.input("x", [2, 4, 6, 6])
    for name, shape in {"w": (6, 4, 3, 3), "scale": (6, 1, 1), "w2": (5, 6)}.items():
        b.input(name, shape)
        b.const(b.rng.standard_normal(shape).astype(np.float32) / 5, name)
    h = b.op("Clip", b.op("Conv", x, "w"), min=0.0, max=6.0)
    h = b.op("Mul", h, "scale")
    h = b.op("Squeeze", b.op("GlobalAveragePool", h), axes=[2, 3])
    b.op("Softmax", b.op("MatMul", h, b.op("Transpose", "w2", perm=[1, 0])), axis=1, to="y")
    b.output("y", [2, 5])
    return b.model(opset=opset, ir_version=3)


@untidy
def legacy_opset_7() -> Model:
    return _legacy(7)


@untidy
def legacy_opset_10() -> Model:
    return _legacy(10)


def _with_functions(bodies: dict[str, list[onnx.NodeProto]], calls: Sequence[str]) -> Model:
    b = Builder()
    h = b.op("MatMul", b.input("x", ["n", 4]), b.weight(4, 4))
    for name in calls:
        h = b.op(name, h, domain="my.functions")
    b.op("Relu", h, to="y")
    b.output("y", ["n", 4])
    proto = b.proto(my_functions=1)
    for name, nodes in bodies.items():
        imports = [helper.make_opsetid("", 17), helper.make_opsetid("my.functions", 1)]
        made = helper.make_function("my.functions", name, ["a"], ["c"], nodes, imports)
        made.doc_string = f"what {name} is"
        proto.functions.append(made)
    proto.graph.node[0].doc_string = "a stack trace"
    proto.graph.node[-1].metadata_props.add(key="layer", value="last")
    return from_proto(proto)


@untidy
def called_twice() -> Model:
    """Make a function of two nodes that is called two times."""
    nodes = [helper.make_node("Exp", ["a"], ["e"]), helper.make_node("Neg", ["e"], ["c"])]
    return _with_functions({"Decay": nodes}, ["Decay", "Decay"])


@untidy
def calls_within_calls() -> Model:
    """Make a function that calls another one."""
    inner = [helper.make_node("Abs", ["a"], ["c"])]
    outer = [
        helper.make_node("Magnitude", ["a"], ["e"], domain="my.functions"),
        helper.make_node("Sqrt", ["e"], ["c"]),
    ]
    return _with_functions({"Magnitude": inner, "Root": outer}, ["Root"])

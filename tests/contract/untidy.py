"""Graphs with something to do for passes that find nothing in the zoo of odd models."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from onnx import TensorProto as T
from onnx import helper

from ocompress.ir import Model, onnx_api
from tests.build import Builder


def leftovers() -> Model:
    """Make what exporters leave behind: constants, shapes, branches and layouts to be folded."""
    b = Builder()
    x = b.input("x", ["n", 8, 6, 6])
    two = b.op("Add", b.const(np.float32(0.5)), b.const(np.float32(1.5)))
    h = b.op("Mul", x, two)
    h = b.op("Sum", h, b.op("Relu", x), b.op("Relu", x))
    h = b.op("Pad", h, b.const(np.array([0, 0, 1, 1, 0, 0, 1, 1])))
    h = b.op("Conv", h, b.weight(8, 8, 3, 3), b.weight(8))
    h = b.op("Transpose", b.op("Transpose", h, perm=[0, 2, 3, 1]), perm=[0, 3, 1, 2])
    count = b.op("Gather", b.op("Shape", x), b.const(np.array(1)))
    b.ops("Cast", [count], ["extent"], to=T.FLOAT)
    h = b.op("Add", h, "extent")
    b.op("Identity", _branch(b, h), to="y")
    b.output("y", ["n", 8, 6, 6])
    return _typed(b)


def _typed(b: Builder) -> Model:
    """Return the model as it is behind the first pass of `canonicalize`, types inferred."""
    model = b.model()
    onnx_api.infer_types(model)
    return model


def _branch(b: Builder, x: str) -> str:
    """Choose the first of two branches, always."""
    bodies = [
        helper.make_graph(
            [helper.make_node(op, [x], [f"{op}_out"])],
            op,
            [],
            [helper.make_tensor_value_info(f"{op}_out", T.FLOAT, ["n", 8, 6, 6])],
        )
        for op in ("Relu", "Neg")
    ]
    b.ops("If", [b.const(np.array(True))], ["chosen"], then_branch=bodies[0], else_branch=bodies[1])
    return "chosen"


def products() -> Model:
    """Make products that could be said more plainly, or computed in int8."""
    b = Builder()
    x = b.input("x", ["n", 256])
    h = b.op("Gemm", x, b.weight(256, 256), b.weight(256), alpha=0.5, beta=2.0)
    h = b.op("Einsum", b.op("Relu", h), b.weight(256, 64), equation="nk,km->nm")
    stack = b.op("Reshape", h, b.const(np.array([-1, 4, 16])))
    s = b.op("Softmax", b.op("Flatten", stack, axis=2), axis=-1)
    b.op("Reshape", s, b.op("Shape", stack), to="y")
    b.output("y", ["n", 4, 16])
    return _typed(b)


def averages() -> Model:
    """Average over places behind a layer that could work on fewer of them."""
    b = Builder()
    h = b.op("Conv", b.input("x", ["n", 8, 6, 6]), b.weight(8, 8, 1, 1), b.weight(8))
    b.op("AveragePool", h, kernel_shape=[2, 2], strides=[2, 2], to="y")
    b.output("y", ["n", 8, 3, 3])
    return _typed(b)


UNTIDY: dict[str, Callable[[], Model]] = {
    "leftovers": leftovers,
    "products": products,
    "averages": averages,
}

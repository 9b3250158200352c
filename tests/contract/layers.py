"""Small nets with something to merge, to cut or to store in integers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ocompress.ir import Model
from tests.build import Builder

LAYERS: dict[str, Callable[[], Model]] = {}


def layers(build: Callable[[], Model]) -> Callable[[], Model]:
    """Enrol a net under its function's name."""
    LAYERS[build.__name__] = build
    return build


@layers
def averages() -> Model:
    """Average over places behind a layer that could work on fewer of them."""
    b = Builder()
    h = b.op("Conv", b.input("x", ["n", 8, 6, 6]), b.weight(8, 8, 1, 1), b.weight(8))
    b.op("AveragePool", h, kernel_shape=[2, 2], strides=[2, 2], to="y")
    b.output("y", ["n", 8, 3, 3])
    return b.model()


@layers
def transition() -> Model:
    """Make fewer channels, then fewer places, as between the blocks of a DenseNet."""
    b = Builder()
    h = b.op("Relu", b.input("x", ["n", 16, 8, 8]))
    h = b.op("Conv", h, b.weight(8, 16, 1, 1), b.weight(8))
    h = b.op("AveragePool", h, kernel_shape=[2, 2], strides=[2, 2])
    h = b.op("Conv", b.op("Relu", h), b.weight(8, 8, 3, 3), b.weight(8))
    b.op("AveragePool", h, kernel_shape=[2, 2], strides=[2, 2], to="y")
    b.output("y", ["n", 8, 1, 1])
    return b.model()


@layers
def pooled_head() -> Model:
    """Average over all places behind the last pointwise layer, and over few before a layer."""
    b = Builder()
    h = b.op("AveragePool", b.input("x", ["n", 4, 8, 8]), kernel_shape=[2, 2], strides=[2, 2])
    h = b.op("Relu", b.op("Conv", h, b.weight(8, 4, 2, 2), b.weight(8), strides=[2, 2]))
    h = b.op("Conv", h, b.weight(16, 8, 1, 1), b.weight(16))
    b.op("Flatten", b.op("GlobalAveragePool", h), to="y")
    b.output("y", ["n", 16])
    return b.model()


@layers
def side_by_side() -> Model:
    """Make products of one input that end next to each other, and a wide one between narrow."""
    b = Builder()
    x = b.input("x", ["n", 16])
    tops = [b.op("Gemm", x, b.weight(16, o), b.weight(o)) for o in (8, 24)]
    h = b.op("Relu", b.op("Concat", *tops, axis=1))
    h = b.op("Gemm", b.op("Gemm", h, b.weight(32, 64), b.weight(64)), b.weight(64, 8), b.weight(8))
    h = b.op("Relu", h)
    b.op("Add", b.op("MatMul", h, b.weight(8, 8)), b.op("Gemm", h, b.weight(8, 8)), to="y")
    b.output("y", ["n", 8])
    return b.model()


@layers
def repeated_block() -> Model:
    """Add up kernels of two sizes and the input, then widen without a function in between."""
    b = Builder()
    h = b.op("Relu", b.op("Conv", b.input("x", [2, 3, 8, 8]), b.weight(8, 3, 3, 3), b.weight(8)))
    large = b.op("Conv", h, b.weight(8, 8, 3, 3), b.weight(8), pads=[1, 1, 1, 1])
    small = b.op("Conv", h, b.weight(8, 8, 1, 1), b.weight(8))
    h = b.op("Relu", b.op("Add", b.op("Add", large, small), h))
    tops = [b.op("Relu", b.op("Conv", h, b.weight(o, 8, 1, 1), b.weight(o))) for o in (6, 10)]
    h = b.op("Conv", b.op("Concat", *tops, axis=1), b.weight(32, 16, 1, 1), b.weight(32))
    b.op("Conv", h, b.weight(4, 32, 3, 3), b.weight(4), to="y")
    b.output("y", [2, 4, 4, 4])
    return b.model()


def _attention(width: int, heads: int, *, fused: bool) -> Model:
    """Make a residual attention, its queries, keys and values from three layers or from one."""
    b = Builder()
    x = b.input("x", ["n", 5, width])
    each = width // heads
    if fused:
        h = b.op("Add", b.op("MatMul", x, b.weight(width, 3 * width)), b.weight(3 * width))
        b.ops("Split", [h, b.const(np.array([width] * 3))], ["q", "k", "v"], axis=2)
        parts = ["q", "k", "v"]
    else:
        parts = [b.op("MatMul", x, b.weight(width, width)) for _ in range(3)]
    shape = b.const(np.array([0, 0, heads, each]))
    perms = ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3])
    q, k, v = (
        b.op("Transpose", b.op("Reshape", part, shape), perm=perm)
        for part, perm in zip(parts, perms, strict=True)
    )
    scores = b.op("Mul", b.op("MatMul", q, k), b.const(np.float32(each**-0.5)))
    mixed = b.op("Transpose", b.op("MatMul", b.op("Softmax", scores), v), perm=[0, 2, 1, 3])
    mixed = b.op("Reshape", mixed, b.const(np.array([0, 0, width])))
    h = b.op("Add", x, b.op("MatMul", mixed, b.weight(width, width)))
    b.op("MatMul", h, b.weight(width, 4), to="y")
    b.output("y", ["n", 5, 4])
    return b.model()


@layers
def four_heads() -> Model:
    return _attention(8, 4, fused=False)


@layers
def fused_heads() -> Model:
    return _attention(12, 6, fused=True)


@layers
def wide() -> Model:
    """Make products by weights that are large enough for integers."""
    b = Builder()
    h = b.op("MatMul", b.input("x", ["n", 3, 64]), b.weight(64, 64))
    b.op("MatMul", b.op("Tanh", h), b.weight(64, 4), to="y")
    b.output("y", ["n", 3, 4])
    return b.model()


@layers
def turned() -> Model:
    """Make a product by a large weight that is stored the other way round."""
    b = Builder()
    h = b.op("Gemm", b.input("x", ["n", 48]), b.weight(96, 48), b.weight(96), transB=1)
    b.op("Sigmoid", h, to="y")
    b.output("y", ["n", 96])
    return b.model()

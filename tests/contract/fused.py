"""Graphs with operators as an optimized session of ONNX Runtime writes them."""

from __future__ import annotations

from collections.abc import Callable

from ocompress.ir import Model
from tests.build import Builder

MS = "com.microsoft"


def _fused_layers() -> Model:
    b = Builder()
    h = b.op("FusedConv", b.input("x", ["n", 3, 8, 8]), b.weight(6, 3, 3, 3), b.weight(6),
             domain=MS, activation="Relu", kernel_shape=[3, 3])  # fmt: skip
    h = b.op("Flatten", b.op("GlobalAveragePool", h))
    b.op("FusedGemm", h, b.weight(6, 4), b.weight(4), to="y", domain=MS, activation="Sigmoid")
    b.output("y", ["n", 4])
    return b.model(com_microsoft=1)


def _fused_products() -> Model:
    b = Builder()
    x = b.input("x", ["n", 5, 8])
    scores = b.op("FusedMatMul", x, x, domain=MS, transB=1, alpha=0.25)
    b.op("FusedMatMul", b.op("Softmax", scores), x, to="y", domain=MS, alpha=2.0)
    b.output("y", ["n", 5, 8])
    return b.model(com_microsoft=1)


def _fused_block() -> Model:
    b = Builder()
    x = b.input("x", ["n", 5, 8])
    h = b.op("BiasGelu", b.op("MatMul", x, b.weight(8, 16)), b.weight(16), domain=MS)
    h = b.op("MatMul", h, b.weight(16, 8))
    b.op("SkipLayerNormalization", h, x, b.positive(8), b.weight(8), to="y", domain=MS,
         epsilon=1e-5)  # fmt: skip
    b.output("y", ["n", 5, 8])
    return b.model(com_microsoft=1)


FUSED: dict[str, Callable[[], Model]] = {
    "fused_layers": _fused_layers,
    "fused_products": _fused_products,
    "fused_block": _fused_block,
}

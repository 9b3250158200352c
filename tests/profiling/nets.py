"""Tiny models for the tests of this room."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto as T

from ocompress.ir import Model
from tests.build import Builder


def mlp(width: int = 8) -> Model:
    """Make `[batch, 4] -> [batch, 3]` with a hidden layer."""
    b = Builder()
    x = b.input("x", ["batch", 4])
    h = b.op("Relu", b.op("Gemm", x, b.weight(4, width), to="hidden"), to="act")
    b.op("Gemm", h, b.weight(width, 3), to="y")
    b.output("y", ["batch", 3])
    return b.model()


def several_inputs() -> Model:
    """Make a model of a float map, a scalar, token ids and a mask."""
    b = Builder()
    x, s = b.input("x", ["n", 3, "h", "w"]), b.input("s", [])
    ids, mask = b.input("ids", ["n", "t"], T.INT64), b.input("mask", ["n", "t"], T.BOOL)
    b.op("Mul", x, s, to="scaled")
    b.op("Gather", b.const(np.ones((2, 5), np.float32)), ids, to="embedded")
    b.op("Not", mask, to="unmasked")
    b.output("scaled", ["n", 3, "h", "w"])
    b.output("embedded", ["n", "t", 5])
    b.output("unmasked", ["n", "t"], T.BOOL)
    return b.model()

"""Nets of any number of layers, small ones, to see how the time of passes grows with it."""

from __future__ import annotations

import math

import numpy as np
from scaling import Sketch

from ocompress.ir import Model

_BRANCH = 0.05
"""How large a residual branch is beside its block's input, or numbers of deep nets outgrow their
type: a thousand blocks make them four times as large."""


def dense(layers: int) -> Model:
    """Return residual blocks of two products with a Relu between them."""
    sketch, value = Sketch(), "x"
    scale = sketch.constant(_small(8, 8 * 32 / 2))
    for _ in range(layers // 2):
        first = sketch.op(
            "Add", sketch.op("MatMul", value, sketch.weight(8, 32)), sketch.weight(32)
        )
        second = sketch.op("MatMul", sketch.op("Relu", first), sketch.weight(32, 8))
        value = sketch.op("Add", value, sketch.op("Mul", second, scale))
    return sketch.model(value)


def ended(layers: int) -> Model:
    """Return the same blocks before three dense layers with biases, an end that can be split."""
    sketch, value = Sketch(), "x"
    scale = sketch.constant(_small(8, 8 * 32 / 2))
    for _ in range((layers - 3) // 2):
        inner = sketch.op("Relu", sketch.op("MatMul", value, sketch.weight(8, 32)))
        made = sketch.op("MatMul", inner, sketch.weight(32, 8))
        value = sketch.op("Add", value, sketch.op("Mul", made, scale))
    for width, outputs in ((8, 64), (64, 64), (64, 8)):
        made = sketch.op("Gemm", value, sketch.weight(width, outputs), sketch.weight(outputs))
        value = sketch.op("Relu", made) if outputs > 8 else made
    return sketch.model(value)


def signs(layers: int) -> Model:
    """Return the same blocks of wider layers whose weights are signs, so that packing pays."""
    sketch, value = Sketch(), "x"
    scale = sketch.constant(_small(8, 8 * 512 / 2))
    for _ in range(layers // 2):
        first, second = (
            sketch.constant(np.sign(sketch.rng.standard_normal(shape)).astype(np.float32))
            for shape in ((8, 512), (512, 8))
        )
        inner = sketch.op("Relu", sketch.op("MatMul", value, first))
        value = sketch.op("Add", value, sketch.op("Mul", sketch.op("MatMul", inner, second), scale))
    return sketch.model(value)


def convolutions(layers: int) -> Model:
    """Return residual blocks of two convolutions of 3 x 3 taps with a Relu between them."""
    sketch, value = Sketch(), "x"
    scale = sketch.constant(_small(1, 8 * 9 * 16 * 9 / 2))
    for _ in range(layers // 2):
        first = sketch.op(
            "Conv", value, sketch.weight(16, 8, 3, 3), sketch.weight(16), pads=[1, 1, 1, 1]
        )
        second = sketch.op(
            "Conv",
            sketch.op("Relu", first),
            sketch.weight(8, 16, 3, 3),
            sketch.weight(8),
            pads=[1, 1, 1, 1],
        )
        value = sketch.op("Add", value, sketch.op("Mul", second, scale))
    return sketch.model(value, (8, 6, 6))


def separables(layers: int) -> Model:
    """Return blocks as `convolutions` does whose taps are nearly the same for all outputs.

    So every layer has a separable form that loses little, and the pass has as much to do in each.
    """
    sketch, value = Sketch(), "x"
    scale = sketch.constant(_small(1, 8 * 9 * 16 * 9 / 2))
    for _ in range(layers // 2):
        first = sketch.op("Conv", value, *_separable(sketch, 16, 8), pads=[1, 1, 1, 1])
        made = sketch.op("Relu", first)
        second = sketch.op("Conv", made, *_separable(sketch, 8, 16), pads=[1, 1, 1, 1])
        value = sketch.op("Add", value, sketch.op("Mul", second, scale))
    return sketch.model(value, (8, 6, 6))


def attention(layers: int, width: int = 8, heads: int = 4) -> Model:
    """Return residual blocks of attention, of four products with weights each."""
    sketch, value = Sketch(), "x"
    scale = sketch.constant(_small(1, width * width))
    apart = sketch.constant(np.array([0, 0, heads, width // heads]))
    together = sketch.constant(np.array([0, 0, width]))
    for _ in range(layers // 4):
        parts = [sketch.op("MatMul", value, sketch.weight(width, width)) for _ in range(3)]
        perms = ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3])
        queries, keys, values = (
            sketch.op("Transpose", sketch.op("Reshape", part, apart), perm=perm)
            for part, perm in zip(parts, perms, strict=True)
        )
        scores = sketch.op("Softmax", sketch.op("MatMul", queries, keys), axis=-1)
        mixed = sketch.op("Transpose", sketch.op("MatMul", scores, values), perm=[0, 2, 1, 3])
        made = sketch.op(
            "MatMul", sketch.op("Reshape", mixed, together), sketch.weight(width, width)
        )
        value = sketch.op("Add", value, sketch.op("Mul", made, scale))
    return sketch.model(value, (5, width))


def _separable(sketch: Sketch, outputs: int, inputs: int) -> tuple[str, str]:
    """Add a kernel whose taps are nearly the same for all outputs, and a bias."""
    taps = sketch.rng.standard_normal((1, inputs, 3, 3))
    mixed = taps * sketch.rng.standard_normal((outputs, inputs, 1, 1))
    weight = mixed + 0.1 * sketch.rng.standard_normal(mixed.shape)
    return sketch.constant(weight.astype(np.float32)), sketch.weight(outputs)


def _small(width: int, power: float) -> np.ndarray:
    """Return factors for a branch whose layers multiply the power of what it reads by `power`."""
    return np.full(width, _BRANCH / math.sqrt(power), np.float32)

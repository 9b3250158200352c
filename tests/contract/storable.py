"""Graphs whose weights have smaller forms."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ocompress.ir import Model
from tests.build import Builder


def _few(*shape: int, count: int = 8) -> np.ndarray:
    """Draw an array of few different rows."""
    rng = np.random.default_rng(count)
    words = rng.standard_normal((count, *shape[1:])).astype(np.float32)
    return np.asarray(words[rng.integers(0, count, shape[0])])


def palette() -> Model:
    """Make a product with a weight of eight values."""
    b = Builder()
    x = b.input("x", ["n", 32])
    b.op("MatMul", x, b.const(_few(32 * 20).reshape(32, 20)), to="y")
    b.output("y", ["n", 20])
    return b.model()


def repeated_slices() -> Model:
    """Make a convolution with few different slices."""
    b = Builder()
    x = b.input("x", ["n", 8, 6, 6])
    w = b.const(_few(16 * 8, 3, 3).reshape(16, 8, 3, 3))
    b.op("Relu", b.op("Conv", x, w, b.weight(16)), to="y")
    b.output("y", ["n", 16, 4, 4])
    return b.model()


def mostly_zeros() -> Model:
    """Make two layers with few weights that are not zero."""
    b = Builder()
    x = b.input("x", ["n", 40])
    rng = np.random.default_rng(0)
    for width in (30, 20):
        shape = (40 if width == 30 else 30, width)
        kept = np.where(rng.random(shape) < 0.1, rng.standard_normal(shape), 0)
        x = b.op("Relu", b.op("Gemm", x, b.const(kept.astype(np.float32)), b.weight(width)))
    b.op("Identity", x, to="y")
    b.output("y", ["n", 20])
    return b.model()


STORABLE: dict[str, Callable[[], Model]] = {
    "palette": palette,
    "repeated_slices": repeated_slices,
    "mostly_zeros": mostly_zeros,
}

"""Tiny models and data for the tests of this room."""

from __future__ import annotations

from typing import Any

import numpy as np

from ocompress.ir import Model
from tests.build import Builder, InMemory


def classifier(seed: int = 0, outputs: int = 1) -> Model:
    """Make `[n, 4] -> [n, 3]` logits `y0`, `y1`, ..."""
    b = Builder(seed)
    x = b.input("x", ["n", 4])
    for index in range(outputs):
        b.op("Gemm", x, b.weight(4, 3), b.weight(3), to=f"y{index}")
        b.output(f"y{index}", ["n", 3])
    return b.model()


def heads(*names: str, last: str = "", width: int = 4) -> Model:
    """Make `[n, 4] -> [n, width]` scores of classes by name, or what `last` makes of them."""
    b = Builder(0)
    x = b.input("x", ["n", 4])
    for name in names:
        h = b.op("Gemm", x, b.weight(4, width), b.weight(width), to="" if last else name)
        if last:
            b.op(last, h, to=name)
        b.output(name, ["n", width])
    return b.model()


def after(op_type: str, *constants: object, **attrs: Any) -> Model:
    """Make the classifier with one more operator on its logits."""
    b = Builder(0)
    x = b.input("x", ["n", 4])
    h = b.op("Gemm", x, b.weight(4, 3), b.weight(3))
    b.op(op_type, h, *(b.const(c) for c in constants), to="y0", **attrs)
    b.output("y0", ["n", 3])
    return b.model()


def data(samples: int = 40, batch: int = 8, labels: np.ndarray | None = None) -> InMemory:
    """Make seeded samples cut into batches."""
    x = np.random.default_rng(5).standard_normal((samples, 4)).astype(np.float32)
    feeds = [{"x": x[i : i + batch]} for i in range(0, samples, batch)]
    return InMemory(feeds, labels)


def predictions(model: Model, samples: InMemory) -> np.ndarray:
    """Return the classes a classifier finds."""
    from ocompress.runtime import Session

    session = Session(model)
    return np.concatenate([session.run(f)["y0"].argmax(1) for f in samples])

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


def detector(*, after: bool = False, opset: int = 17) -> Model:
    """Make a detector of 2 classes on `[n, 3, 32, 32]`, 64 places.

    Without `after`, rows of centre, size and scores, `[n, 6, 64]`, named `output0`; with it, one
    image's lists after non-maximum suppression: `boxes [k, 4]`, `scores [k]`, `labels [k]`.
    """
    b = Builder(3)
    x = b.input("x", [1 if after else "n", 3, 32, 32])
    h = b.op("Conv", x, b.weight(16, 3, 3, 3), b.weight(16), strides=[4, 4], pads=[1] * 4)
    h = b.op("Relu", h)
    grid = np.stack(np.meshgrid(np.arange(8), np.arange(8)), 0).reshape(1, 2, 64) * 4.0 + 2
    flat = np.array([0, 2, 64], np.int64)
    place = b.op("Conv", h, b.weight(2, 16, 1, 1))
    place = b.op("Add", b.op("Reshape", place, b.const(flat)), b.const(grid.astype(np.float32)))
    size = b.op("Exp", b.op("Conv", h, b.weight(2, 16, 1, 1, scale=0.2)))
    size = b.op("Mul", b.op("Reshape", size, b.const(flat)), b.const(np.float32(6)))
    score = b.op(
        "Conv", h, b.weight(2, 16, 1, 1, scale=1.0), b.const(np.array([-2, -3], np.float32))
    )
    score = b.op("Sigmoid", b.op("Reshape", score, b.const(flat)))
    if not after:
        b.op("Concat", place, size, score, to="output0", axis=1)
        b.output("output0", ["n", 6, 64])
        return b.model(opset)
    boxes = b.op("Transpose", b.op("Concat", place, size, axis=1), perm=[0, 2, 1])
    half = b.op("Mul", size, b.const(np.float32(0.5)))
    corners = b.op("Concat", b.op("Sub", place, half), b.op("Add", place, half), axis=1)
    corners = b.op("Transpose", corners, perm=[0, 2, 1])
    limits = [
        b.const(np.array([50], np.int64)),
        b.const(np.array([0.5], np.float32)),
        b.const(np.array([0.2], np.float32)),
    ]
    kept = b.op("NonMaxSuppression", boxes, score, *limits, center_point_box=1)
    kind = b.op("Gather", kept, b.const(np.int64(1)), axis=1)
    where = b.op("Gather", kept, b.const(np.int64(2)), axis=1)
    only = b.op("Squeeze", corners, b.const(np.array([0], np.int64)))
    b.op("Gather", only, where, to="boxes", axis=0)
    b.output("boxes", ["k", 4])
    both = b.op("Unsqueeze", where, b.const(np.array([1], np.int64)))
    pairs = b.op("Concat", b.op("Unsqueeze", kind, b.const(np.array([1], np.int64))), both, axis=1)
    b.op("GatherND", b.op("Squeeze", score, b.const(np.array([0], np.int64))), pairs, to="scores")
    b.output("scores", ["k"])
    b.op("Identity", kind, to="labels")
    b.output("labels", ["k"], 7)
    return b.model(opset)


def reader(*, blank: int = 0, softmax: bool = True) -> Model:
    """Make `[n, 3, 8, 64] -> [n, 32, 20]`: a text of 19 characters and the blank."""
    b = Builder(1)
    x = b.input("x", ["n", 3, 8, 64])
    h = b.op("Tanh", b.op("Conv", x, b.weight(24, 3, 8, 2), strides=[1, 2]))
    h = b.op("Transpose", b.op("Squeeze", h, b.const(np.array([2], np.int64))), perm=[0, 2, 1])
    bias = np.zeros(20, np.float32)
    bias[blank] = 4.0
    h = b.op("MatMul", h, b.weight(24, 20, scale=0.8))
    h = b.op("Add", h, b.const(bias), to="" if softmax else "text")
    if softmax:
        b.op("Softmax", h, to="text", axis=-1)
    b.output("text", ["n", 32, 20])
    return b.model()


def segmenter(classes: int = 1) -> Model:
    """Make `[n, 3, 16, 16]` to a mask `[n, 1, 16, 16]`, or to `[n, classes, 16, 16]` of logits."""
    b = Builder(2)
    x = b.input("x", ["n", 3, 16, 16])
    h = b.op("Relu", b.op("Conv", x, b.weight(8, 3, 3, 3), b.weight(8), pads=[1] * 4))
    if classes > 1:  # regions, not single pixels
        h = b.op("AveragePool", h, kernel_shape=[7, 7], pads=[3] * 4, count_include_pad=0)
    last = b.op(
        *("Conv", h, b.weight(classes, 8, 1, 1, scale=6.0 if classes == 1 else 1.0)),
        to="" if classes == 1 else "mask",
    )
    if classes == 1:
        b.op("Sigmoid", last, to="mask")
    b.output("mask", ["n", classes, 16, 16])
    return b.model()


def pictures(model: Model, samples: int = 24, batch: int = 8) -> InMemory:
    """Make seeded inputs for a net that has one input of pictures."""
    shape = [e for e in model.graph.inputs[0].shape or () if isinstance(e, int)][-3:]
    x = np.random.default_rng(4).standard_normal((samples, *shape)).astype(np.float32)
    return InMemory([{"x": x[i : i + batch]} for i in range(0, samples, batch)])

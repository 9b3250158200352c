"""Nets whose layers are replaced, and what holds for every result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ocompress.analysis import AnalysisManager
from ocompress.diagnostics import Diagnostics
from ocompress.ir import Model, onnx_api
from ocompress.pipeline import Allowance, Context, Guard, Outcome, Pass
from ocompress.runtime import Level, Session
from tests.build import Builder, InMemory
from tests.contract.harness import TARGET, check


def net() -> Model:
    """Convolutions of several kinds, a residual sum, and matrices behind a Flatten."""
    b = Builder(3)
    x = b.input("x", ["n", 4, 10, 10])

    def conv(data: str, outs: int, ins: int, k: int, to: str, **attrs: Any) -> str:
        weight = b.const(smooth(b.rng, (outs, ins, k, k)))
        return b.op("Conv", data, weight, b.weight(outs), to=to, **attrs)

    h = b.op("Relu", conv(x, 16, 4, 3, "stem", pads=[1, 1, 1, 1]))
    g = b.op("Relu", conv(h, 24, 16, 3, "inner", pads=[1, 1, 1, 1]))
    g = conv(g, 16, 24, 3, "outer", pads=[1, 1, 1, 1])
    h = b.op("Relu", b.op("Add", g, h))
    h = b.op("Relu", conv(h, 32, 8, 3, "grouped", group=2, strides=[2, 2], pads=[1, 1, 1, 1]))
    h = b.op("Relu", conv(h, 32, 1, 3, "depthwise", group=32, pads=[1, 1, 1, 1]))
    h = b.op("Relu", conv(h, 64, 32, 1, "point"))
    f = b.op("Flatten", b.op("GlobalAveragePool", h))
    wide = b.const(smooth(b.rng, (64, 48)))
    h = b.op("Relu", b.op("Gemm", f, wide, b.weight(48), to="wide"))
    b.output(b.op("Gemm", h, b.weight(48, 10), b.weight(10), to="y"), ["n", 10])
    return b.model()


def smooth(rng: np.random.Generator, shape: Sequence[int]) -> np.ndarray:
    """A weight whose singular values fall, as those of trained layers do."""
    outs, rest = shape[0], int(np.prod(shape[1:]))
    rank = min(outs, rest)
    scale = 0.8 ** np.arange(rank)
    left, right = rng.standard_normal((outs, rank)), rng.standard_normal((rank, rest))
    matrix = (left * scale) @ right / np.sqrt(rest)
    found: np.ndarray = matrix.reshape(shape).astype(np.float32)
    return found


def batches(seed: int, count: int = 6) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(seed)
    mix = np.random.default_rng(5).standard_normal((4, 4)) + 1
    draws = rng.standard_normal((count, 32, 10, 10, 4)) @ mix
    return [{"x": np.moveaxis(d, -1, 1).astype(np.float32)} for d in draws]


def run(
    item: Pass,
    model: Model,
    *,
    data: Sequence[dict[str, np.ndarray]] | None = None,
    guards: Sequence[Guard] = (),
) -> tuple[Model, Outcome, Context]:
    after = model.clone()
    onnx_api.infer_types(after)
    manager = AnalysisManager(None if data is None else InMemory(list(data)))
    ctx = Context(
        target=TARGET, analyses=manager, diagnostics=Diagnostics(), allowance=Allowance(guards)
    )
    outcome = ctx.run_one(item, after)
    check(after)
    return after, outcome, ctx


def error(model: Model, other: Model) -> float:
    """Return noise over signal of the first output on data that nothing was fitted to."""
    left, right = (Session(m, level=Level.DISABLED) for m in (model, other))
    name = model.graph.outputs[0].name
    lost = power = 0.0
    for feeds in batches(9, 3):
        a, b = left.run(feeds)[name], right.run(feeds)[name]
        lost, power = lost + float(np.square(a - b).sum()), power + float(np.square(a).sum())
    return lost / power

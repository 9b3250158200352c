"""Graphs with weights to store in fewer bits, and running `quant-weights` on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import TensorProto as T

from ocompress.ir import Model
from ocompress.pipeline import PassManager, Pipeline, PipelineResult
from ocompress.runtime import Level, Session
from ocompress.targets import find
from tests.build import Array, Builder, InMemory, feeds

Build = Callable[[Builder], None]


def model_of(build: Build, opset: int = 21) -> Model:
    b = Builder()
    build(b)
    return b.model(opset=opset, ir_version=13 if opset > 21 else 10)


def weighted(model: Model, options: str = "", *, data: InMemory | None = None) -> PipelineResult:
    manager = PassManager(target=find("portable"), data=data)
    return manager.run(
        Pipeline.parse(f"quant-weights{{smallest=1,{options}}}".replace(",}", "}")), model
    )


def run(model: Model, level: Level, seed: int = 7) -> list[Array]:
    return list(Session(model, level=level).run(feeds(model, seed)).values())


def rows_of(result: PipelineResult) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = result.records[-1].details["weights"]
    return rows


def codes(result: PipelineResult) -> list[str]:
    return [r.code for r in result.diagnostics if r.source == "quant-weights"]


def mlp(b: Builder) -> None:
    h = b.input("x", ["n", 48])
    for width, activation in ((40, "Relu"), (40, "Tanh"), (8, "")):
        h = b.op("Gemm", h, b.weight(width, 48 if h == "x" else 40), b.weight(width), transB=1)
        h = b.op(activation, h) if activation else h
    b.output(h, ["n", 8])


def table(b: Builder, width: int = 64) -> None:
    ids = b.input("ids", ["n", 5], T.INT64)
    b.op("Gather", b.weight(50, width, scale=1.0), ids, to="y")
    b.output("y", ["n", 5, width])


def odd_gemm(**attrs: Any) -> Build:
    def build(b: Builder) -> None:
        b.op("Gemm", b.input("x", [48, 48]), b.weight(48, 40), b.weight(48, 40), to="y", **attrs)
        b.output("y", [48, 40])

    return build


def computed(b: Builder) -> None:
    w = b.op("Tanh", b.input("w", [48, 40]))
    b.op("MatMul", b.input("x", ["n", 48]), w, to="y")
    b.output("y", ["n", 40])


def stacked(b: Builder) -> None:
    b.op("MatMul", b.input("x", ["n", 3, 2, 48]), b.weight(3, 48, 40), to="y")
    b.output("y", ["n", 3, 2, 40])


def columns(b: Builder) -> None:
    b.op("Gather", b.weight(50, 40), b.input("i", ["n"], T.INT64), to="y", axis=1)
    b.output("y", [50, "n"])


def tied(b: Builder, through: str = "") -> None:
    """A table of words that is looked up, and multiplied with as it is or through an operator."""
    words = b.weight(50, 40)
    h = b.op("Gather", words, b.input("i", ["n"], T.INT64))
    if through == "Transpose":
        b.op("MatMul", h, b.op("Transpose", words, to="turned", perm=[1, 0]), to="y")
    else:
        whole = b.op(through, words) if through else words
        b.op("Gemm", h, whole, to="y", transB=1)
    b.output("y", ["n", 50])


def experts(b: Builder) -> None:
    """Products with matrices of a stack that are looked up, outputs of very different size."""
    sizes = np.repeat(10.0 ** -np.arange(4.0), 12)[None, :, None]
    stack = b.const((b.rng.standard_normal((4, 48, 40)) * sizes).astype(np.float32))
    chosen = b.op("Gather", stack, b.input("i", ["n", 2], T.INT64))
    b.op("MatMul", b.input("x", ["n", 1, 1, 48]), chosen, to="y")
    b.output("y", ["n", 2, 1, 40])


def picked(b: Builder) -> None:
    """Products with matrices of a stack that GatherND picks."""
    chosen = b.op("GatherND", b.weight(4, 48, 40), b.input("i", ["n", 1], T.INT64))
    b.op("MatMul", b.input("x", ["n", 1, 48]), chosen, to="y")
    b.output("y", ["n", 1, 40])


def narrow(b: Builder) -> None:
    b.op("MatMul", b.input("x", ["n", 1]), b.weight(1, 600), to="y")
    b.output("y", ["n", 600])


def broken(b: Builder) -> None:
    weight = np.ones((48, 40), np.float32)
    weight[3, 3] = np.nan
    b.op("MatMul", b.input("x", ["n", 48]), b.const(weight), to="y")
    b.output("y", ["n", 40])


def huge(b: Builder) -> None:
    b.op("MatMul", b.input("x", ["n", 48]), b.const(np.full((48, 40), 1e6, np.float32)), to="y")
    b.output("y", ["n", 40])


def transposed(b: Builder) -> None:
    h = b.op("ConvTranspose", b.input("x", [1, 8, 4, 4]), b.weight(8, 8, 2, 2))
    b.output(h)


def lstm(b: Builder) -> None:
    weights = b.weight(1, 96, 16), b.weight(1, 96, 24), b.weight(1, 192)
    b.ops("LSTM", [b.input("x", [5, 2, 16]), *weights], ["h", ""], hidden_size=24)
    b.op("Relu", "h", to="y")
    b.output("y", [5, 1, 2, 24])

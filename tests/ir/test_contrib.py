"""Shapes of what operators outside of the standard make are those that ONNX Runtime makes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ocompress.ir.onnx_api import infer_types
from ocompress.runtime import Session
from tests.build import Builder, feeds

MS, ML = "com.microsoft", "ai.onnx.ml"


def norm(b: Builder, x: str) -> str:
    other = b.op("Mul", x, b.weight(1))
    wide = [b.positive(32), b.weight(32)]
    return b.op("SkipLayerNormalization", x, other, *wide, domain=MS)


def heads(b: Builder, x: str) -> str:
    parts = [b.op("MatMul", x, b.weight(32, n)) for n in (32, 32, 64)]
    return b.op("MultiHeadAttention", *parts, domain=MS, num_heads=4)


def grouped(b: Builder, x: str) -> str:
    parts = [b.op("MatMul", x, b.weight(32, n)) for n in (32, 16, 16)]
    lengths = b.const(np.full(3, 5, np.int32)), b.const(np.array([6], np.int32))
    options: dict[str, Any] = {"num_heads": 4, "kv_num_heads": 2}
    return b.op("GroupQueryAttention", *parts, "", "", *lengths, domain=MS, **options)


def learned(op: str, **options: Any) -> Callable[[Builder, str], str]:
    return lambda b, x: b.op(op, b.op("Flatten", x), domain=ML, **options)


def soft(b: Builder, x: str) -> str:
    scale, zero = b.const(np.float32(0.01)), b.const(np.uint8(0))
    q = b.op("QuantizeLinear", x, scale, zero)
    options: dict[str, Any] = {"axis": -1, "opset": 13}
    made = b.op("QLinearSoftmax", q, scale, zero, scale, zero, domain=MS, **options)
    return b.op("DequantizeLinear", made, scale, zero)


def nibbles(b: Builder, x: str) -> str:
    codes = b.const(b.rng.integers(0, 256, (48, 1, 16)).astype(np.uint8))
    options: dict[str, Any] = {"K": 32, "N": 48, "bits": 4, "block_size": 32}
    return b.op("MatMulNBits", x, codes, b.positive(48), domain=MS, **options)


def dynamic(b: Builder, x: str) -> str:
    codes = b.const(b.rng.integers(0, 256, (32, 48)).astype(np.uint8))
    zero = b.const(np.uint8(128))
    return b.op("DynamicQuantizeMatMul", x, codes, b.const(np.float32(0.1)), zero, domain=MS)


CASES: dict[str, Callable[[Builder, str], str]] = {
    "norm": norm,
    "heads": heads,
    "grouped": grouped,
    "soft": soft,
    "scaler": learned("Scaler", offset=[1.0], scale=[0.5]),
    "imputer": learned("Imputer", imputed_value_floats=[1.0], replaced_value_float=0.0),
    "binarizer": learned("Binarizer", threshold=0.5),
    "gelu": lambda b, x: b.op("BiasGelu", x, b.weight(32), domain=MS),
    "fast": lambda b, x: b.op("FastGelu", x, domain=MS),
    "product": lambda b, x: b.op("FusedMatMul", x, b.weight(32, 48), domain=MS, alpha=0.5),
    "nibbles": nibbles,
    "dynamic": dynamic,
    "conv": lambda b, x: b.op("FusedConv", x, b.weight(4, 6, 3), domain=MS, activation="Relu"),
    "gemm": lambda b, x: b.op(
        "FusedGemm",
        b.op("Flatten", x),
        b.weight(5, 192),
        b.weight(5),
        domain=MS,
        transB=1,
        activation="Relu",
    ),
    "attention": lambda b, x: b.op(
        "Attention", x, b.weight(32, 96), b.weight(96), domain=MS, num_heads=4
    ),
}


@pytest.mark.parametrize("kind", CASES)
def test_shapes_go_on_behind_them(kind: str) -> None:
    b = Builder()
    made = CASES[kind](b, b.input("x", ["n", 6, 32]))
    b.op("Relu", made, to="y")
    b.output("y", None)
    model = b.model(**{MS: 1, ML: 3})
    infer_types(model)
    (y,) = Session(model).run(feeds(model)).values()
    found = {v.name: v.shape for n in model.graph.nodes for v in n.outputs if v is not None}
    assert found[made] == ("n", *y.shape[1:])


@pytest.mark.parametrize("norm", ["L1", "L2", "MAX"])
def test_shapes_go_on_behind_a_normalizer_and_none_is_said_of_it(norm: str) -> None:
    """ONNX Runtime would compute it in place then, and read what it has just written."""
    b = Builder()
    scaled = learned("Scaler", offset=[0.1], scale=[-2.0])(b, b.input("x", ["n", 2, 3]))
    made = b.op("Normalizer", scaled, domain=ML, norm=norm)
    b.op("MatMul", made, b.weight(6, 5), to="y")
    b.output("y", None)
    before, model = b.model(**{ML: 3}), b.model(**{ML: 3})
    infer_types(model)
    found = {v.name: v.shape for n in model.graph.nodes for v in n.outputs if v is not None}
    assert (found[scaled], found[made], found["y"]) == (("n", 6), None, ("n", 5))
    given = {"x": b.rng.standard_normal((4, 2, 3)).astype(np.float32)}
    (wanted,) = Session(before).run(given).values()
    (y,) = Session(model).run(given).values()
    np.testing.assert_allclose(y, wanted, rtol=1e-6)


@pytest.mark.parametrize(
    ("op", "options"),
    [
        ("FusedMatMul", {"transB": 1}),
        ("GroupQueryAttention", {"num_heads": 4, "kv_num_heads": 2}),
        ("Attention", {"num_heads": 4, "qkv_hidden_sizes": [32, 32, 16]}),
        ("Unheard", {}),
    ],
)
def test_what_is_not_known_is_not_guessed(op: str, options: dict[str, Any]) -> None:
    b = Builder()
    made = b.op(op, b.input("x", ["n", 6, 32]), b.weight(32, 32), domain=MS, **options)
    b.op("Relu", made, to="y")
    b.output("y", None)
    model = b.model(com_microsoft=1)
    infer_types(model)
    shapes = [v.shape for n in model.graph.nodes for v in n.outputs if v is not None]
    assert shapes[0] is None
    assert np.all([n.domain in ("", MS) for n in model.graph.nodes])
    assert model.graph.nodes[0].op_type == op


@pytest.mark.parametrize("options", [{}, {"onesided": 0}, {"onesided": 1}])
def test_a_spectrum_has_the_bins_that_it_has_by_default(options: dict[str, Any]) -> None:
    b = Builder()
    window, step = b.const(np.ones(16, np.float32)), b.const(np.int64(8))
    made = b.op("STFT", b.input("x", ["n", 64]), step, window, b.const(np.int64(16)), **options)
    b.op("Relu", made, to="y")
    b.output("y", None)
    model = b.model()
    infer_types(model)
    (y,) = Session(model).run(feeds(model)).values()
    assert model.graph.nodes[0].output.shape is not None
    assert model.graph.nodes[0].output.shape[1:] == y.shape[1:]
    assert model.graph.nodes[0].attr("onesided", None) == options.get("onesided")

"""What an output is counted as does not hang on the numbers that its layer computes in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from ocompress.analysis.gradients import Currency
from ocompress.analysis.gradients.seeds import Seeding, seeding_of
from ocompress.ir import Model
from ocompress.ir.onnx_api import infer_types
from ocompress.runtime import Session
from tests.build import Builder, feeds

CONTRIB = "com.microsoft"


def counted(model: Model) -> Currency:
    infer_types(model)
    made = Session(model).run(feeds(model))["y"]
    found = seeding_of(model.graph.outputs[0], made, model)
    assert isinstance(found, Seeding)
    return found.currency


def integers(b: Builder, *shape: int) -> str:
    array = np.random.default_rng(3).integers(-90, 90, shape)
    return b.const(array.astype(np.int8))


def scalars(b: Builder) -> tuple[str, str]:
    return b.const(np.float32(0.02)), b.const(np.uint8(128))


def dynamic(b: Builder, x: str) -> str:
    """Quantize at run time, as ONNX Runtime's quantize_dynamic writes it."""
    b.ops("DynamicQuantizeLinear", [x], ["q", "s", "z"])
    made = b.op("MatMulInteger", "q", integers(b, 16, 10), "z", b.const(np.int8(0)))
    scale = b.op("Mul", "s", b.const(np.full(10, 0.01, np.float32)))
    whole = helper.make_node("Cast", [made], ["whole"], to=TensorProto.FLOAT)
    b.nodes.append(whole)
    out = b.op("Mul", "whole", scale)
    return b.op("Add", out, b.weight(10))


def steps(b: Builder, x: str) -> str:
    """Quantize the result, too, as static quantization leaves it."""
    made = b.op("MatMul", x, b.weight(16, 10))
    return b.op("DequantizeLinear", b.op("QuantizeLinear", made, *scalars(b)), *scalars(b))


def operators(b: Builder, x: str) -> str:
    """Compute in integers all the way."""
    (s, z), weight = scalars(b), integers(b, 16, 10)
    q = b.op("QuantizeLinear", x, s, z)
    made = b.op("QLinearMatMul", q, s, z, weight, s, b.const(np.int8(0)), s, z)
    return b.op("DequantizeLinear", made, s, z)


def softmax(b: Builder, x: str) -> str:
    """End with ONNX Runtime's softmax of integers."""
    (s, z), unit = scalars(b), b.const(np.float32(1 / 256))
    none = b.const(np.uint8(0))
    q = b.op("QuantizeLinear", b.op("MatMul", x, b.weight(16, 10)), s, z)
    options: dict[str, Any] = {"axis": -1, "opset": 13}
    soft = b.op("QLinearSoftmax", q, s, z, unit, none, domain=CONTRIB, **options)
    return b.op("DequantizeLinear", soft, unit, none)


def fused(b: Builder, x: str) -> str:
    """Use a product of ONNX Runtime's own."""
    return b.op("FusedMatMul", x, b.weight(16, 10), domain=CONTRIB, alpha=0.5)


@pytest.mark.parametrize(
    ("ending", "currency"),
    [
        (dynamic, Currency.LOGITS),
        (steps, Currency.LOGITS),
        (operators, Currency.LOGITS),
        (softmax, Currency.PROBABILITIES),
        (fused, Currency.LOGITS),
    ],
)
def test_scores_of_classes_are_told_in_integers_too(ending: object, currency: Currency) -> None:
    b = Builder()
    x = b.input("x", ["n", 16])
    assert callable(ending)
    b.op("Identity", ending(b, x), to="y")
    b.output("y", ["n", 10])
    assert counted(b.model(**{CONTRIB: 1})) is currency


@pytest.mark.parametrize(
    ("ends", "currency"),
    [
        (("Identity", "Identity"), Currency.LOGITS),
        (("Softmax", "Softmax"), Currency.PROBABILITIES),
        (("Identity", "Tanh"), Currency.SQUARES),
    ],
)
def test_what_all_branches_end_in_is_what_an_output_is(
    ends: tuple[str, str], currency: Currency
) -> None:
    b = Builder()
    x, flag = b.input("x", ["n", 16]), b.input("flag", [], TensorProto.BOOL)
    branches = []
    for seed, end in enumerate(ends):
        inner = Builder(seed)
        weight = inner.const(inner.rng.standard_normal((16, 10)).astype("f"), f"own{seed}")
        made = inner.op("MatMul", x, weight, to=f"made{seed}")
        inner.output(inner.op(end, made, to=f"end{seed}"), ["n", 10])
        branches.append(inner.graph(f"branch{seed}"))
    b.op("If", flag, to="z", then_branch=branches[0], else_branch=branches[1])
    b.op("Identity", "z", to="y")
    b.output("y", ["n", 10])
    assert counted(b.model()) is currency


def test_two_computed_factors_are_no_layer() -> None:
    b = Builder()
    x = b.input("x", ["n", 16])
    gate = b.op("Sigmoid", b.op("MatMul", x, b.weight(16, 10)))
    b.op("Mul", b.op("MatMul", x, b.weight(16, 10)), gate, to="y")
    b.output("y", ["n", 10])
    assert counted(b.model()) is Currency.SQUARES


def test_an_output_that_is_named_an_embedding_is_one() -> None:
    b = Builder()
    x = b.input("x", ["n", 16])
    b.op("MatMul", x, b.weight(16, 10), to="sentence_embedding")
    b.output("sentence_embedding", ["n", 10])
    model = b.model()
    infer_types(model)
    (value,) = model.graph.outputs
    made = Session(model).run(feeds(model))[value.name]
    assert seeding_of(value, made, model) == Seeding(Currency.SQUARES, -1)

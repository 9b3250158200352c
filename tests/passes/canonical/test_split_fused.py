"""Operators that an optimizer fused become standard ones, and the results stay."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto as T

from ocompress.ir import Model
from tests.build import Builder
from tests.passes.canonical import exact, folding

NAME = "split-fused"
MS = "com.microsoft"


def model(b: Builder, opset: int = 17) -> Model:
    return b.model(opset, com_microsoft=1)


def conv(activation: str, *numbers: float, beside: bool = False) -> Builder:
    b = Builder()
    x, weight, bias = b.input("x", [2, 3, 6, 6]), b.weight(4, 3, 3, 3), b.weight(4)
    more = [b.op("Relu", b.input("z", [2, 4, 3, 3]))] if beside else []
    params = {"activation_params": list(numbers)} if numbers else {}
    b.op("FusedConv", x, weight, bias, *more, to="y", domain=MS, activation=activation,
         kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2], **params)  # fmt: skip
    b.output("y", [2, 4, 3, 3])
    return b


def same(ran: exact.Ran | folding.Result) -> None:
    assert not {n.op_type for _, n in ran.after.nodes() if n.domain}
    assert isinstance(ran, folding.Result)
    ran.same(1e-5)


@pytest.mark.parametrize(
    ("activation", "numbers"),
    [
        ("Relu", ()), ("Sigmoid", ()), ("Tanh", ()), ("LeakyRelu", (0.3,)),
        ("Clip", (-0.25, 0.5)), ("HardSigmoid", (0.3, 0.4)),
    ],
)  # fmt: skip
@pytest.mark.parametrize("beside", [False, True])
def test_a_convolution_and_its_activation(
    activation: str, numbers: tuple[float, ...], beside: bool
) -> None:
    result = folding.run(NAME, model(conv(activation, *numbers, beside=beside)))
    same(result)
    assert result.after.labelled("y").op_type == "Conv"  # type: ignore[union-attr]


@pytest.mark.parametrize(("activation", "alpha"), [("Relu", {}), ("LeakyRelu", {"alpha": 0.2})])
def test_a_gemm_and_its_activation(activation: str, alpha: dict[str, float]) -> None:
    b = Builder()
    given = {f"activation_{key}": value for key, value in alpha.items()}
    b.op("FusedGemm", b.input("x", [3, 6]), b.weight(4, 6), b.weight(4), to="y", domain=MS,
         activation=activation, transB=1, alpha=0.5, **given)  # fmt: skip
    b.output("y", [3, 4])
    result = folding.run(NAME, model(b))
    same(result)
    assert {n.op_type for _, n in result.after.nodes()} == {"Gemm", activation}


@pytest.mark.parametrize("alpha", [1.0, 0.5])
@pytest.mark.parametrize(("left", "right"), [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_a_product_of_transposed_operands(alpha: float, left: int, right: int) -> None:
    b = Builder()
    x = b.input("x", [2, 6, 3] if left else [2, 3, 6])
    weight = b.weight(4, 6) if right else b.weight(6, 4)
    b.op("FusedMatMul", x, weight, to="y", domain=MS, transA=left, transB=right, alpha=alpha)
    b.output("y", [2, 3, 4])
    same(folding.run(NAME, model(b)))


@pytest.mark.parametrize("opset", [17, 20])
@pytest.mark.parametrize(
    ("op_type", "biased"),
    [("BiasGelu", True), ("Gelu", False), ("FastGelu", True), ("FastGelu", False),
     ("QuickGelu", False)],
)  # fmt: skip
def test_kinds_of_gelu(opset: int, op_type: str, biased: bool) -> None:
    b = Builder()
    bias = [b.weight(8)] if biased else []
    b.op(op_type, b.input("x", [3, 8]), *bias, to="y", domain=MS)
    b.output("y", [3, 8])
    same(folding.run(NAME, model(b, opset)))


@pytest.mark.parametrize("summed", [False, True])
@pytest.mark.parametrize("operands", [3, 4, 5])
def test_a_normalized_sum(summed: bool, operands: int) -> None:
    b = Builder()
    weights = [b.weight(8) for _ in range(operands - 2)]
    outputs = ["y", "", "", "sum"] if summed else ["y"]
    b.ops("SkipLayerNormalization", [b.input("x", [2, 5, 8]), b.input("s", [2, 5, 8]), *weights],
          outputs, domain=MS, epsilon=1e-3)  # fmt: skip
    for name in filter(None, outputs):
        b.output(name, [2, 5, 8])
    same(folding.run(NAME, model(b)))


def test_an_older_opset_has_no_normalization() -> None:
    b = Builder()
    b.op("SkipLayerNormalization", b.input("x", [2, 8]), b.input("s", [2, 8]), b.weight(8), to="y",
         domain=MS)  # fmt: skip
    b.output("y", [2, 8])
    assert exact.run(NAME, model(b, 16)).codes == {"old-opset"}


@pytest.mark.parametrize(
    ("op_type", "attrs", "code"),
    [
        ("FusedConv", {"activation": "Swish"}, "activation"),
        ("FusedConv", {"activation": "Clip"}, "activation"),
        ("FusedMatMul", {"transBatchA": 1}, "transposed-batch"),
    ],
)
def test_what_has_no_spelling_stays(op_type: str, attrs: dict[str, Any], code: str) -> None:
    b = Builder()
    b.op(op_type, b.input("x", [2, 3, 4, 4]), b.weight(4, 3, 3, 3), to="y", domain=MS, **attrs)
    b.output("y", None)
    ran = exact.run(NAME, model(b))
    assert ran.codes == {code}
    assert ran.ops == {op_type: 1}


def test_an_unknown_type_stays() -> None:
    b = Builder()
    b.op("FusedGemm", b.input("x", [3, 6], T.INT32), b.const(np.ones((6, 4), np.int32)), to="y",
         domain=MS, activation="Relu")  # fmt: skip
    b.output("y", [3, 4], T.INT32)
    assert exact.run(NAME, model(b), types=False).codes == {"unknown-type"}


def test_other_passes_see_the_layers() -> None:
    """The whole family makes layers of it that are cut and quantized like any others."""
    result = folding.run("canonicalize", model(conv("Relu")))
    assert {n.op_type for _, n in result.after.nodes()} == {"Conv", "Relu"}

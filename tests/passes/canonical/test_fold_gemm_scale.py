"""Factors of a Gemm go into its constants, and the results stay."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto as T

from ocompress.ir import Node
from ocompress.pipeline import find
from tests.build import Builder
from tests.contract.harness import context
from tests.passes.canonical import exact, folding

NAME = "fold-gemm-scale"


def build(bias: Any = (4,), *, dtype: Any = np.float32, **attrs: Any) -> Builder:
    b = Builder()
    element = T.DOUBLE if dtype == np.float64 else T.FLOAT
    x = b.input("x", [6, 3] if attrs.get("transA") else [3, 6], element)
    weight = b.weight(*((4, 6) if attrs.get("transB") else (6, 4)), dtype=dtype)
    biases = [] if bias is None else [b.weight(*bias, dtype=dtype)]
    b.op("Gemm", x, weight, *biases, to="y", **attrs)
    b.output("y", [3, 4], element)
    return b


def gemm(result: folding.Result | exact.Ran) -> Node:
    return next(n for _, n in result.after.nodes() if n.op_type == "Gemm")


@pytest.mark.parametrize("bias", [(4,), (3, 4), (1,), None])
@pytest.mark.parametrize("flip", [0, 1])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_alpha_and_beta_vanish(bias: Any, flip: int, dtype: Any) -> None:
    result = folding.run(NAME, build(bias, dtype=dtype, alpha=0.3, beta=-1.7, transB=flip).model())
    assert set(gemm(result).attributes) <= {"transB"}
    assert not result.codes
    result.same()


def test_powers_of_two_are_exact() -> None:
    ran = exact.run(NAME, build(alpha=0.25, beta=2.0).model())
    assert not gemm(ran).attributes
    ran.same_bits()


def test_a_bias_times_zero_goes() -> None:
    ran = exact.run(NAME, build(beta=0.0).model())
    assert len(gemm(ran).inputs) == 2
    ran.same_bits()


def test_a_constant_left_factor_is_turned_round() -> None:
    b = Builder()
    b.op("Gemm", b.weight(6, 3), b.input("x", [6, 4]), b.weight(4), transA=1, alpha=2.0, to="y")
    b.output("y", [3, 4])
    result = folding.run(NAME, b.model())
    assert not gemm(result).attributes
    result.same()


def test_a_transpose_before_a_transposed_input_goes() -> None:
    b = Builder()
    x = b.op("Transpose", b.input("x", [3, 6]))
    b.op("Gemm", x, b.weight(6, 4), transA=1, to="y")
    b.output("y", [3, 4])
    result = folding.run(NAME, b.model())
    assert result.ops == {"Gemm": 1}
    result.same()


def test_a_constant_that_others_read_keeps_its_value_for_them() -> None:
    b = Builder()
    x, w, c = b.input("x", ["n", 4]), b.weight(4, 4), b.weight(4)
    h = b.op("Gemm", x, w, c, alpha=0.5, beta=3.0)
    b.op("Gemm", h, w, c, to="y")
    b.output("y", ["n", 4])
    result = folding.run(NAME, b.model())
    assert not result.codes
    result.same()


@pytest.mark.parametrize(
    ("attrs", "code"),
    [
        ({"alpha": 0.0}, "odd-alpha"),
        ({"alpha": float("inf")}, "odd-alpha"),
        ({"alpha": 3e38}, "non-finite"),
        ({"beta": 3e38}, "non-finite"),
        ({"transA": 1}, "transposed-input"),
    ],
)
def test_left_alone(attrs: dict[str, Any], code: str) -> None:
    b = build(**attrs)
    b.inits[0].CopyFrom(_hundred(b.inits[0].name, (6, 4)))
    b.inits[1].CopyFrom(_hundred(b.inits[1].name, (4,)))
    result = folding.run(NAME, b.model())
    assert result.codes == {code: 1}
    assert not result.outcome


def _hundred(name: str, shape: tuple[int, ...]) -> Any:
    from onnx import numpy_helper

    return numpy_helper.from_array(np.full(shape, 100, np.float32), name)


@pytest.mark.parametrize(("attr", "code"), [("alpha", "dynamic-weight"), ("beta", "dynamic-bias")])
def test_computed_operands(attr: str, code: str) -> None:
    b = Builder()
    x = b.input("x", [3, 3])
    b.op("Gemm", x, b.op("Neg", x), b.op("Abs", x), to="y", **{attr: 0.5})  # type: ignore[arg-type]
    b.output("y", [3, 3])
    result = folding.run(NAME, b.model())
    assert result.codes == {code: 1}


@pytest.mark.parametrize(("alpha", "folds"), [(0.5, True), (0.3, False)])
def test_weights_that_files_hold_in_16_bits_stay_so(alpha: float, folds: bool) -> None:
    b = Builder()
    half = b.const(b.rng.standard_normal((60, 40)).astype(np.float16))
    b.ops("Cast", [half], ["w"], to=T.FLOAT)
    b.op("Gemm", b.input("x", ["n", 60]), "w", b.weight(40), alpha=alpha, to="y")
    b.output("y", ["n", 40])
    model = b.model()
    ctx = context(model)
    ctx.run_one(find("canonicalize")(), model)
    assert model.weight_bytes < 60 * 40 * 2 + 500
    assert ("alpha" in model.graph.nodes[-1].attributes) != folds
    assert ctx.diagnostics.declined() == ({} if folds else {"packed-weight": 1})


def test_float16() -> None:
    b = Builder()
    b.ops("Cast", [b.input("x", [3, 6])], ["h"], to=T.FLOAT16)
    c = b.weight(4, dtype=np.float16)
    b.op("Gemm", "h", b.weight(6, 4, dtype=np.float16), c, alpha=0.3, beta=1.7, to="y")
    b.output("y", [3, 4], T.FLOAT16)
    result = folding.run(NAME, b.model())
    assert not gemm(result).attributes
    result.same(3e-3)

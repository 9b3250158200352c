"""MatMul and Add become Gemm where shapes allow it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.build import Builder
from tests.passes.canonical.folding import run


def build(x: Any, w: Any, bias: Any, *, flip: bool = False) -> Builder:
    b = Builder()
    h = b.op("MatMul", b.input("x", x), b.weight(*w))
    c = b.weight(*bias)
    b.op("Add", *((c, h) if flip else (h, c)), to="y")
    b.output("y")
    return b


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("bias", [(4,), (1, 4), (1,), (), (1, 1)])
def test_merges(bias: tuple[int, ...], flip: bool) -> None:
    result = run("merge-matmul-add", build(["n", 6], (6, 4), bias, flip=flip).model())
    assert list(result.ops) == ["Gemm"]
    result.same()


@pytest.mark.parametrize("bias", [(1, 4), (1,), (), (1, 1), (4, 1), (4,)])
def test_bias_of_a_gemm_gets_rank_1(bias: tuple[int, ...]) -> None:
    b = Builder()
    b.op("Gemm", b.input("x", [4, 6]), b.weight(6, 4), b.weight(*bias), beta=0.5, to="y")
    b.output("y")
    result = run("merge-matmul-add", b.model())
    assert bool(result.outcome) == (bias not in ((4, 1), (4,)))
    flat = result.after.graph.nodes[0].inputs[2]
    assert flat is not None
    assert flat.shape == (bias if bias == (4, 1) else (4,))
    result.same()


@pytest.mark.parametrize("bias", [(3, 4), (3, 1)])
def test_bias_per_row_needs_known_rows(bias: tuple[int, ...]) -> None:
    result = run("merge-matmul-add", build([3, 6], (6, 4), bias).model())
    assert list(result.ops) == ["Gemm"]
    result.same()
    result = run("merge-matmul-add", build(["n", 6], (6, 4), bias).model())
    assert result.codes == {"bias-shape": 1}


@pytest.mark.parametrize(
    ("x", "w", "bias", "code"),
    [
        (["n", 5, 6], (6, 4), (4,), "not-a-matrix"),
        ([3, 6], (2, 6, 4), (4,), "not-a-matrix"),
        ([3, 6], (6, 4), (1, 1, 4), "bias-shape"),
        ([1, 6], (6, 4), (3, 4), "bias-shape"),
        ([3, 6], (6, 1), (4,), "bias-shape"),
    ],
)
def test_left_alone(x: Any, w: Any, bias: Any, code: str) -> None:
    result = run("merge-matmul-add", build(x, w, bias).model())
    assert result.codes == {code: 1}
    assert not result.outcome


def test_product_that_others_read() -> None:
    b = Builder()
    h = b.op("MatMul", b.input("x", ["n", 6]), b.weight(6, 4))
    b.op("Mul", b.op("Add", h, b.weight(4)), h, to="y")
    b.output("y")
    assert run("merge-matmul-add", b.model()).codes == {"several-readers": 1}


def test_integers_have_no_kernel() -> None:
    b = Builder()
    h = b.op("MatMul", b.input("x", ["n", 6], 6), b.const(np.ones((6, 4), np.int32)))
    b.op("Add", h, b.const(np.ones(4, np.int32)), to="y")
    b.output("y", None, 6)
    assert run("merge-matmul-add", b.model()).codes == {"no-kernel": 1}


def test_residual_sum_is_no_bias() -> None:
    b = Builder()
    x = b.input("x", ["n", 6])
    b.op("Add", b.op("MatMul", x, b.weight(6, 6)), x, to="y")
    b.output("y")
    result = run("merge-matmul-add", b.model())
    assert not result.outcome
    assert not result.codes

"""Gradients of matrix products, convolutions and poolings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.analysis.gradients.differences import binary, check, unary
from tests.build import Builder

F = np.float32
RNG = np.random.default_rng(3)


def weight(*shape: int) -> Any:
    return RNG.standard_normal(shape).astype(F)


@pytest.mark.parametrize("flip_a", [0, 1])
@pytest.mark.parametrize("flip_b", [0, 1])
def test_gemm(flip_a: int, flip_b: int) -> None:
    def build(b: Builder) -> None:
        x = b.input("x", [3, 2] if flip_a else [2, 3])
        z = b.input("z", [4, 3] if flip_b else [3, 4])
        c = b.input("c", [4])
        b.op("Gemm", x, z, c, to="y", transA=flip_a, transB=flip_b, alpha=0.5, beta=2.0)
        b.output("y")

    check(build)


MATMUL = [
    ((2, 3), (3, 4)),
    ((2, 2, 3), (3, 4)),
    ((2, 3), (2, 3, 2)),
    ((2, 1, 2, 3), (3, 3, 2)),
    ((3,), (3, 2)),
    ((2, 3), (3,)),
    ((2, 2, 3), (3,)),
    ((3,), (2, 3, 2)),
    ((3,), (3,)),
]


@pytest.mark.parametrize(("left", "right"), MATMUL)
def test_matmul_of_two_values(left: Any, right: Any) -> None:
    check(binary("MatMul", left, right))


def test_matmul_with_a_constant_on_either_side() -> None:
    check(unary("MatMul", (2, 2, 3), weight(3, 4)))

    def build(b: Builder) -> None:
        b.op("MatMul", b.const(weight(4, 3)), b.input("x", [2, 3, 2]), to="y")
        b.output("y")

    check(build)


@pytest.mark.parametrize("form", ["ij,jk->ik", "ij,kj->ki", "ij,ij->i"])
def test_einsum(form: str) -> None:
    right = {"ij,jk->ik": (3, 2), "ij,kj->ki": (4, 3), "ij,ij->i": (2, 3)}[form]
    check(binary("Einsum", (2, 3), right, equation=form))


CONV: list[tuple[Any, Any, dict[str, Any]]] = [
    ((2, 2, 5, 5), (3, 2, 3, 3), {"pads": [1, 1, 1, 1]}),
    ((1, 2, 5, 6), (2, 2, 3, 2), {"pads": [0, 1, 2, 0], "strides": [2, 3]}),
    ((1, 2, 6, 6), (2, 2, 3, 3), {"strides": [2, 2], "auto_pad": "SAME_UPPER"}),
    ((1, 2, 5, 6), (2, 2, 2, 3), {"strides": [2, 2], "auto_pad": "SAME_LOWER"}),
    ((1, 1, 5, 5), (2, 1, 2, 2), {"auto_pad": "VALID", "strides": [2, 1]}),
    ((1, 2, 7, 7), (2, 2, 3, 3), {"dilations": [2, 3], "pads": [1, 0, 1, 2]}),
    ((1, 1, 8, 7), (2, 1, 3, 2), {"dilations": [2, 1], "strides": [3, 2]}),
    ((1, 4, 4, 4), (6, 2, 3, 3), {"group": 2, "pads": [1, 1, 1, 1]}),
    ((1, 4, 5, 5), (8, 1, 3, 3), {"group": 4, "strides": [2, 2], "pads": [1, 1, 1, 1]}),
    ((1, 3, 4, 4), (3, 1, 3, 3), {"group": 3, "pads": [1, 1, 1, 1]}),
    ((1, 2, 3, 3), (2, 2, 1, 1), {"pads": [1, 2, 0, 1]}),
    ((1, 2, 3, 3), (2, 2, 2, 2), {"pads": [3, 3, 3, 3], "strides": [1, 1]}),
    ((1, 1, 9), (2, 1, 3), {"strides": [2], "pads": [1, 0]}),
    ((1, 1, 3, 4, 3), (2, 1, 2, 2, 2), {"strides": [1, 2, 1], "pads": [0, 1, 0, 1, 0, 0]}),
    ((1, 1, 3, 3, 3), (1, 1, 2, 2, 2), {}),
]


@pytest.mark.parametrize(("shape", "kernel", "attrs"), CONV)
def test_conv(shape: Any, kernel: Any, attrs: dict[str, Any]) -> None:
    check(unary("Conv", shape, weight(*kernel), weight(kernel[0]), **attrs), linear=True)


TRANSPOSED: list[tuple[Any, Any, dict[str, Any]]] = [
    ((1, 2, 3, 3), (2, 3, 2, 2), {"strides": [2, 2]}),
    ((1, 2, 3, 3), (2, 1, 3, 3), {"strides": [2, 3], "pads": [1, 0, 0, 2]}),
    ((1, 2, 3, 3), (2, 1, 3, 3), {"strides": [2, 2], "output_padding": [1, 1]}),
    ((1, 2, 3, 3), (2, 1, 3, 3), {"dilations": [2, 2], "pads": [1, 1, 1, 1]}),
    ((1, 4, 3, 3), (4, 1, 3, 3), {"group": 2, "pads": [1, 1, 1, 1]}),
    ((1, 2, 3, 3), (2, 1, 3, 3), {"strides": [2, 2], "auto_pad": "SAME_UPPER"}),
    ((1, 2, 3, 3), (2, 1, 3, 3), {"strides": [2, 2], "auto_pad": "SAME_LOWER"}),
    ((1, 2, 3, 3), (2, 1, 4, 4), {"strides": [2, 2], "output_shape": [7, 7]}),
    ((1, 2, 4), (2, 3, 3), {"strides": [2], "pads": [1, 1]}),
]


@pytest.mark.parametrize(("shape", "kernel", "attrs"), TRANSPOSED)
def test_conv_transpose(shape: Any, kernel: Any, attrs: dict[str, Any]) -> None:
    check(unary("ConvTranspose", shape, weight(*kernel), **attrs), linear=True)


AVERAGE: list[tuple[Any, dict[str, Any]]] = [
    ((1, 2, 4, 4), {"kernel_shape": [2, 2], "strides": [2, 2]}),
    ((1, 2, 5, 5), {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
    ((1, 2, 5, 5), {"kernel_shape": [3, 2], "pads": [1, 0, 1, 1], "count_include_pad": 1}),
    ((1, 1, 6, 5), {"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_UPPER"}),
    ((1, 1, 5, 5), {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}),
    (
        (1, 1, 5, 6),
        {
            "kernel_shape": [3, 3],
            "strides": [2, 2],
            "ceil_mode": 1,
            "pads": [1] * 4,
            "count_include_pad": 1,
        },
    ),
    ((1, 2, 7), {"kernel_shape": [3], "strides": [3]}),
]


@pytest.mark.parametrize(("shape", "attrs"), AVERAGE)
def test_average_pool(shape: Any, attrs: dict[str, Any]) -> None:
    check(unary("AveragePool", shape, **attrs), linear=True)


MAX: list[tuple[Any, dict[str, Any]]] = [
    ((2, 2, 4, 4), {"kernel_shape": [2, 2], "strides": [2, 2]}),
    ((1, 2, 5, 5), {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
    ((1, 2, 6, 6), {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [0, 0, 1, 1]}),
    ((1, 1, 5, 5), {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}),
    ((1, 1, 6), {"kernel_shape": [2], "dilations": [2]}),
]


@pytest.mark.parametrize(("shape", "attrs"), MAX)
def test_max_pool(shape: Any, attrs: dict[str, Any]) -> None:
    check(unary("MaxPool", shape, **attrs))


@pytest.mark.parametrize("opset", [8, 12, 18])
def test_max_pool_of_any_opset(opset: int) -> None:
    check(unary("MaxPool", (1, 1, 4, 4), kernel_shape=[3, 3]), opset=opset)


@pytest.mark.parametrize("op", ["GlobalAveragePool", "GlobalMaxPool"])
def test_global_pools(op: str) -> None:
    check(unary(op, (2, 3, 3, 2)))

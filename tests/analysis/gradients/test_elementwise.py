"""Gradients of functions element by element, and of arithmetic with broadcasting."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto as T

from tests.analysis.gradients.differences import Array, binary, check, unary
from tests.build import Builder

F = np.float32


def positive(x: Array) -> Array:
    return np.asarray(np.abs(x) + 0.3)


def wide(x: Array) -> Array:
    return 3 * x


PLAIN = [
    ("Identity", {}),
    ("Relu", {}),
    ("LeakyRelu", {"alpha": 0.2}),
    ("LeakyRelu", {"alpha": -0.5}),
    ("Elu", {"alpha": 0.7}),
    ("Selu", {}),
    ("HardSigmoid", {"alpha": 0.3, "beta": 0.4}),
    ("HardSwish", {}),
    ("Sigmoid", {}),
    ("Tanh", {}),
    ("Softplus", {}),
    ("Softsign", {}),
    ("Mish", {}),
    ("Erf", {}),
    ("Exp", {}),
    ("Neg", {}),
    ("Abs", {}),
    ("Sin", {}),
    ("Cos", {}),
    ("Reciprocal", {}),
]


@pytest.mark.parametrize(("op", "attrs"), PLAIN)
def test_functions_of_one_value(op: str, attrs: dict[str, Any]) -> None:
    domain = wide if op.startswith("Hard") else lambda x: x
    check(unary(op, (4, 9), **attrs), domain=domain, coarse=op == "Erf")


@pytest.mark.parametrize("op", ["Log", "Sqrt"])
def test_functions_of_positive_values(op: str) -> None:
    check(unary(op), domain=positive)


@pytest.mark.parametrize("form", ["none", "tanh"])
def test_gelu(form: str) -> None:
    check(unary("Gelu", (3, 6), approximate=form), opset=20, coarse=form == "none")


def test_swish() -> None:
    check(unary("Swish", (3, 6), alpha=1.3), opset=24)


def test_prelu_with_a_slope_per_channel() -> None:
    check(unary("PRelu", (2, 3, 2), np.array([[0.1], [-0.3], [2]], F)))


@pytest.mark.parametrize(
    "build",
    [
        unary("Clip", (4, 6), F(-0.5), F(0.7)),
        unary("Clip", (4, 6), None, F(0.2)),
        unary("Clip", (4, 6), F(0.1)),
    ],
)
def test_clip(build: Callable[[Builder], None]) -> None:
    check(build)


def test_clip_with_limits_as_attributes() -> None:
    check(unary("Clip", (4, 6), min=-0.5, max=0.7), opset=10, linear=False)


def test_dropout_at_inference() -> None:
    check(unary("Dropout", (2, 3), F(0.4), np.array(False)))


def test_casts_between_floats() -> None:
    def build(b: Builder) -> None:
        b.ops("Cast", [b.input("x", [2, 3])], ["wide"], to=T.DOUBLE)
        b.ops("Cast", [b.op("Mul", "wide", b.const(np.float64(3)))], ["y"], to=T.FLOAT)
        b.output("y")

    check(build)


SHAPES = [((2, 3), (2, 3)), ((2, 3), (3,)), ((2, 1, 3), (4, 1)), ((), (2, 2)), ((1, 5), (4, 1))]


@pytest.mark.parametrize(("left", "right"), SHAPES)
@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "Mean"])
def test_arithmetic_with_broadcasting(op: str, left: Any, right: Any) -> None:
    domain = (lambda x: x + 2 * np.sign(x)) if op == "Div" else wide
    check(binary(op, left, right), domain=domain, linear=op == "Mean")


def test_three_operands() -> None:
    def build(b: Builder) -> None:
        x, z = b.input("x", [4, 5]), b.input("z", [5])
        b.op("Max", x, z, b.const(F(0.1)), to="y")
        b.output("y")

    check(build)


def test_ties_share() -> None:
    x = np.ones((2, 2), F)
    check(binary("Max", (2, 2), (2, 2)), fed={"x": x, "z": x})


@pytest.mark.parametrize("exponent", [F(2), F(3), F(0.5), np.array(2, np.int64), F(-1)])
def test_powers(exponent: Any) -> None:
    check(unary("Pow", (2, 4), exponent), domain=positive)


def test_squares_of_negative_values() -> None:
    check(unary("Pow", (3, 4), F(2)))
    check(unary("Pow", (3, 4), F(3)))


def test_power_of_two_values() -> None:
    check(binary("Pow", (2, 3), (3,)), domain=positive)


def test_where() -> None:
    def build(b: Builder) -> None:
        condition = b.const(np.array([[True], [False]]))
        b.op("Where", condition, b.input("x", [2, 3]), b.input("z", [3]), to="y")
        b.output("y")

    check(build)


def test_where_on_a_comparison_of_the_value_itself() -> None:
    def build(b: Builder) -> None:
        x = b.input("x", [3, 4])
        big = b.op("Greater", x, b.const(F(0.2)))
        b.op("Where", big, b.op("Mul", x, x), b.op("Neg", x), to="y")
        b.output("y")

    check(build)


def test_several_readers_add_up() -> None:
    def build(b: Builder) -> None:
        x = b.input("x", [2, 3])
        h = b.op("Tanh", x)
        b.op("Add", b.op("Mul", h, h), b.op("Mul", h, x), to="y")
        b.op("Exp", h, to="w")
        b.output("y")
        b.output("w")
        b.output(h)

    check(build)

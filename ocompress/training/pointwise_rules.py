"""Operators on single elements."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ocompress.ir import DType
from ocompress.training.dtypes import torch_type
from ocompress.training.registry import Call, Function, UnsupportedError, rule

_UNARY: dict[str, Function] = {
    "Abs": torch.abs,
    "Acos": torch.acos,
    "Acosh": torch.acosh,
    "Asin": torch.asin,
    "Asinh": torch.asinh,
    "Atan": torch.atan,
    "Atanh": torch.atanh,
    "Ceil": torch.ceil,
    "Cos": torch.cos,
    "Cosh": torch.cosh,
    "Erf": torch.erf,
    "Exp": torch.exp,
    "Floor": torch.floor,
    "HardSwish": functional.hardswish,
    "Identity": lambda x: x,
    "IsNaN": torch.isnan,
    "Log": torch.log,
    "Mish": functional.mish,
    "Neg": torch.neg,
    "Not": torch.logical_not,
    "Reciprocal": torch.reciprocal,
    "Relu": torch.relu,
    "Round": torch.round,
    "Sigmoid": torch.sigmoid,
    "Sin": torch.sin,
    "Sinh": torch.sinh,
    "Softplus": functional.softplus,
    "Softsign": functional.softsign,
    "Sqrt": torch.sqrt,
    "Tan": torch.tan,
    "Tanh": torch.tanh,
}
_BINARY: dict[str, Function] = {
    "Add": torch.add,
    "And": torch.logical_and,
    "Equal": torch.eq,
    "Greater": torch.gt,
    "GreaterOrEqual": torch.ge,
    "Less": torch.lt,
    "LessOrEqual": torch.le,
    "Mul": torch.mul,
    "Or": torch.logical_or,
    "Sub": torch.sub,
    "Xor": torch.logical_xor,
}
# Before these versions a second operand was stretched along an axis that an attribute named.
_BROADCASTS = 7


def _fixed(function: Function) -> Callable[[Call], Function]:
    return lambda _: function


for _name, _function in _UNARY.items():
    rule(_name)(_fixed(_function))
for _name, _function in _BINARY.items():
    rule(_name, since=_BROADCASTS)(_fixed(_function))


@rule("Div", since=_BROADCASTS)
def div(_: Call) -> Function:
    """Quotients; those of integers are cut off towards zero."""

    def apply(a: Tensor, b: Tensor) -> Tensor:
        if a.is_floating_point():
            return a / b
        return torch.div(a, b, rounding_mode="trunc")

    return apply


@rule("Mod", since=10)
def mod(call: Call) -> Function:
    """Remainders of the dividend's sign (`fmod`) or the divisor's."""
    return torch.fmod if call.attr("fmod", 0) else torch.remainder


@rule("Pow", since=_BROADCASTS)
def power(call: Call) -> Function:
    """Powers, of the type of the base."""

    def apply(a: Tensor, b: Tensor) -> Tensor:
        return torch.pow(a, b).to(a.dtype)

    exponent = call.arrays[1]
    if exponent is not None and exponent.size == 1 and call.rank(1) <= call.rank():
        number = exponent.reshape(()).item()
        return lambda a, _: torch.pow(a, number).to(a.dtype)
    return apply


@rule("Max", "Min", "Sum", "Mean")
def fold(call: Call) -> Function:
    """Any number of operands, one after the other."""
    pairs: dict[str, Function] = {"Max": torch.maximum, "Min": torch.minimum}
    step = pairs.get(call.node.op_type, torch.add)
    if call.node.op_type == "Mean":
        return lambda *xs: functools.reduce(step, xs) / len(xs)
    return lambda *xs: functools.reduce(step, xs)


@rule("Where", since=9)
def where(_: Call) -> Function:
    """One of two, by a condition."""
    return torch.where


@rule("Clip", since=11)
def clip(call: Call) -> Function:
    """Limits, each of which may be omitted."""
    low, high = (_number(call, index) for index in (1, 2))
    if not any(call.has(i) and n is None for i, n in ((1, low), (2, high))):
        if low is None and high is None:
            return lambda x, *_: x
        return lambda x, *_: torch.clamp(x, low, high)

    def apply(x: Tensor, low: Tensor | None = None, high: Tensor | None = None) -> Tensor:
        x = x if low is None else torch.maximum(x, low)
        return x if high is None else torch.minimum(x, high)

    return apply


def _number(call: Call, index: int) -> Any:
    array = call.arrays[index] if index < len(call.arrays) else None
    return None if array is None or array.size != 1 else array.reshape(()).item()


@rule("LeakyRelu")
def leaky_relu(call: Call) -> Function:
    """A slope on the negative side."""
    slope = call.attr("alpha", 0.01)
    return lambda x: functional.leaky_relu(x, slope)


@rule("PRelu", since=_BROADCASTS)
def parametric_relu(_: Call) -> Function:
    """Slopes on the negative side, stretched over the other axes."""
    return lambda x, slope: torch.where(x < 0, x * slope, x)


@rule("Elu")
def elu(call: Call) -> Function:
    """Exponential on the negative side."""
    alpha = call.attr("alpha", 1.0)
    return lambda x: functional.elu(x, alpha)


@rule("Celu", since=12)
def celu(call: Call) -> Function:
    """Exponential on the negative side, smooth at zero."""
    alpha = call.attr("alpha", 1.0)
    return lambda x: functional.celu(x, alpha)


@rule("Selu")
def selu(call: Call) -> Function:
    """Exponential on the negative side, and a factor."""
    alpha = call.attr("alpha", 1.67326319217681884765625)
    gamma = call.attr("gamma", 1.05070102214813232421875)
    return lambda x: functional.elu(x, alpha) * gamma


@rule("Gelu", since=20)
def gelu(call: Call) -> Function:
    """The Gaussian's share, or what approximates it."""
    kind = call.attr("approximate", "none")
    return lambda x: functional.gelu(x, approximate=kind)


@rule("Swish", since=24)
def swish(call: Call) -> Function:
    """The sigmoid's share."""
    alpha = call.attr("alpha", 1.0)
    return lambda x: x * torch.sigmoid(alpha * x)


@rule("HardSigmoid")
def hard_sigmoid(call: Call) -> Function:
    """A line between zero and one."""
    alpha, beta = call.attr("alpha", 0.2), call.attr("beta", 0.5)
    return lambda x: torch.clamp(alpha * x + beta, 0, 1)


@rule("ThresholdedRelu")
def thresholded_relu(call: Call) -> Function:
    """Zero up to a threshold."""
    alpha = call.attr("alpha", 1.0)
    return lambda x: torch.where(x > alpha, x, torch.zeros_like(x))


@rule("Shrink")
def shrink(call: Call) -> Function:
    """Zero around zero, an offset beyond."""
    limit, bias = call.attr("lambd", 0.5), call.attr("bias", 0.0)

    def apply(x: Tensor) -> Tensor:
        inner = torch.where(x > limit, x - bias, torch.zeros_like(x))
        return torch.where(x < -limit, x + bias, inner).to(x.dtype)

    return apply


@rule("IsInf")
def is_inf(call: Call) -> Function:
    """Infinities of either sign, or of one."""
    signs = [s for s, name in ((1, "detect_positive"), (-1, "detect_negative"))]
    wanted = [
        s
        for s, n in zip(signs, ("detect_positive", "detect_negative"), strict=True)
        if call.attr(n, 1)
    ]
    if len(wanted) != 1:
        return torch.isinf if wanted else lambda x: torch.zeros_like(x, dtype=torch.bool)
    return lambda x: x == wanted[0] * math.inf


@rule("Sign", since=9)
def sign(_: Call) -> Function:
    """Signs, through which gradients pass where numbers are between -1 and 1.

    So nets of signs are trained (straight-through; Hubara et al., Binarized Neural Networks, 2016).
    """

    def apply(x: Tensor) -> Tensor:
        if not x.is_floating_point():
            return torch.sign(x)
        near = torch.clamp(x, -1, 1)
        return near + (torch.sign(x) - near).detach()

    return apply


@rule("Dropout", since=7)
def dropout(call: Call) -> Function:
    """Nothing, as models are not trained with it here."""
    if call.has(2) and bool(call.known(2)):
        msg = "it draws random numbers"
        raise UnsupportedError(msg)
    return lambda x, *_: (x, torch.ones_like(x, dtype=torch.bool))


@rule("Cast", since=6)
def cast(call: Call) -> Function:
    """Another type; narrow floats are rounded, and pass gradients on."""
    return _caster(DType.named(int(call.attr("to"))), call.floating)


@rule("CastLike", since=15)
def cast_like(call: Call) -> Function:
    """The type of the second input."""
    like = call.node.input(1)
    assert like is not None
    to = _caster(like.dtype or DType.UNDEFINED, call.floating)
    return lambda x, _: to(x)


_NARROW = {DType.FLOAT16: torch.float16, DType.BFLOAT16: torch.bfloat16}


def _caster(dtype: DType, floating: torch.dtype) -> Function:
    kind = torch_type(dtype, floating)
    if dtype in _NARROW:
        narrow = _NARROW[dtype]
        return lambda x: x.to(narrow).to(floating)
    if dtype.name.startswith("UINT") and dtype is not DType.UINT8:
        msg = "unsigned integers wrap around"
        raise UnsupportedError(msg)
    return lambda x: x.to(kind)

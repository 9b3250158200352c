"""Functions of one value, element by element."""

from __future__ import annotations

import math
from collections.abc import Callable

from ocompress.analysis.gradients.registry import Gradients, rule
from ocompress.analysis.gradients.tape import StoppedError, Tape
from ocompress.ir import Node, Value

_TINY = 1e-12


@rule("Identity", "Cast", inputs=(0,))
def unchanged(_tape: Tape, _node: Node, g: Value) -> Gradients:
    """Pass a copy or a change of width: dx = g."""
    return [g]


@rule("Dropout", inputs=(0,))
def dropout(tape: Tape, node: Node, g: Value) -> Gradients:
    """Pass a dropout at inference: dx = g."""
    training = tape.array(node.input(2)) if node.input(2) is not None else False
    if training is None or bool(training):
        msg = "it drops elements at random"
        raise StoppedError(msg)
    return [g]


@rule("Relu")
def relu(tape: Tape, node: Node, g: Value) -> Gradients:
    """Return dx = g where y > 0."""
    return [tape.where(tape.op("Greater", tape.forward(node.output), tape.scalar(0)), g)]


@rule("LeakyRelu")
def leaky_relu(tape: Tape, node: Node, g: Value) -> Gradients:
    """Return dx = g, times alpha where x < 0."""
    alpha = node.attr("alpha", 0.01)
    seen = node.output if alpha > 0 else node.input(0)  # of the same sign; read again less often
    positive = tape.op("GreaterOrEqual", tape.forward(seen), tape.scalar(0))
    return [tape.op("Where", positive, g, tape.scale(g, alpha))]


@rule("PRelu", inputs=(0,))
def prelu(tape: Tape, node: Node, g: Value) -> Gradients:
    """Return dx = g, times the slope where x < 0."""
    positive = tape.op("GreaterOrEqual", tape.forward(node.input(0)), tape.scalar(0))
    return [tape.op("Where", positive, g, tape.op("Mul", g, tape.forward(node.input(1))))]


@rule("Elu", "Selu")
def elu(tape: Tape, node: Node, g: Value) -> Gradients:
    """Return dx = g gamma where y > 0, else g (y + gamma alpha); gamma is 1 in Elu."""
    scaled = node.op_type == "Selu"
    alpha = node.attr("alpha", 1.67326319217681884765625 if scaled else 1.0)
    gamma = node.attr("gamma", 1.05070102214813232421875) if scaled else 1.0
    y = tape.forward(node.output)
    slope = tape.op("Add", y, tape.scalar(gamma * alpha))
    positive = tape.op("Greater", y, tape.scalar(0))
    return [tape.op("Mul", g, tape.op("Where", positive, tape.scalar(gamma), slope))]


@rule("Clip", inputs=(0,))
def clip(tape: Tape, node: Node, g: Value) -> Gradients:
    """Return dx = g where y is strictly within the limits."""
    y = tape.forward(node.output)
    within: list[Value] = []
    for index, name, compare in ((1, "min", "Greater"), (2, "max", "Less")):
        limit = tape.forward(node.input(index)) if node.input(index) is not None else None
        if node.attr(name) is not None:
            limit = tape.scalar(node.attr(name))
        if limit is not None:
            within.append(tape.op(compare, y, limit))
    if not within:
        return [g]
    return [tape.where(within[0] if len(within) == 1 else tape.op("And", *within), g)]


@rule("HardSigmoid")
def hard_sigmoid(tape: Tape, node: Node, g: Value) -> Gradients:
    """Return dx = alpha g where 0 < y < 1."""
    y = tape.forward(node.output)
    above, below = tape.op("Greater", y, tape.scalar(0)), tape.op("Less", y, tape.scalar(1))
    return [tape.where(tape.op("And", above, below), tape.scale(g, node.attr("alpha", 0.2)))]


@rule("HardSwish")
def hard_swish(tape: Tape, node: Node, g: Value) -> Gradients:
    """Return dx = g times x / 3 + 1 / 2 within (-3, 3), 0 below and 1 above."""
    x = tape.forward(node.input(0))
    slope = tape.op("Add", tape.scale(x, 1 / 3), tape.scalar(0.5))
    above = tape.op("GreaterOrEqual", x, tape.scalar(3))
    slope = tape.op("Where", above, tape.scalar(1), slope)
    return [tape.op("Mul", g, tape.where(tape.op("Greater", x, tape.scalar(-3)), slope))]


@rule("Sigmoid")
def sigmoid(tape: Tape, node: Node, g: Value) -> Gradients:
    """Return dx = g y (1 - y)."""
    y = tape.forward(node.output)
    return [tape.op("Mul", g, tape.op("Mul", y, tape.op("Sub", tape.scalar(1), y)))]


@rule("Swish")
def swish(tape: Tape, node: Node, g: Value) -> Gradients:
    """Return dx = g s (1 + alpha x (1 - s)) with s = sigmoid(alpha x)."""
    x = tape.scale(tape.forward(node.input(0)), node.attr("alpha", 1.0))
    s = tape.op("Sigmoid", x)
    rest = tape.op("Mul", x, tape.op("Sub", tape.scalar(1), s))
    slope = tape.op("Mul", s, tape.op("Add", tape.scalar(1), rest))
    return [tape.op("Mul", g, slope)]


@rule("Mish")
def mish(tape: Tape, node: Node, g: Value) -> Gradients:
    """Return dx = g (t + x (1 - t^2) sigmoid(x)) with t = tanh(log(1 + exp(x)))."""
    x = tape.forward(node.input(0))
    t = tape.op("Tanh", tape.op("Softplus", x))
    steep = tape.op("Sub", tape.scalar(1), tape.op("Mul", t, t))
    rest = tape.op("Mul", tape.op("Mul", x, steep), tape.op("Sigmoid", x))
    return [tape.op("Mul", g, tape.op("Add", t, rest))]


@rule("Tanh")
def tanh(tape: Tape, node: Node, g: Value) -> Gradients:
    """Return dx = g (1 - y^2)."""
    y = tape.forward(node.output)
    return [tape.op("Mul", g, tape.op("Sub", tape.scalar(1), tape.op("Mul", y, y)))]


@rule("Softplus")
def softplus(tape: Tape, node: Node, g: Value) -> Gradients:
    """Return dx = g sigmoid(x)."""
    return [tape.op("Mul", g, tape.op("Sigmoid", tape.forward(node.input(0))))]


@rule("Softsign")
def softsign(tape: Tape, node: Node, g: Value) -> Gradients:
    """Return dx = g / (1 + |x|)^2."""
    base = tape.op("Add", tape.op("Abs", tape.forward(node.input(0))), tape.scalar(1))
    return [tape.op("Div", g, tape.op("Mul", base, base))]


def _bell(tape: Tape, x: Value, factor: float, width: float) -> Value:
    """Return factor exp(-width x^2)."""
    return tape.scale(tape.op("Exp", tape.scale(tape.op("Mul", x, x), -width)), factor)


@rule("Erf")
def erf(tape: Tape, node: Node, g: Value) -> Gradients:
    """Return dx = g 2 / sqrt(pi) exp(-x^2)."""
    bell = _bell(tape, tape.forward(node.input(0)), 2 / math.sqrt(math.pi), 1)
    return [tape.op("Mul", g, bell)]


@rule("Gelu")
def gelu(tape: Tape, node: Node, g: Value) -> Gradients:
    """Return dx = g (F(x) + x F'(x)), F the normal distribution or its form by tanh."""
    x = tape.forward(node.input(0))
    if node.attr("approximate", "none") == "tanh":
        share, slope = _tanh_share(tape, x)
    else:
        reach = tape.op("Erf", tape.scale(x, math.sqrt(0.5)))
        share = tape.scale(tape.op("Add", reach, tape.scalar(1)), 0.5)
        slope = _bell(tape, x, 1 / math.sqrt(2 * math.pi), 0.5)
    return [tape.op("Mul", g, tape.op("Add", share, tape.op("Mul", x, slope)))]


def _tanh_share(tape: Tape, x: Value) -> tuple[Value, Value]:
    """Return (1 + tanh u) / 2 and its derivative, with u = sqrt(2 / pi) (x + 0.044715 x^3)."""
    factor, cubic = math.sqrt(2 / math.pi), 0.044715
    square = tape.op("Mul", x, x)
    grown = tape.op("Add", tape.scale(square, cubic), tape.scalar(1))
    t = tape.op("Tanh", tape.scale(tape.op("Mul", x, grown), factor))
    share = tape.scale(tape.op("Add", t, tape.scalar(1)), 0.5)
    inner = tape.op("Add", tape.scale(square, 3 * cubic), tape.scalar(1))
    steep = tape.op("Sub", tape.scalar(1), tape.op("Mul", t, t))
    return share, tape.scale(tape.op("Mul", steep, inner), factor / 2)


@rule("Exp")
def exp(tape: Tape, node: Node, g: Value) -> Gradients:
    """Return dx = g y."""
    return [tape.op("Mul", g, tape.forward(node.output))]


@rule("Log")
def log(tape: Tape, node: Node, g: Value) -> Gradients:
    """Return dx = g / x."""
    return [tape.op("Div", g, tape.forward(node.input(0)))]


@rule("Sqrt")
def sqrt(tape: Tape, node: Node, g: Value) -> Gradients:
    """Return dx = g / (2 y); at 0, where there is no derivative, something finite."""
    y = tape.op("Max", tape.forward(node.output), tape.scalar(_TINY))
    return [tape.op("Div", tape.scale(g, 0.5), y)]


@rule("Reciprocal")
def reciprocal(tape: Tape, node: Node, g: Value) -> Gradients:
    """Return dx = -g y^2."""
    y = tape.forward(node.output)
    return [tape.op("Neg", tape.op("Mul", g, tape.op("Mul", y, y)))]


@rule("Neg")
def neg(tape: Tape, _node: Node, g: Value) -> Gradients:
    """Return dx = -g."""
    return [tape.op("Neg", g)]


@rule("Abs")
def absolute(tape: Tape, node: Node, g: Value) -> Gradients:
    """Return dx = g sign(x)."""
    return [tape.op("Mul", g, tape.op("Sign", tape.forward(node.input(0))))]


def _trigonometric(op: str, sign: float) -> Callable[[Tape, Node, Value], Gradients]:
    def pass_(tape: Tape, node: Node, g: Value) -> Gradients:
        slope = tape.op(op, tape.forward(node.input(0)))
        return [tape.op("Mul", g, tape.scale(slope, sign))]

    return pass_


rule("Sin")(_trigonometric("Cos", 1))
rule("Cos")(_trigonometric("Sin", -1))

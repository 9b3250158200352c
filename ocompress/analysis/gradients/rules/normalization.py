"""Softmax, and what divides by a norm or a deviation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ocompress.analysis.gradients.registry import Gradients, rule
from ocompress.analysis.gradients.tape import StoppedError, Tape
from ocompress.ir import Node, Value

_TINY = 1e-12
_PER_AXIS = 13
"""Opset since which Softmax works along one axis; before, along all axes from there on."""


def _along(
    tape: Tape, node: Node, g: Value, pass_: Callable[[Value, Value, int], Value]
) -> Gradients:
    shape, y = tape.shape(node.output), tape.forward(node.output)
    if tape.opset >= _PER_AXIS:
        return [pass_(y, g, int(node.attr("axis", -1)))]
    axis = int(node.attr("axis", 1)) % len(shape)
    flat = math.prod(shape[:axis]), math.prod(shape[axis:])
    found = pass_(tape.reshape(y, flat), tape.reshape(g, flat), 1)
    return [tape.reshape(found, shape)]


@rule("Softmax")
def softmax(tape: Tape, node: Node, g: Value) -> Gradients:
    """Return dx = y (g - sum(g y))."""

    def pass_(y: Value, given: Value, axis: int) -> Value:
        mean = tape.total(tape.op("Mul", given, y), [axis])
        return tape.op("Mul", y, tape.op("Sub", given, mean))

    return _along(tape, node, g, pass_)


@rule("LogSoftmax")
def log_softmax(tape: Tape, node: Node, g: Value) -> Gradients:
    """Return dx = g - exp(y) sum(g)."""

    def pass_(y: Value, given: Value, axis: int) -> Value:
        total = tape.total(given, [axis])
        return tape.op("Sub", given, tape.op("Mul", tape.op("Exp", y), total))

    return _along(tape, node, g, pass_)


@rule("BatchNormalization", inputs=(0,))
def batch_normalization(tape: Tape, node: Node, g: Value) -> Gradients:
    """Return dx = g scale / sqrt(var + epsilon), at inference."""
    if int(node.attr("training_mode", 0)):
        msg = "it is in training mode"
        raise StoppedError(msg)
    scale = tape.fixed(node, 1).astype("float64")
    deviation = (tape.fixed(node, 4).astype("float64") + node.attr("epsilon", 1e-5)) ** 0.5
    rank = len(tape.shape(node.output))
    factor = (scale / deviation).reshape([-1] + [1] * max(0, rank - 2))
    return [tape.op("Mul", g, tape.const(factor))]


@rule("LayerNormalization", "RMSNormalization", inputs=(0,))
def layer_normalization(tape: Tape, node: Node, g: Value) -> Gradients:
    """See `_normalized`; over the axes from `axis` on."""
    rank = len(tape.shape(node.input(0)))
    axes = list(range(int(node.attr("axis", -1)) % rank, rank))
    scaled = tape.op("Mul", g, tape.const(tape.fixed(node, 1)))
    x, epsilon = tape.forward(node.input(0)), node.attr("epsilon", 1e-5)
    centred = node.op_type == "LayerNormalization"
    return [_normalized(tape, x, scaled, axes, epsilon, centred=centred)]


@rule("InstanceNormalization", inputs=(0,))
def instance_normalization(tape: Tape, node: Node, g: Value) -> Gradients:
    """See `_normalized`; over the axes after the channels."""
    rank = len(tape.shape(node.input(0)))
    scale = tape.fixed(node, 1).reshape([-1] + [1] * (rank - 2))
    scaled = tape.op("Mul", g, tape.const(scale))
    x, epsilon = tape.forward(node.input(0)), node.attr("epsilon", 1e-5)
    return [_normalized(tape, x, scaled, range(2, rank), epsilon, centred=True)]


@rule("GroupNormalization", inputs=(0,))
def group_normalization(tape: Tape, node: Node, g: Value) -> Gradients:
    """See `_normalized`; over the channels of a group and the axes after them."""
    shape, groups = tape.shape(node.input(0)), int(node.attr("num_groups"))
    scale = tape.fixed(node, 1)
    if scale.size != shape[1]:  # opset 18 had one for each group
        scale = scale.repeat(shape[1] // groups)
    scaled = tape.op("Mul", g, tape.const(scale.reshape([-1] + [1] * (len(shape) - 2))))
    flat = shape[0], groups, math.prod(shape[1:]) // groups
    x = tape.reshape(tape.forward(node.input(0)), flat)
    epsilon = node.attr("epsilon", 1e-5)
    found = _normalized(tape, x, tape.reshape(scaled, flat), [2], epsilon, centred=True)
    return [tape.reshape(found, shape)]


def _normalized(
    tape: Tape, x: Value, g: Value, axes: Sequence[int], epsilon: float, *, centred: bool
) -> Value:
    """Pass g through x^ = (x - m) / s: dx = (g - mean(g) - x^ mean(g x^)) / s; m may be 0."""
    if centred:
        x = tape.op("Sub", x, tape.mean(x, axes))
    variance = tape.mean(tape.op("Mul", x, x), axes)
    deviation = tape.op("Sqrt", tape.op("Add", variance, tape.scalar(epsilon)))
    normal = tape.op("Div", x, deviation)
    along = tape.op("Mul", normal, tape.mean(tape.op("Mul", g, normal), axes))
    rest = tape.op("Sub", g, along)
    if centred:
        rest = tape.op("Sub", rest, tape.mean(g, axes))
    return tape.op("Div", rest, deviation)


@rule("LpNormalization")
def lp_normalization(tape: Tape, node: Node, g: Value) -> Gradients:
    """Return dx = (g - y sum(g y)) / norm for the 2-norm."""
    if int(node.attr("p", 2)) != 2:
        msg = "only the 2-norm has a rule"
        raise StoppedError(msg)
    axis, x, y = int(node.attr("axis", -1)), tape.forward(node.input(0)), tape.forward(node.output)
    norm = tape.op("Max", tape.op("ReduceL2", x, tape.integers([axis])), tape.scalar(_TINY))
    along = tape.op("Mul", y, tape.total(tape.op("Mul", g, y), [axis]))
    return [tape.op("Div", tape.op("Sub", g, along), norm)]

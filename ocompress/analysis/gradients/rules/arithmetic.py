"""Arithmetic of several values with broadcasting."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from ocompress.analysis.gradients.registry import Gradients, rule
from ocompress.analysis.gradients.tape import StoppedError, Tape
from ocompress.ir import Node, Value


def _shared(tape: Tape, node: Node, parts: list[Callable[[], Value]]) -> Gradients:
    """Evaluate the parts whose input wants a gradient, and sum each down to its input's shape."""
    if node.attr("axis") is not None:
        msg = "it broadcasts as the first opsets did"
        raise StoppedError(msg)
    made = tape.shape(node.output)
    return [
        tape.sum_to(part(), made, tape.shape(value)) if tape.wants(value) else None
        for value, part in zip(node.inputs, parts, strict=True)
    ]


@rule("Add", "Sum")
def add(tape: Tape, node: Node, g: Value) -> Gradients:
    """Each gets g."""
    return _shared(tape, node, [lambda: g] * len(node.inputs))


@rule("Mean")
def mean(tape: Tape, node: Node, g: Value) -> Gradients:
    """Each of n gets g / n."""
    count = len(node.inputs)
    return _shared(tape, node, [lambda: tape.scale(g, 1 / count)] * count)


@rule("Sub")
def sub(tape: Tape, node: Node, g: Value) -> Gradients:
    """Return da = g, db = -g."""
    return _shared(tape, node, [lambda: g, lambda: tape.op("Neg", g)])


@rule("Mul")
def mul(tape: Tape, node: Node, g: Value) -> Gradients:
    """Return da = g b, db = g a."""
    a, b = node.inputs
    parts = [lambda: tape.op("Mul", g, tape.forward(b)), lambda: tape.op("Mul", g, tape.forward(a))]
    return _shared(tape, node, parts)


@rule("Div")
def div(tape: Tape, node: Node, g: Value) -> Gradients:
    """Return da = g / b, db = -g y / b."""
    b = node.input(1)

    def below() -> Value:
        share = tape.op("Div", tape.forward(node.output), tape.forward(b))
        return tape.op("Neg", tape.op("Mul", g, share))

    return _shared(tape, node, [lambda: tape.op("Div", g, tape.forward(b)), below])


@rule("Pow")
def power(tape: Tape, node: Node, g: Value) -> Gradients:
    """Return da = g e a^(e - 1), de = g y log(a) where a > 0."""
    a, e = node.inputs

    def base() -> Value:
        exponent = tape.op("Cast", tape.forward(e), to=1)
        fixed = tape.array(e)
        if fixed is not None and np.all(fixed == 2):
            slope = tape.scale(tape.forward(a), 2)
            return tape.op("Mul", g, slope)
        less = tape.op("Sub", exponent, tape.scalar(1))
        slope = tape.op("Mul", tape.op("Pow", tape.forward(a), less), exponent)
        return tape.op("Mul", g, slope)

    def exponent() -> Value:
        x = tape.op("Cast", tape.forward(a), to=1)
        positive = tape.op("Greater", x, tape.scalar(0))
        safe = tape.op("Where", positive, x, tape.scalar(1))
        return tape.op("Mul", g, tape.op("Mul", tape.forward(node.output), tape.op("Log", safe)))

    return _shared(tape, node, [base, exponent])


@rule("Max", "Min")
def extreme(tape: Tape, node: Node, g: Value) -> Gradients:
    """The one that is chosen gets g; those that tie share it."""
    y = tape.forward(node.output)
    hits = [
        tape.op("Cast", tape.op("Equal", tape.forward(v), y), to=1)
        for v in node.inputs
        if v is not None
    ]
    share = tape.op("Div", g, tape.op("Sum", *hits))
    return _shared(tape, node, [partial(tape.op, "Mul", share, hit) for hit in hits])


@rule("Where", inputs=(1, 2))
def where(tape: Tape, node: Node, g: Value) -> Gradients:
    """The one that is chosen gets g."""
    condition = tape.forward(node.input(0))

    def no() -> Value:
        return tape.op("Where", condition, tape.scalar(0), g)

    return _shared(tape, node, [lambda: g, lambda: tape.where(condition, g), no])

"""Sums, averages and extremes over axes."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ocompress.analysis.gradients.registry import Gradients, rule
from ocompress.analysis.gradients.tape import Tape
from ocompress.ir import Node, Value

_TINY = 1e-12


def _axes(tape: Tape, node: Node) -> list[int]:
    rank = len(tape.shape(node.input(0)))
    axes = tape.ints(node, "axes", 1)
    if axes:
        return sorted({a % rank for a in axes})
    return [] if int(node.attr("noop_with_empty_axes", 0)) else list(range(rank))


def _kept(tape: Tape, node: Node, value: Value, axes: Sequence[int]) -> Value:
    """Give a value of the output's shape the extents 1 that the node may have dropped."""
    shape = tape.shape(node.input(0))
    kept = [1 if i in axes else extent for i, extent in enumerate(shape)]
    return value if tuple(kept) == tape.shape(node.output) else tape.reshape(value, kept)


@rule("ReduceSum", "ReduceMean", inputs=(0,))
def reduce_sum(tape: Tape, node: Node, g: Value) -> Gradients:
    """Return dx = g everywhere, over the number of elements for the mean."""
    axes, shape = _axes(tape, node), tape.shape(node.input(0))
    if node.op_type == "ReduceMean":
        g = tape.scale(g, 1 / max(1, math.prod(shape[a] for a in axes)))
    return [tape.spread(_kept(tape, node, g, axes), shape)]


@rule("ReduceMax", "ReduceMin", inputs=(0,))
def reduce_extreme(tape: Tape, node: Node, g: Value) -> Gradients:
    """The element that is chosen gets g; those that tie share it."""
    axes = _axes(tape, node)
    y = _kept(tape, node, tape.forward(node.output), axes)
    return [share_of_ties(tape, tape.forward(node.input(0)), y, _kept(tape, node, g, axes), axes)]


def share_of_ties(tape: Tape, x: Value, y: Value, g: Value, axes: Sequence[int]) -> Value:
    """Give g to the elements of x that equal y, in equal shares along the axes."""
    hits = tape.op("Cast", tape.op("Equal", x, y), to=1)
    if not axes:
        return tape.op("Mul", g, hits)
    return tape.op("Mul", tape.op("Div", g, tape.total(hits, axes)), hits)


@rule("ReduceL2", inputs=(0,))
def reduce_l2(tape: Tape, node: Node, g: Value) -> Gradients:
    """Return dx = g x / y; 0 where y is 0."""
    axes = _axes(tape, node)
    y = tape.op("Max", tape.forward(node.output), tape.scalar(_TINY))
    share = _kept(tape, node, tape.op("Div", g, y), axes)
    return [tape.op("Mul", tape.forward(node.input(0)), share)]


@rule("ReduceL1", inputs=(0,))
def reduce_l1(tape: Tape, node: Node, g: Value) -> Gradients:
    """Return dx = g sign(x)."""
    sign = tape.op("Sign", tape.forward(node.input(0)))
    return [tape.op("Mul", sign, _kept(tape, node, g, _axes(tape, node)))]


@rule("ReduceSumSquare", inputs=(0,))
def reduce_sum_square(tape: Tape, node: Node, g: Value) -> Gradients:
    """Return dx = 2 g x."""
    share = _kept(tape, node, tape.scale(g, 2), _axes(tape, node))
    return [tape.op("Mul", tape.forward(node.input(0)), share)]


@rule("ReduceLogSumExp", inputs=(0,))
def reduce_log_sum_exp(tape: Tape, node: Node, g: Value) -> Gradients:
    """Return dx = g exp(x - y)."""
    axes = _axes(tape, node)
    y = _kept(tape, node, tape.forward(node.output), axes)
    powers = tape.op("Exp", tape.op("Sub", tape.forward(node.input(0)), y))
    return [tape.op("Mul", powers, _kept(tape, node, g, axes))]

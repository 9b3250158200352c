"""Operators that only move elements, each to one place."""

from __future__ import annotations

import numpy as np

from ocompress.analysis.gradients.registry import Gradients, rule
from ocompress.analysis.gradients.tape import StoppedError, Tape
from ocompress.ir import Node, Value


@rule("Reshape", "Flatten", "Squeeze", "Unsqueeze", inputs=(0,))
def reshape(tape: Tape, node: Node, g: Value) -> Gradients:
    """Return dx = g in the shape of x."""
    return [tape.reshape(g, tape.shape(node.input(0)))]


@rule("Transpose")
def transpose(tape: Tape, node: Node, g: Value) -> Gradients:
    """Return dx = g with the axes put back."""
    rank = len(tape.shape(node.input(0)))
    order = node.attr("perm", list(range(rank))[::-1])
    return [tape.transpose(g, [int(i) for i in np.argsort(order)])]


@rule("Expand", inputs=(0,))
def expand(tape: Tape, node: Node, g: Value) -> Gradients:
    """Return dx = g, summed over what was broadcast."""
    return [tape.sum_to(g, tape.shape(node.output), tape.shape(node.input(0)))]


@rule("Tile", inputs=(0,))
def tile(tape: Tape, node: Node, g: Value) -> Gradients:
    """Return dx = g, summed over the copies."""
    shape, made = tape.shape(node.input(0)), tape.shape(node.output)
    split: list[int] = []
    for extent, whole in zip(shape, made, strict=True):
        split += [whole // max(extent, 1), extent]
    summed = tape.total(tape.reshape(g, split), range(0, len(split), 2))
    return [tape.reshape(summed, shape)]


@rule("DepthToSpace")
def depth_to_space(tape: Tape, node: Node, g: Value) -> Gradients:
    """Return dx = the blocks of g put back into channels."""
    size = int(node.attr("blocksize"))
    if node.attr("mode", "DCR") == "DCR":
        return [tape.op("SpaceToDepth", g, blocksize=size)]
    shape = tape.shape(node.input(0))
    n, c, h, w = shape
    blocks = tape.reshape(g, (n, c // size**2, h, size, w, size))
    return [tape.reshape(tape.transpose(blocks, (0, 1, 3, 5, 2, 4)), shape)]


@rule("SpaceToDepth")
def space_to_depth(tape: Tape, node: Node, g: Value) -> Gradients:
    """Return dx = the channels of g put back into blocks."""
    return [tape.op("DepthToSpace", g, blocksize=int(node.attr("blocksize")), mode="DCR")]


@rule("Trilu", inputs=(0,))
def trilu(tape: Tape, node: Node, g: Value) -> Gradients:
    """Return dx = g, 0 where x was dropped."""
    offset = tape.const(tape.fixed(node, 1)) if node.input(1) is not None else None
    return [tape.op("Trilu", g, offset, upper=int(node.attr("upper", 1)))]


@rule("CumSum", inputs=(0,))
def cumsum(tape: Tape, node: Node, g: Value) -> Gradients:
    """Return dx = the sums of g the other way round."""
    if node.input(1) is None:
        msg = "it has no axis"
        raise StoppedError(msg)
    axis = tape.const(tape.fixed(node, 1))
    back, without = 1 - int(node.attr("reverse", 0)), int(node.attr("exclusive", 0))
    return [tape.op("CumSum", g, axis, reverse=back, exclusive=without)]

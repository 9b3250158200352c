"""Poolings."""

from __future__ import annotations

import math

import numpy as np

from ocompress.analysis.gradients.registry import Gradients, rule
from ocompress.analysis.gradients.rules.convolution import ConvWindow, conv_back, window_of
from ocompress.analysis.gradients.rules.reduction import share_of_ties
from ocompress.analysis.gradients.tape import StoppedError, Tape
from ocompress.ir import Node, Value


@rule("GlobalAveragePool")
def global_average_pool(tape: Tape, node: Node, g: Value) -> Gradients:
    """Return dx = g over the number of positions."""
    shape = tape.shape(node.input(0))
    return [tape.spread(tape.scale(g, 1 / max(1, math.prod(shape[2:]))), shape)]


@rule("GlobalMaxPool")
def global_max_pool(tape: Tape, node: Node, g: Value) -> Gradients:
    """The largest gets g; those that tie share it."""
    axes = range(2, len(tape.shape(node.input(0))))
    x, y = tape.forward(node.input(0)), tape.forward(node.output)
    return [share_of_ties(tape, x, y, g, axes)]


@rule("AveragePool")
def average_pool(tape: Tape, node: Node, g: Value) -> Gradients:
    """Return dx = g over the size of its window, spread over the window."""
    shape, made = tape.shape(node.input(0)), tape.shape(node.output)
    window = window_of(node, shape[2:], made[2:], tuple(node.attr("kernel_shape")))
    counts = _counts(window, node, padded=bool(node.attr("count_include_pad", 0)))
    shared = tape.op("Div", g, tape.const(counts.astype(np.float32)))
    alone = tape.reshape(shared, (made[0] * made[1], 1, *made[2:]))
    ones = np.ones((1, 1, *window.kernel), np.float32)
    return [tape.reshape(conv_back(tape, alone, ones, 1, window), shape)]


def _counts(window: ConvWindow, node: Node, *, padded: bool) -> np.ndarray:
    """Count the elements of the window at every position, shape `window.narrow`.

    Padding counts where it is asked for, but not what rounding up the output's extents adds.
    """
    axes = len(window.kernel)
    pads = node.attr("pads", (0,) * (2 * axes))
    ends = pads[axes:] if node.attr("auto_pad", "NOTSET") == "NOTSET" else window.ends
    total = np.ones((1,) * axes)
    for axis in range(axes):
        starts = np.arange(window.narrow[axis]) * window.strides[axis] - window.begins[axis]
        seen = starts[:, None] + np.arange(window.kernel[axis]) * window.dilations[axis]
        low = -window.begins[axis] if padded else 0
        high = window.wide[axis] + (ends[axis] if padded else 0)
        count = ((seen >= low) & (seen < high)).sum(axis=1)
        total = total * count.reshape([-1 if i == axis else 1 for i in range(axes)])
    return np.maximum(total, 1)


@rule("MaxPool")
def max_pool(tape: Tape, node: Node, g: Value) -> Gradients:
    """Each window's largest element, the first of those that tie, gets the window's g."""
    if int(node.attr("storage_order", 0)):
        msg = "its indices count columns first"
        raise StoppedError(msg)
    shape = tape.shape(node.input(0))
    attributes = dict(node.attributes)
    _, places = tape.ops("MaxPool", 2, tape.forward(node.input(0)), **attributes)
    flat = tape.reshape(places, [-1])
    empty = tape.zeros([math.prod(shape)])
    added = tape.op("ScatterElements", empty, flat, tape.reshape(g, [-1]), axis=0, reduction="add")
    return [tape.reshape(added, shape)]

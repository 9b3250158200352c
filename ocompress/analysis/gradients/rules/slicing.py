"""Parts of values: Slice, Split, Concat and Pad."""

from __future__ import annotations

import numpy as np

from ocompress.analysis.gradients.registry import Gradients, rule, rule_of_outputs
from ocompress.analysis.gradients.rules.spreading import fit, spread_apart, sum_at
from ocompress.analysis.gradients.tape import StoppedError, Tape
from ocompress.analysis.padding import by_axis
from ocompress.ir import Node, Value

_FLAT_PADDING = "constant"
_NUMPY_MODES = {"edge": "edge", "reflect": "reflect", "wrap": "wrap"}


@rule("Concat")
def concat(tape: Tape, node: Node, g: Value) -> Gradients:
    """Each gets its part of g."""
    axis = int(node.attr("axis", 1))
    found: list[Value | None] = []
    start = 0
    for value in node.inputs:
        extent = tape.shape(value)[axis]
        if tape.wants(value):
            ends = tape.integers([start + extent])
            found.append(tape.op("Slice", g, tape.integers([start]), ends, tape.integers([axis])))
        else:
            found.append(None)
        start += extent
    return found


@rule_of_outputs("Split", inputs=(0,))
def split(tape: Tape, node: Node, gradients: Gradients) -> Gradients:
    """Return dx = the gradients of the parts side by side, 0 for parts that nobody reads."""
    axis = int(node.attr("axis", 0))
    shape = tape.shape(node.input(0))
    extents = tape.ints(node, "split", 1)
    if extents is None:
        step = -(-shape[axis] // len(node.outputs))
        starts = range(0, shape[axis], step)
        extents = [min(step, shape[axis] - start) for start in starts]
    parts = []
    for extent, gradient in zip(extents, gradients, strict=False):
        missing = list(shape)
        missing[axis] = extent
        parts.append(tape.zeros(missing) if gradient is None else gradient)
    return [tape.op("Concat", *parts, axis=axis)]


@rule("Slice", inputs=(0,))
def slice_(tape: Tape, node: Node, g: Value) -> Gradients:
    """Return dx = g where it came from, 0 elsewhere."""
    shape = tape.shape(node.input(0))
    starts, ends = tape.ints(node, "starts", 1), tape.ints(node, "ends", 2)
    if starts is None or ends is None:
        msg = "its range is not given"
        raise StoppedError(msg)
    axes = tape.ints(node, "axes", 3) or list(range(len(starts)))
    steps = tape.ints(node, "steps", 4) or [1] * len(starts)
    present = list(tape.shape(node.output))
    before, after = [0] * len(shape), [0] * len(shape)
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        extent = shape[axis]
        taken = range(extent)[slice(start, None if step < 0 and end < -extent else end, step)]
        if len(taken) == 0:
            return [tape.zeros(shape)]
        if step < 0:
            g, taken = _mirrored(tape, g, axis), taken[::-1]
        g = spread_apart(tape, g, present, axis, taken.step)
        present[axis] = taken[-1] - taken[0] + 1
        before[axis], after[axis] = taken[0], extent - 1 - taken[-1]
    return [fit(tape, g, before, after)]


def _mirrored(tape: Tape, g: Value, axis: int) -> Value:
    far = np.iinfo(np.int64)
    starts, ends = tape.integers([far.max]), tape.integers([far.min])
    return tape.op("Slice", g, starts, ends, tape.integers([axis]), tape.integers([-1]))


@rule("Pad", inputs=(0,))
def pad(tape: Tape, node: Node, g: Value) -> Gradients:
    """Return dx = g without the padding; padding that repeats elements adds to theirs."""
    shape = tape.shape(node.input(0))
    pads = tape.ints(node, "pads", 1) or tape.ints(node, "paddings", 1)
    if pads is None:
        msg = "its padding is not given"
        raise StoppedError(msg)
    amounts = by_axis(pads, tape.ints(node, "axes", 3), len(shape))
    before, after = (
        [amounts.get(axis, (0, 0))[end] for axis in range(len(shape))] for end in (0, 1)
    )
    mode = node.attr("mode", _FLAT_PADDING)
    if mode == _FLAT_PADDING:
        return [fit(tape, g, [-p for p in before], [-p for p in after])]
    if mode not in _NUMPY_MODES or min(pads) < 0:
        msg = f"the mode {mode!r} has no rule"
        raise StoppedError(msg)
    present = list(tape.shape(node.output))
    for axis, extent in enumerate(shape):
        if before[axis] or after[axis]:
            sources = np.pad(np.arange(extent), (before[axis], after[axis]), mode=mode)
            g = sum_at(tape, g, present, axis, sources, extent)
            present[axis] = extent
    return [g]

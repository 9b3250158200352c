"""Elements chosen by index."""

from __future__ import annotations

import math

import numpy as np

from ocompress.analysis.gradients.registry import Gradients, rule
from ocompress.analysis.gradients.rules.spreading import fit
from ocompress.analysis.gradients.tape import StoppedError, Tape
from ocompress.ir import Node, Value


@rule("Gather", inputs=(0,))
def gather(tape: Tape, node: Node, g: Value) -> Gradients:
    """Return dx = g added to the rows that were read."""
    shape = tape.shape(node.input(0))
    axis = int(node.attr("axis", 0)) % len(shape)
    lead, extent, rest = math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])
    count = math.prod(tape.shape(node.input(1)))
    rows = tape.reshape(g, (lead, count, rest))
    fixed = tape.array(node.input(1))
    if fixed is not None and _is_range(fixed.reshape(-1) % extent):
        first = int(fixed.reshape(-1)[0] % extent)
        found = fit(tape, rows, (0, first, 0), (0, extent - first - count, 0))
    else:
        index = tape.reshape(tape.forward(node.input(1)), (1, count, 1))
        places = tape.spread(index, (lead, count, rest))
        empty = tape.zeros((lead, extent, rest))
        found = tape.op("ScatterElements", empty, places, rows, axis=1, reduction="add")
    return [tape.reshape(found, shape)]


def _is_range(rows: np.ndarray) -> bool:
    return rows.size > 0 and bool(np.all(np.diff(rows) == 1))


@rule("GatherElements", inputs=(0,))
def gather_elements(tape: Tape, node: Node, g: Value) -> Gradients:
    """Return dx = g added to the elements that were read."""
    axis, places = int(node.attr("axis", 0)), tape.forward(node.input(1))
    empty = tape.zeros(tape.shape(node.input(0)))
    return [tape.op("ScatterElements", empty, places, g, axis=axis, reduction="add")]


@rule("GatherND", inputs=(0,))
def gather_nd(tape: Tape, node: Node, g: Value) -> Gradients:
    """Return dx = g added to the slices that were read."""
    if int(node.attr("batch_dims", 0)):
        msg = "batch_dims has no rule"
        raise StoppedError(msg)
    empty = tape.zeros(tape.shape(node.input(0)))
    places = tape.op("Cast", tape.forward(node.input(1)), to=7)
    return [tape.op("ScatterND", empty, places, g, reduction="add")]


@rule("ScatterElements", inputs=(0, 2))
def scatter_elements(tape: Tape, node: Node, g: Value) -> Gradients:
    """Return dx = g, without what was overwritten, and for what was written g at its places."""
    axis, places = int(node.attr("axis", 0)), tape.forward(node.input(1))
    given = tape.op("GatherElements", g, places, axis=axis)
    if _adds(node):
        return [g, None, given]
    empty = tape.zeros(tape.shape(node.input(1)))
    return [tape.op("ScatterElements", g, places, empty, axis=axis), None, given]


@rule("ScatterND", inputs=(0, 2))
def scatter_nd(tape: Tape, node: Node, g: Value) -> Gradients:
    """Return dx = g, without what was overwritten, and for what was written g at its places."""
    places = tape.op("Cast", tape.forward(node.input(1)), to=7)
    given = tape.op("GatherND", g, places)
    if _adds(node):
        return [g, None, given]
    empty = tape.zeros(tape.shape(node.input(2)))
    return [tape.op("ScatterND", g, places, empty), None, given]


def _adds(node: Node) -> bool:
    """Whether what is written is added; otherwise places are taken to differ from each other."""
    how = node.attr("reduction", "none")
    if how not in ("none", "add"):
        msg = f"the reduction {how!r} has no rule"
        raise StoppedError(msg)
    return bool(how == "add")

"""Where an output is put together of pieces, and where these lie behind changes of layout."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

import numpy as np

from ocompress.analysis.gradients.origins import LAYOUT, PASSING, behind
from ocompress.ir import Node, Value

_BYTE = 256


Layout = Callable[[np.ndarray], np.ndarray]
"""Lays an array of the shape that a Concat makes out as the output that it ends in."""


def joint_behind(value: Value, output: np.ndarray) -> tuple[Node, np.ndarray, Layout] | None:
    """Return the Concat that makes an output but for changes of layout after it.

    A detector puts boxes and scores side by side for every scale, makes one row of all cells of
    that, puts the scales side by side and transposes the whole.

    Args:
        value: The formal output, its makers with their shapes where these are known.
        output: What the model made, any shape.

    Returns:
        The Concat, what it made, and how that is laid out; None if there is none, or the shape
        before a change of layout is not known.
    """
    changes: list[tuple[Node, Value]] = []
    node = behind(value, PASSING)
    while node is not None and node.op_type in LAYOUT and not node.domain:
        source = node.input(0)
        if source is None:
            return None
        changes.append((node, source))
        node = behind(source, PASSING)
    if node is None or not node.is_op("Concat"):
        return None
    made, back = output, list[Layout]()
    for change, source in changes:
        step = _before(change, source, made)
        if step is None:
            return None
        made, again = step
        back.append(again)
    return node, made, lambda array: functools.reduce(lambda a, lay: lay(a), back[::-1], array)


def along_one_axis(
    axis: int, channels: Sequence[np.ndarray], made: tuple[int, ...], layout: Layout
) -> tuple[int, list[np.ndarray]] | None:
    """Return where groups of channels of a Concat lie in an output.

    Args:
        axis: Axis of what the Concat makes, not negative.
        channels: Indices along it of each group; together they are all there are.
        made: Shape of what it makes.
        layout: As `joint_behind` returns it.

    Returns:
        The axis of the output along which they lie, not negative, and their indices along it; None
        if they do not lie along a single one.
    """
    # outputs may be large: a byte for an element, where not a view of less
    group = np.empty(made[axis], np.uint8 if len(channels) <= _BYTE else np.int32)
    for number, there in enumerate(channels):
        group[there] = number
    wide = group.reshape([-1 if a == axis else 1 for a in range(len(made))])
    laid = layout(np.broadcast_to(wide, made))
    for along in range(laid.ndim):
        line = laid[tuple(slice(None) if a == along else 0 for a in range(laid.ndim))]
        wide = line.reshape([-1 if a == along else 1 for a in range(laid.ndim)])
        if np.array_equal(laid, np.broadcast_to(wide, laid.shape)):
            return along, [np.flatnonzero(line == number) for number in range(len(channels))]
    return None


def _before(node: Node, source: Value, after: np.ndarray) -> tuple[np.ndarray, Layout] | None:
    """Return an array as it was before a change of layout, and the change.

    Only the batch may be unknown.
    """
    if node.is_op("Transpose"):
        order = [int(axis) for axis in node.attr("perm", range(after.ndim)[::-1])]
        if len(order) != after.ndim:
            return None
        return after.transpose(np.argsort(order)), lambda array: array.transpose(order)
    inner = [e for e in source.shape[1:] if isinstance(e, int)] if source.shape else []
    if not source.shape or len(inner) + 1 < len(source.shape) or 0 in inner:
        return None
    if after.size % math.prod(inner):
        return None
    return after.reshape(-1, *inner), lambda array: array.reshape(after.shape)

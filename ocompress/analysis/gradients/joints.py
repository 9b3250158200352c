"""Where an output is put together of pieces, and where these lie behind changes of layout."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ocompress.analysis.gradients.origins import LAYOUT, PASSING, behind
from ocompress.ir import Node, Value


def joint_behind(value: Value, output: np.ndarray) -> tuple[Node, np.ndarray] | None:
    """Return the Concat that makes an output but for changes of layout after it.

    A detector puts boxes and scores side by side for every scale, makes one row of all cells of
    that, puts the scales side by side and transposes the whole.

    Args:
        value: The formal output, its makers with their shapes where these are known.
        output: What the model made, any shape.

    Returns:
        The Concat and, in the shape of what it makes, the places of its elements in the output's
        flat order; None if there is none, or the shape before a change of layout is not known.
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
        return None  # as of most outputs, whose places may be many
    found: np.ndarray | None = np.arange(output.size).reshape(output.shape)
    for change, source in changes:
        found = None if found is None else _before(change, source, found)
    return None if found is None else (node, found)


def along_one_axis(
    axis: int, channels: Sequence[np.ndarray], places: np.ndarray, shape: tuple[int, ...]
) -> tuple[int, list[np.ndarray]] | None:
    """Return where groups of channels of a Concat lie in an output.

    Args:
        axis: Axis of what the Concat makes, not negative.
        channels: Indices along it of each group; together they are all there are.
        places: As `joint_behind` returns them.
        shape: Shape of the output.

    Returns:
        The axis of the output along which they lie, not negative, and their indices along it; None
        if they do not lie along a single one.
    """
    group = np.empty(places.shape[axis], np.int64)
    for number, there in enumerate(channels):
        group[there] = number
    laid = np.empty(places.size, np.int64)
    wide = group.reshape([-1 if a == axis else 1 for a in range(places.ndim)])
    laid[places.ravel()] = np.broadcast_to(wide, places.shape).ravel()
    laid = laid.reshape(shape)
    for along in range(len(shape)):
        line = laid[tuple(slice(None) if a == along else 0 for a in range(len(shape)))]
        wide = line.reshape([-1 if a == along else 1 for a in range(len(shape))])
        if np.array_equal(laid, np.broadcast_to(wide, shape)):
            return along, [np.flatnonzero(line == number) for number in range(len(channels))]
    return None


def _before(node: Node, source: Value, after: np.ndarray) -> np.ndarray | None:
    """Return an array as it was before a change of layout; only the batch may be unknown."""
    if node.is_op("Transpose"):
        order = [int(axis) for axis in node.attr("perm", range(after.ndim)[::-1])]
        return after.transpose(np.argsort(order)) if len(order) == after.ndim else None
    inner = [e for e in source.shape[1:] if isinstance(e, int)] if source.shape else []
    if not source.shape or len(inner) + 1 < len(source.shape) or 0 in inner:
        return None
    if after.size % math.prod(inner):
        return None
    return after.reshape(-1, *inner)

"""Rules of the operators that give an axis another extent, or read extents."""

from __future__ import annotations

import numpy as np

from ocompress.analysis.channels.elementwise_rules import broadcast
from ocompress.analysis.channels.parameters import Wanted, numbers, shape_elements
from ocompress.analysis.channels.relation import OUT, Relation, UnfollowedError
from ocompress.ir import Node


def expand(rel: Relation) -> None:
    """Relate what Expand or ConstantOfShape broadcasts; extents in the wanted shape follow."""
    index = 0
    if rel.node.op_type == "Expand":
        broadcast(rel, (0,))
        index = 1
    wanted, rank = shape_elements(rel.node, index), rel.rank(OUT)
    for axis in range(rank):
        at = axis - rank + len(wanted or ())
        rel.known.add(rel.spot(OUT, axis))
        if wanted is None or at >= 0:
            target(rel, axis, wanted[at] if wanted is not None else None, index)


def target(rel: Relation, axis: int, element: Wanted, index: int) -> None:
    """Say how an output axis gets its extent from a wanted shape.

    Args:
        rel: What to fill in.
        axis: Axis of the output.
        element: The number in the wanted shape.
        index: Input that holds the shape.
    """
    if element is None:
        why = f"the extent that {rel.node.label!r} gives the channels is computed"
        rel.stop(OUT, axis, "computed-shape", why)
    elif element.number > 0:
        rel.repair(OUT, axis, index)


def tile(rel: Relation) -> None:
    """Relate every element to its copies."""
    repeats = numbers(rel.node, 1, "repeats")
    if repeats is None:
        raise UnfollowedError(
            code="computed-shape", why=f"the repeats of {rel.node.label!r} are computed"
        )
    for axis, times in enumerate(repeats):
        extent = rel.shape(0)[axis]
        if times == 1:
            rel.link(0, axis, OUT, axis)
        elif extent == 1:
            rel.known.add(rel.spot(OUT, axis))
            rel.repair(OUT, axis, 1)
        elif isinstance(extent, int):
            copies = np.arange(extent * times)
            rel.link(0, axis, OUT, axis, (copies % extent, copies))


def resize(rel: Relation) -> None:
    """Relate the axes that keep their extents for certain."""
    rel.otherwise("spatial-axis", f"{rel.node.label!r} scales along the axis")
    node, rank = rel.node, rel.rank(0)
    if node.attr("coordinate_transformation_mode", "") == "tf_crop_and_resize":
        return  # it may cut a piece out of any axis
    axes = [int(a) % rank for a in node.attr("axes", None) or range(rank)]
    current = node.op_type == "Resize" and rel.opset > 10
    scales = node.input(2 if current else 1)
    factors = None if scales is None else scales.constant
    if factors is None and node.attr("scales", None):
        factors = np.asarray(node.attr("scales"))
    sizes = shape_elements(node, 3) if current else None
    sizes_count = node.attr("keep_aspect_ratio_policy", "stretch") == "stretch"
    for axis in range(rank):
        if axis not in axes:
            rel.link(0, axis, OUT, axis)
            continue
        at = axes.index(axis)
        element = sizes[at] if sizes is not None and sizes_count else None
        if factors is not None and factors.size and factors[at] == 1:
            rel.link(0, axis, OUT, axis)
        elif element is not None and element.number == rel.shape(0)[axis]:
            rel.link(0, axis, OUT, axis)
            rel.repair(OUT, axis, 3)


def depth_to_space(rel: Relation) -> None:
    """Relate a channel to the ones, on the deep side, that its picture is put together from."""
    rel.otherwise("spatial-axis", f"{rel.node.label!r} moves elements along the axis")
    to_space = rel.node.op_type == "DepthToSpace"
    deep, flat = (0, OUT) if to_space else (OUT, 0)
    rel.link(0, 0, OUT, 0)
    each, channels = int(rel.node.attr("blocksize", 1)) ** 2, rel.shape(flat)[1]
    if not isinstance(channels, int):
        return
    deeper = np.arange(channels * each)
    by_column = to_space and rel.node.attr("mode", "DCR") == "CRD"
    rel.link(deep, 1, flat, 1, (deeper, deeper // each if by_column else deeper % channels))


def shape(rel: Relation) -> None:
    """Relate nothing, but refuse axes whose extent somebody reads."""
    rel.otherwise("shape-read", f"something computes with the extent that {rel.node.label!r} reads")
    rank = rel.rank(0)
    seen = range(rank)[slice(int(rel.node.attr("start", 0)), rel.node.attr("end", None))]
    read = {seen[at] for at in _read_positions(rel.node, len(seen))}
    for axis in range(rank):
        if axis not in read:
            rel.known.add(rel.spot(0, axis))


def _read_positions(node: Node, count: int) -> set[int]:
    everything = set(range(count))
    read: set[int] = everything if node.output.is_output else set()
    for reader, index in node.output.users:
        if reader.is_op("Cast", "Identity"):
            read = read | _read_positions(reader, count)
            continue
        picked = _picked(reader, count) if index == 0 else None
        read = read | (everything if picked is None else picked)
    return read


def _picked(reader: Node, count: int) -> set[int] | None:
    if reader.is_op("Gather"):
        found = numbers(reader, 1, "indices")
        return None if found is None else {i % count for i in found}
    if not reader.is_op("Slice"):
        return None
    bounds = [numbers(reader, i, name) for i, name in ((1, "starts"), (2, "ends"), (4, "steps"))]
    if reader.input(4) is None:
        bounds[2] = [1]
    if any(b is None or len(b) != 1 for b in bounds):
        return None
    start, end, step = (b[0] for b in bounds if b is not None)
    return set(range(count)[start:end:step])


def sampling(rel: Relation) -> None:
    """Relate the channels of pictures that are sampled elsewhere than on the grid."""
    rel.otherwise("spatial-axis", f"{rel.node.label!r} mixes neighbours along the axis")
    rel.link(0, 1, OUT, 1)

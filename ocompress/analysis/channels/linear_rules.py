"""Rules of the operators that mix channels: convolutions, matrix products, lookups."""

from __future__ import annotations

import numpy as np

from ocompress.analysis.channels.elementwise_rules import broadcast
from ocompress.analysis.channels.relation import OUT, Blocks, Relation, Stop, UnfollowedError, Use
from ocompress.ir import Node


def convolution(rel: Relation) -> None:
    """Relate Conv and ConvTranspose.

    With one input channel per group (depthwise) whole groups go: an input channel with the outputs
    made from it. With several, every group loses equally many inputs, and equally many outputs, so
    that the number of groups stays; the weight's axis 1 then counts over all groups.
    """
    rel.otherwise("spatial-axis", f"{rel.node.label!r} mixes neighbours along the axis")
    shape = rel.shape(1)
    groups = int(rel.node.attr("group", 1))
    out_axis = 1 if rel.node.op_type == "ConvTranspose" else 0
    if not all(isinstance(extent, int) for extent in shape[:2]):
        raise UnfollowedError(
            code="unknown-shape", why=f"the weight of {rel.node.label!r} has no known shape"
        )
    inner = rel.spot(1, 1)
    if groups > 1 and not isinstance(inner[0], Use):
        why = f"the weight of {rel.node.label!r}, which has groups, is computed"
        raise UnfollowedError(code="dynamic-weight", why=why)
    rel.link(0, 0, OUT, 0)
    rel.link(2, 0, OUT, 1)
    rel.extents[inner] = int(shape[1] or 0) * groups
    if groups == 1 or rel.extent(1, 1 - out_axis) != groups:
        rel.link(0, 1, 1, 1 - out_axis)
        rel.link(1, out_axis, OUT, 1)
        if groups > 1:
            rel.constraints += [Blocks(rel.spot(0, 1), groups), Blocks(rel.spot(OUT, 1), groups)]
        return
    outputs = rel.extent(1, out_axis)
    assert isinstance(outputs, int)
    source = np.arange(outputs) // (outputs // groups)
    rel.link(0, 1, OUT, 1, (source, np.arange(outputs)))
    if out_axis == 0:
        rel.link(1, 0, OUT, 1)
    else:
        rel.link(0, 1, 1, 0)
    del rel.extents[inner]  # one group's share of it goes with the group
    rel.repair(0, 1, attribute="group")


def gemm(rel: Relation) -> None:
    """Relate a general matrix product, whichever operand is constant."""
    a_sum = 0 if rel.node.attr("transA", 0) else 1
    b_sum = 1 if rel.node.attr("transB", 0) else 0
    rel.link(0, a_sum, 1, b_sum)
    rel.link(0, 1 - a_sum, OUT, 0)
    rel.link(1, 1 - b_sum, OUT, 1)
    rel.end(0, a_sum)
    rel.end(1, b_sum)
    if rel.has(2):
        broadcast(rel, (2,))


def matmul(rel: Relation) -> None:
    """Relate a stacked matrix product: the summed axis, the free axes, and the stacks."""
    a, b = rel.rank(0), rel.rank(1)
    if a == 0 or b == 0:
        raise UnfollowedError(code="unknown-shape", why=f"{rel.node.label!r} has a scalar operand")
    b_sum = 0 if b == 1 else -2
    rel.link(0, -1, 1, b_sum)
    rel.end(0, -1)
    rel.end(1, b_sum)
    rank = rel.rank(OUT)
    if a > 1:
        rel.link(0, -2, OUT, -2 if b > 1 else -1)
    if b > 1:
        rel.link(1, -1, OUT, -1)
    stacks = rank - (a > 1) - (b > 1)
    for slot, own in ((0, a), (1, b)):
        for axis in range(own - 2):
            if rel.extent(slot, axis) != 1:
                rel.link(slot, axis, OUT, axis + stacks - (own - 2))


def gather(rel: Relation) -> None:
    """Relate a lookup; indices along a followed axis must be constant."""
    rel.otherwise("gathered-axis", f"{rel.node.label!r} picks elements with computed indices")
    rank, picked = rel.rank(0), rel.rank(1)
    axis = int(rel.node.attr("axis", 0)) % max(rank, 1)
    for at in range(rank):
        if at != axis:
            rel.link(0, at, OUT, at if at < axis else at + picked - 1)
    indices = rel.node.input(1)
    array = None if indices is None else indices.constant
    extent = rel.extent(0, axis)
    if array is None or not isinstance(extent, int):
        for at in range(picked):
            rel.known.add(rel.spot(OUT, axis + at))
            rel.link(1, at, OUT, axis + at)
        return
    array = np.where(array < 0, array + extent, array)
    rel.repair(0, axis, index=1)
    if picked == 1:
        rel.link(0, axis, OUT, axis, (array, np.arange(array.size)))
        return
    why = f"{rel.node.label!r} picks the channel by its number"
    rel.stops[rel.spot(0, axis)] = Stop("picked-channel", why, rel.node, array.reshape(-1))
    rel.known.add(rel.spot(0, axis))


def role_of(node: Node, index: int, axis: int) -> str:
    """Say what an axis of a constant is to a linear layer.

    Returns:
        `producer` for the output channels of its weight, `consumer` for the input channels,
        `constant` for everything else. A Cast on the way to the layer changes nothing.
    """
    if node.is_op("Cast", "Identity"):
        readers = node.output.users
        return role_of(*readers[0], axis) if len(readers) == 1 else "constant"
    if node.is_op("Conv", "ConvTranspose") and index == 1 and axis < 2:
        return _convolution_role(node, axis)
    if node.is_op("Gather") and index == 0:
        table = node.inputs[0]
        rank = len(table.shape) if table is not None and table.shape else 1
        return "constant" if axis == int(node.attr("axis", 0)) % rank else "producer"
    if node.is_op("Gemm") and index < 2:
        flipped = bool(node.attr("transB" if index else "transA", 0))
        summed = (axis == 1) == flipped if index else (axis == 0) == flipped
        return "consumer" if summed else "producer"
    if node.is_op("MatMul"):
        return _matmul_role(node, index, axis)
    return "constant"


def _convolution_role(node: Node, axis: int) -> str:
    weight, groups = node.inputs[1], int(node.attr("group", 1))
    transposed = node.op_type == "ConvTranspose"
    if groups > 1 and weight is not None and weight.constant is not None:
        shape = weight.constant.shape
        if (shape[0] if transposed else shape[1] * groups) == groups:
            return "constant"
    return "producer" if axis == int(transposed) else "consumer"


def _matmul_role(node: Node, index: int, axis: int) -> str:
    weight = node.inputs[index]
    assert weight is not None
    rank = len(weight.shape or ())
    summed = rank - 1 if index == 0 else max(rank - 2, 0)
    if axis == summed:
        return "consumer"
    return "producer" if axis >= rank - 2 else "constant"

"""Padding arithmetic of convolutions and poolings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ocompress.ir import DType, Node, Value

_NOT_NEGATIVE = ("Relu", "Sigmoid", "HardSigmoid", "Softmax", "Abs", "Exp", "Softplus", "Sqrt")


Amounts = dict[int, tuple[int, int]]
"""What is added before and after, by axis counted from the front; axes without padding may lack."""


def pad_amounts(node: Node) -> Amounts | None:
    """Return what a Pad adds, in the order in which it is told; None if that is computed.

    With an `axes` input the rank of the data must be known.
    """
    given, axes = node.input(1), node.input(3)
    amounts = node.attr("pads") if given is None else _integers(given)
    named = None if axes is None else _integers(axes)
    if amounts is None or (axes is not None and named is None):
        return None
    if named is None:
        return by_axis(amounts, None, len(amounts) // 2)
    rank = None if node.inputs[0] is None else node.inputs[0].rank
    return None if rank is None else by_axis(amounts, named, rank)


def by_axis(amounts: Sequence[int], axes: Sequence[int] | None, rank: int) -> Amounts:
    """Sort what a Pad is told by axis.

    Args:
        amounts: All beginnings, then all ends.
        axes: The axes that they are of, which may count from the back; None for all in order.
        rank: Axes of the data.
    """
    named = range(rank) if axes is None else [a % rank for a in axes]
    half = len(amounts) // 2
    return {axis: (int(amounts[i]), int(amounts[half + i])) for i, axis in enumerate(named)}


def _integers(value: Value) -> list[int] | None:
    return None if value.constant is None else [int(n) for n in value.constant.reshape(-1)]


def explicit_pads(node: Node, spatial: int) -> list[int] | None:
    """Return the pads of a Conv or pooling: beginnings, then ends.

    Args:
        node: The node.
        spatial: Number of spatial axes.

    Returns:
        None where `auto_pad` depends on extents that are not known.
    """
    auto = node.attr("auto_pad", "NOTSET")
    if auto == "NOTSET":
        return [int(p) for p in node.attr("pads") or [0] * (2 * spatial)]
    if auto == "VALID":
        return [0] * (2 * spatial)
    source, weight = node.inputs[0], node.input(1) if node.is_op("Conv") else None
    shape = None if source is None else source.shape
    kernel = node.attr("kernel_shape")
    if kernel is None and weight is not None and weight.shape is not None:
        kernel = weight.shape[2:]
    extents = (shape or ())[2:]
    if len(extents) != spatial or not all(isinstance(e, int) for e in (*extents, *(kernel or ()))):
        return None
    strides = node.attr("strides") or [1] * spatial
    dilations = node.attr("dilations") or [1] * spatial
    sizes = [e for e in extents if isinstance(e, int)]
    return same_pads(sizes, list(kernel or ()), strides, dilations, upper=auto == "SAME_UPPER")


def same_pads(
    extents: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    *,
    upper: bool,
) -> list[int]:
    """Return the pads for which the output has `ceil(extent / stride)` elements per axis."""
    begins, ends = [], []
    for extent, taps, stride, dilation in zip(extents, kernel, strides, dilations, strict=True):
        wanted = -(-extent // stride)
        total = max((wanted - 1) * stride + (taps - 1) * dilation + 1 - extent, 0)
        small, large = total // 2, total - total // 2
        begins.append(small if upper else large)
        ends.append(large if upper else small)
    return [*begins, *ends]


def lowest(value: Value) -> float:
    """Return a number that no element of a value is below, as far as its producer tells."""
    node = value.producer
    if node is not None and node.is_op(*_NOT_NEGATIVE):
        return 0.0
    if node is not None and node.is_op("Clip"):
        bound = node.attr("min")
        given = node.input(1)
        if given is not None and given.constant is not None and given.constant.size == 1:
            bound = float(given.constant.reshape(()))
        if bound is not None:
            return float(bound)
    if value.dtype in (DType.FLOAT, DType.DOUBLE, DType.FLOAT16):
        return float(np.finfo(value.dtype.numpy).min)  # type: ignore[type-var]
    return -np.inf

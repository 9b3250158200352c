"""Padding arithmetic of convolutions and poolings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ocompress.ir import DType, Node, Value

_NOT_NEGATIVE = ("Relu", "Sigmoid", "HardSigmoid", "Softmax", "Abs", "Exp", "Softplus", "Sqrt")


def pad_amounts(node: Node) -> list[int] | None:
    """Return what a Pad adds: all beginnings, then all ends; None if it is computed.

    With an `axes` input the rank of the data must be known.
    """
    stored = node.attr("pads")
    if stored is not None:
        return [int(p) for p in stored]
    pads, axes = node.input(1), node.input(3)
    if pads is None or pads.constant is None:
        return None
    amounts = [int(p) for p in pads.constant.reshape(-1)]
    if axes is None:
        return amounts
    rank = None if node.inputs[0] is None else node.inputs[0].rank
    if axes.constant is None or rank is None:
        return None
    result = [0] * (2 * rank)
    for position, axis in enumerate(int(a) % rank for a in axes.constant.reshape(-1)):
        result[axis] = amounts[position]
        result[axis + rank] = amounts[position + len(amounts) // 2]
    return result


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

"""Multiply-accumulates of one node, from the shapes around it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from ocompress.io.batch_axes import batch_axes
from ocompress.ir import Model, Node, Value

Extents = tuple[int, ...]
Shapes = Callable[[Value | None], Extents | None]
"""Gives the shape of a value in numbers, None when it is not known."""


def macs(node: Node, shapes: Shapes) -> int | None:
    """Return the multiply-accumulates of a node.

    Returns:
        0 for operators that do not multiply matrices, None when a shape is not known.
    """
    rule = _RULES.get((node.domain, node.op_type))
    return 0 if rule is None else rule(node, shapes)


def resolver(model: Model, observed: Mapping[str, Extents]) -> Shapes:
    """Return the shapes of a model; a free extent on axis 0 counts as 1.

    Args:
        model: With what is known of its shapes.
        observed: Shapes by name that were seen while it ran; they fill gaps.
    """
    axes = batch_axes(model)
    batches = (_extent(v, axes.get(v.name, 0)) for v in model.graph.inputs)
    symbols = {extent: 1 for extent in batches if isinstance(extent, str)}

    def resolve(value: Value | None) -> Extents | None:
        if value is None:
            return None
        if value.name in observed:
            return observed[value.name]
        if value.shape is None:
            return None
        extents = []
        for axis, extent in enumerate(value.shape):
            if isinstance(extent, int):
                extents.append(extent)
            elif extent in symbols or axis == 0:
                extents.append(symbols.get(extent or "", 1))
            else:
                return None
        return tuple(extents)

    return resolve


def _extent(value: Value, axis: int | None) -> int | str | None:
    shape = value.shape or ()
    return shape[axis] if axis is not None and axis < len(shape) else None


def _conv(weight: int) -> Callable[[Node, Shapes], int | None]:
    """Each output element sums over the channels of its group and the kernel."""

    def rule(node: Node, shapes: Shapes) -> int | None:
        kernel, made = shapes(node.input(weight)), shapes(node.outputs[0])
        if kernel is None or made is None:
            return None
        return math.prod(made) * math.prod(kernel[1:])

    return rule


def _conv_transpose(node: Node, shapes: Shapes) -> int | None:
    """Each input element is spread over the channels of its group and the kernel."""
    read, kernel = shapes(node.input(0)), shapes(node.input(1))
    if read is None or kernel is None:
        return None
    return math.prod(read) * math.prod(kernel[1:])


def _matmul(node: Node, shapes: Shapes) -> int | None:
    """Each output element sums over the last axis of the left operand."""
    left, made = shapes(node.input(0)), shapes(node.outputs[0])
    if left is None or made is None or not left:
        return None
    transposed = bool(node.attr("transA", 0)) and len(left) > 1
    return math.prod(made) * left[-2 if transposed else -1]


def _nbits(node: Node, shapes: Shapes) -> int | None:
    made, inner = shapes(node.outputs[0]), node.attr("K")
    return None if made is None or inner is None else math.prod(made) * int(inner)


def _recurrent(node: Node, shapes: Shapes) -> int | None:
    """Each step multiplies by the input and by the recurrence weights."""
    read, w, r = (shapes(node.input(i)) for i in range(3))
    if read is None or w is None or r is None:
        return None
    return math.prod(read[:2]) * (math.prod(w) + math.prod(r))


def _attention(node: Node, shapes: Shapes) -> int | None:
    """Queries times keys, and weights times values, for rank 4 `[batch, heads, length, size]`."""
    query, key, value = (shapes(node.input(i)) for i in range(3))
    if query is None or key is None or value is None or {*map(len, (query, key, value))} != {4}:
        return None
    scores = math.prod(query[:3]) * key[2]
    return scores * (query[3] + value[3])


def _unknown(*_: object) -> None:
    return None


_CONTRIB = "com.microsoft"
_RULES: dict[tuple[str, str], Callable[[Node, Shapes], int | None]] = {
    ("", "Conv"): _conv(1),
    ("", "ConvInteger"): _conv(1),
    ("", "DeformConv"): _conv(1),
    ("", "QLinearConv"): _conv(3),
    (_CONTRIB, "QLinearConv"): _conv(3),
    (_CONTRIB, "FusedConv"): _conv(1),
    ("", "ConvTranspose"): _conv_transpose,
    ("", "Gemm"): _matmul,
    ("", "MatMul"): _matmul,
    ("", "MatMulInteger"): _matmul,
    ("", "QLinearMatMul"): _matmul,
    (_CONTRIB, "FusedMatMul"): _matmul,
    (_CONTRIB, "FusedGemm"): _matmul,
    (_CONTRIB, "QGemm"): _matmul,
    (_CONTRIB, "DynamicQuantizeMatMul"): _matmul,
    (_CONTRIB, "MatMulNBits"): _nbits,
    ("", "LSTM"): _recurrent,
    ("", "GRU"): _recurrent,
    ("", "RNN"): _recurrent,
    ("", "Attention"): _attention,
    ("", "Einsum"): _unknown,
    (_CONTRIB, "Attention"): _unknown,
    (_CONTRIB, "MultiHeadAttention"): _unknown,
    (_CONTRIB, "QAttention"): _unknown,
}

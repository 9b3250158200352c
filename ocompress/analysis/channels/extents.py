"""Extents that nobody recorded but that the weights behind them tell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ocompress.ir import Model, Node, Value

Extents = Mapping[tuple[int, int], int]
"""Extent by identity of the value and axis."""


def deduce(model: Model) -> Extents:
    """Return extents that a valid model must have because layers with constants read them."""
    found: dict[tuple[int, int], int] = {}
    for _, node in model.nodes():
        for index, axis, extent in _required(node):
            value = node.inputs[index]
            if value is None or value.shape is None or len(value.shape) < 1:
                continue
            at = axis % len(value.shape)
            if not isinstance(value.shape[at], int):
                found[id(value), at] = extent
    return found


def _required(node: Node) -> Iterator[tuple[int, int, int]]:
    """Iterate over `(input, axis, extent)` of what a node asks of its data."""
    if node.is_op("Conv", "BatchNormalization", "ConvTranspose"):
        weight = _shape(node.input(1))
        if len(weight) > 1 and node.op_type == "Conv":
            yield 0, 1, weight[1] * int(node.attr("group", 1))
        elif weight:
            yield 0, 1, weight[0]
    elif node.is_op("Gemm"):
        left, right = _shape(node.input(0)), _shape(node.input(1))
        a_sum, b_sum = 1 - bool(node.attr("transA", 0)), int(bool(node.attr("transB", 0)))
        if len(right) == 2:
            yield 0, a_sum, right[b_sum]
        if len(left) == 2:
            yield 1, b_sum, left[a_sum]
    elif node.is_op("MatMul"):
        left, right = _shape(node.input(0)), _shape(node.input(1))
        if right:
            yield 0, -1, right[-2] if len(right) > 1 else right[0]
        if left and len(getattr(node.inputs[1], "shape", None) or ()) > 1:
            yield 1, -2, left[-1]


def _shape(value: Value | None) -> tuple[int, ...]:
    return () if value is None or value.constant is None else value.constant.shape

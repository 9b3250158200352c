"""Changes that moved attributes to inputs, or gave inputs another meaning."""

from __future__ import annotations

import numpy as np

from ocompress.ir import Node, query
from passes.canonical.adapters.step import CannotAdapt, Step, dtype_of, graph_of, integers, nothing


def clip_11(node: Node) -> Step:
    """Move the bounds to inputs 1 and 2."""
    bounds = [node.attr("min"), node.attr("max")]
    if bounds == [None, None]:
        return nothing
    dtype = dtype_of(node).numpy

    def step() -> None:
        for index, (name, bound) in enumerate(zip(("min", "max"), bounds, strict=True), start=1):
            node.set_attr(name, None)
            if bound is not None:
                constant = graph_of(node).constant(f"{node.label}_{name}", _cast(bound, dtype))
                node.set_input(index, constant)

    return step


def _cast(number: float, dtype: np.dtype[np.generic]) -> np.ndarray:
    with np.errstate(over="ignore"):  # the bounds of float32 are infinite in float16
        return np.asarray(number).astype(dtype)


def pad_11(node: Node) -> Step:
    """Move pads and fill value to inputs 1 and 2."""
    pads, number = node.attr("pads", []), node.attr("value", 0.0)
    dtype = dtype_of(node).numpy if number else None

    def step() -> None:
        node.set_attr("pads", None)
        node.set_attr("value", None)
        node.set_input(1, integers(node, "pads", pads))
        if dtype is not None:
            value = np.asarray(number).astype(dtype)
            node.set_input(2, graph_of(node).constant(f"{node.label}_value", value))

    return step


def slice_10(node: Node) -> Step:
    """Move starts, ends and axes to inputs 1, 2 and 3."""
    lists = {name: node.attr(name) for name in ("starts", "ends", "axes")}

    def step() -> None:
        for index, (name, values) in enumerate(lists.items(), start=1):
            node.set_attr(name, None)
            if values is not None:
                node.set_input(index, integers(node, name, values))

    return step


def top_k_10(node: Node) -> Step:
    """Move k to input 1."""
    count = node.attr("k", 1)

    def step() -> None:
        node.set_attr("k", None)
        node.set_input(1, integers(node, "k", [count]))

    return step


def dropout_12(node: Node) -> Step:
    """Move the ratio to input 1; without a training input the node stays inference."""
    ratio = node.attr("ratio", 0.5)

    def step() -> None:
        node.set_attr("ratio", None)
        value = np.asarray(ratio, np.float32)
        node.set_input(1, graph_of(node).constant(f"{node.label}_ratio", value))

    return step


def dropout_10(node: Node) -> Step:
    """Refuse a mask that is read: its element type became bool."""
    if len(node.outputs) > 1 and node.outputs[1] is not None and node.outputs[1].use_count:
        why = "its mask is read, whose element type changed"
        raise CannotAdapt(why)

    def step() -> None:
        for mask in node.outputs[1:]:
            if mask is not None:
                mask.set_type(None, None)

    return step


def split_18(node: Node) -> Step:
    """Say how many equal parts there are where no sizes are given."""
    if node.input(1) is not None:
        return nothing
    return lambda: node.set_attr("num_outputs", len(node.outputs))


def dft_20(node: Node) -> Step:
    """Move the axis to input 2."""
    axis = node.attr("axis", 1)

    def step() -> None:
        node.set_attr("axis", None)
        value = np.asarray(axis, np.int64)
        node.set_input(2, graph_of(node).constant(f"{node.label}_axis", value))

    return step


def group_normalization_21(node: Node) -> Step:
    """Repeat scale and bias, which were one per group, to one per channel."""
    x, groups = node.input(0), int(node.attr("num_groups", 1))
    channels = x.shape[1] if x is not None and x.shape is not None and len(x.shape) > 1 else None
    arrays = [query.constant(node, 1), query.constant(node, 2)]
    if not isinstance(channels, int) or any(a is None for a in arrays):
        why = "its scale and bias are not constant or its channels are not known"
        raise CannotAdapt(why)

    def step() -> None:
        for index, (name, array) in enumerate(zip(("scale", "bias"), arrays, strict=True), start=1):
            assert array is not None
            full = np.repeat(array, channels // groups)
            node.set_input(index, graph_of(node).constant(f"{node.label}_{name}", full))

    return step

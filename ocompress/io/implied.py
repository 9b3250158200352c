"""Extents of inputs that a file leaves free, and that the weights reading them fix."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from ocompress.ir import Model, Node, Value

_STEPS = 64
"""Values that are looked at behind an input, at most."""
_THROUGH = ("Cast", "Identity", "Relu", "Sigmoid", "Tanh", "Clip", "Sqrt", "Log", "Exp", "Abs")
_WITH = ("Add", "Sub", "Mul", "Div", "Pow")
_RECURRENT = ("LSTM", "GRU", "RNN")


def implied_extents(model: Model) -> Mapping[str, Mapping[int, int]]:
    """Return extents of inputs by name and axis, as far as constants that they meet first tell."""
    found: dict[str, dict[int, int]] = {}
    for value in model.graph.inputs:
        if value.data is None and value.rank is not None:
            found[value.name] = dict(_behind(value, value.rank))
    return found


def _behind(value: Value, rank: int) -> Iterator[tuple[int, int]]:
    """Yield axes of an input and extents; those that are found first come last."""
    pending, told = [(value, tuple(range(rank)))], list[tuple[int, int]]()
    for current, axes in pending:  # which grows
        for node, index in current.users:
            known = dict(_told(node, index, len(axes)))
            told += [(axes[axis], extent) for axis, extent in known.items()]
            onward = _onward(node, index, axes)
            if onward is not None and len(pending) < _STEPS:
                pending.append((node.output, onward))
    yield from reversed(told)


def _told(node: Node, index: int, rank: int) -> Iterator[tuple[int, int]]:
    """Yield axes of what a node reads, and the extents that its constants fix."""
    if node.domain or index > 1:
        return
    other = _constant(node, 1 - index)
    if other is None:
        return
    shape = other.shape
    if node.op_type in _WITH:
        ahead = rank - other.ndim
        yield from ((ahead + a, n) for a, n in enumerate(shape) if n > 1 and ahead + a >= 0)
    elif node.op_type == "MatMul" and rank > 1 and other.ndim > 1:
        yield (rank - 1, shape[-2]) if index == 0 else (rank - 2, shape[-1])
    elif node.op_type == "Gemm" and rank == other.ndim == 2:
        turned = [bool(node.attr(name, 0)) for name in ("transA", "transB")]
        own, theirs = turned[index], turned[1 - index]
        yield (0 if own is (index == 0) else 1), shape[int(theirs is (index == 0))]
    elif index == 0:
        yield from _of_layer(node, shape, rank)


def _of_layer(node: Node, shape: tuple[int, ...], rank: int) -> Iterator[tuple[int, int]]:
    if node.op_type == "Conv" and rank == len(shape) > 2:
        yield 1, shape[1] * int(node.attr("group", 1))
    elif node.op_type == "ConvTranspose" and rank == len(shape) > 2:
        yield 1, shape[0]
    elif node.op_type in _RECURRENT and rank == len(shape) == 3:
        yield 2, shape[2]
    elif node.op_type in ("BatchNormalization", "InstanceNormalization") and rank > 1:
        yield 1, shape[0]
    elif node.op_type == "LayerNormalization" and len(shape) == 1:
        yield rank - 1, shape[0]


def _onward(node: Node, index: int, axes: tuple[int, ...]) -> tuple[int, ...] | None:
    """Return which axis of the input each axis of a node's output is, None if that is not known."""
    if node.domain or len(node.outputs) != 1:
        return None
    if node.op_type in _THROUGH and index == 0:
        return axes
    if node.op_type in _WITH:
        other = _constant(node, 1 - index)
        return axes if other is not None and other.ndim <= len(axes) else None
    if node.op_type == "Transpose":
        order = node.attr("perm", range(len(axes))[::-1])
        return tuple(axes[a] for a in order) if len(order) == len(axes) else None
    return None


def _constant(node: Node, index: int) -> np.ndarray | None:
    value = node.input(index)
    return None if value is None else value.constant

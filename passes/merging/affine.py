"""Nodes that scale and shift channels, in every spelling, and chains of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ocompress.analysis.linear_layer import Refusal
from ocompress.ir import DType, Node, Value

Axes = tuple[int | None, ...]
"""For each axis of a value the axis of the layer it came from; None for an inserted one."""

ELEMENTWISE = ("Add", "Sub", "Mul", "Div")
_TRAINING = Refusal("training", "it normalizes by the statistics of the batch")


@dataclass(frozen=True)
class Affine:
    """A node that computes `scale * x + shift` per channel.

    Attributes:
        node: The node.
        data_at: Input index of x.
        axes: Axes of x.
        scale: Float64, one per channel or a scalar.
        shift: Float64, one per channel or a scalar.
    """

    node: Node
    data_at: int
    axes: Axes
    scale: np.ndarray
    shift: np.ndarray

    @property
    def data(self) -> Value:
        """What it is applied to."""
        value = self.node.inputs[self.data_at]
        assert value is not None
        return value


def compose(items: Sequence[Affine]) -> tuple[np.ndarray, np.ndarray]:
    """Return scale and shift of nodes applied one after the other."""
    scale, shift = np.ones(()), np.zeros(())
    with np.errstate(all="ignore"):
        for item in items:
            scale, shift = item.scale * scale, item.scale * shift + item.shift
    return scale, shift


def read(
    node: Node, data_at: int, axes: Axes, channel: int, channels: int, opset: int
) -> Affine | Refusal | None:
    """See a node as scaling and shifting the channels of one of its inputs.

    Args:
        node: The node.
        data_at: Which input is scaled.
        axes: Axes of that input.
        channel: The axis, in the numbering of `axes`, that holds the channels.
        channels: Number of channels.
        opset: Version of the operator set.

    Returns:
        None if the node is of another kind, a refusal if it only looks like one.
    """
    if node.is_op("BatchNormalization"):
        return _batch_norm(node, data_at, axes, channel, channels, opset)
    if not node.is_op(*ELEMENTWISE) or (node.op_type == "Div" and data_at == 1):
        return None
    other = node.input(1 - data_at)
    array = None if other is None else other.constant
    if array is None or not DType.of(array).is_float:
        return None
    values = _per_channel(array, axes, channel, channels)
    if values is None:
        return Refusal("not-per-channel", "its constant varies over more than the channels")
    scale, shift = _elementwise(node.op_type, data_at, values)
    return Affine(node, data_at, axes, scale, shift)


def _elementwise(op: str, data_at: int, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    one, zero = np.ones(()), np.zeros(())
    with np.errstate(all="ignore"):
        if op == "Mul":
            return values, zero
        if op == "Div":
            return 1.0 / values, zero
        if op == "Add":
            return one, values
        return (one, -values) if data_at == 0 else (-one, values)


def _per_channel(array: np.ndarray, axes: Axes, channel: int, channels: int) -> np.ndarray | None:
    if array.ndim > len(axes):
        return None
    for axis, extent in zip(reversed(axes), reversed(array.shape), strict=False):
        if extent != 1 and (axis != channel or extent != channels):
            return None
    flat = array.reshape(()) if array.size == 1 else array.reshape(-1)
    return flat.astype(np.float64)


def _batch_norm(
    node: Node, data_at: int, axes: Axes, channel: int, channels: int, opset: int
) -> Affine | Refusal:
    refusal = not_inference(node, opset)
    if refusal is not None:
        return refusal
    if data_at != 0 or len(axes) < 2 or axes[1] != channel:
        return Refusal("axis", "it normalizes another axis than the layer's channels")
    found = [None if v is None else v.constant for v in node.inputs[1:5]]
    arrays = [a.astype(np.float64) for a in found if a is not None]
    if len(arrays) < 4:
        return Refusal("dynamic-parameter", "its scale, bias, mean or variance is computed")
    if any(a.size != channels for a in arrays):
        return Refusal("odd-parameter", "its parameters do not have one value per channel")
    gamma, beta, mean, variance = (a.reshape(-1) for a in arrays)
    scale, shift = batch_norm(
        gamma, beta, mean, variance, float(node.attr("epsilon", np.float32(1e-5)))
    )
    return Affine(node, 0, axes, scale, shift)


def batch_norm(
    gamma: np.ndarray, beta: np.ndarray, mean: np.ndarray, variance: np.ndarray, epsilon: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return scale and shift of an inference-time batch normalization; all are [channels]."""
    with np.errstate(all="ignore"):
        scale = gamma / np.sqrt(variance + epsilon)
        return scale, beta - mean * scale


def not_inference(node: Node, opset: int) -> Refusal | None:
    """Say why a BatchNormalization is no fixed scaling and shifting, None if it is one."""
    extra = [v for v in node.outputs[1:] if v is not None]
    if node.attr("training_mode", 0) or any(v.use_count for v in extra):
        return _TRAINING
    if opset < 14 and extra:  # before training_mode existed, extra outputs asked for training
        return _TRAINING
    if opset < 7 and not node.attr("is_test", 0):
        return _TRAINING
    if opset < 9 and not node.attr("spatial", 1):
        return Refusal("not-spatial", "it normalizes every position by itself")
    return None


def forward(node: Node, axes: Axes) -> Axes | None:
    """Follow axes through a node that only arranges them; None for any other node."""
    if node.is_op("Transpose"):
        order = node.attr("perm") or range(len(axes))[::-1]
        return tuple(axes[p] for p in order)
    listed = _listed_axes(node)
    if node.is_op("Unsqueeze") and listed is not None:
        return _insert(axes, listed)
    return _delete(axes, listed) if node.is_op("Squeeze") and listed is not None else None


def backward(node: Node, axes: Axes) -> Axes | None:
    """Follow axes against the direction of a node that only arranges them."""
    if node.is_op("Transpose"):
        order = list(node.attr("perm") or range(len(axes))[::-1])
        return tuple(axes[order.index(i)] for i in range(len(axes)))
    listed = _listed_axes(node)
    if node.is_op("Unsqueeze") and listed is not None:
        return _delete(axes, listed)
    return _insert(axes, listed) if node.is_op("Squeeze") and listed is not None else None


def _listed_axes(node: Node) -> list[int] | None:
    if not node.is_op("Squeeze", "Unsqueeze"):
        return None
    value = node.input(1)
    if value is None:
        stored: list[int] | None = node.attr("axes")
        return stored
    return None if value.constant is None else [int(a) for a in value.constant.reshape(-1)]


def _insert(axes: Axes, positions: list[int]) -> Axes | None:
    rank = len(axes) + len(positions)
    fresh = {p % rank for p in positions}
    if len(fresh) < len(positions):  # one named twice, which no rank explains
        return None
    left = iter(axes)
    return tuple(None if i in fresh else next(left) for i in range(rank))


def _delete(axes: Axes, positions: list[int]) -> Axes:
    gone = {p % len(axes) for p in positions} if axes else set()
    return tuple(axis for i, axis in enumerate(axes) if i not in gone)

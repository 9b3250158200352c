"""Putting orders of channels into the weights of neighbours, so that no node has to move them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np

from ocompress.analysis import linear_layer
from ocompress.analysis.linear_layer import Layer
from ocompress.analysis.linear_rows import Site
from ocompress.ir import Node, Value, edit, query
from passes.factorization.steps import Fork, Pick, Step

Edit = Callable[[], None]
_ALIKE = (
    *("Relu", "LeakyRelu", "Elu", "Selu", "Celu", "Sigmoid", "Tanh", "HardSigmoid", "HardSwish"),
    *("Softplus", "Softsign", "Gelu", "Mish", "Clip", "Abs", "Neg", "Exp", "Erf", "Identity"),
    *("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"),
)
"""Operators that treat every channel alike, and each by itself."""
_SCALED = ("Add", "Sub", "Mul", "Div", "Max", "Min")
"""Operators that do too if the other operand is a single number."""


def absorb(nodes: Iterable[Node]) -> int:
    """Take out Gathers of all channels that constant weights before or behind can make up for.

    Args:
        nodes: The Gathers, along axis 1; others are left as they are.

    Returns:
        How many are gone.
    """
    gone = 0
    for node in nodes:
        order, seen = _order(node), node.inputs[0]
        if order is None or seen is None:
            continue
        edits = _forward(node.output, order)
        if edits is None:
            edits = _backward(seen, node, order)
        if edits is None or not edit.can_replace(node.output, seen):
            continue
        for apply in edits:
            apply()
        edit.replace(node.output, seen)
        graph, index = node.graph, node.inputs[1]
        assert graph is not None
        assert index is not None
        graph.remove(node)
        if not index.use_count:
            del graph.initializers[index.name]
            graph.names.release(index.name)
        gone += 1
    return gone


def unmoved(steps: Sequence[Step], sites: Sequence[Site]) -> list[Step]:
    """Return what will be left of a chain once the layers around it have taken in its orders.

    The layers around it count as they are now; they may be replaced too.
    """
    found = list(steps)
    channels = sites[0].layer.form
    first, last = np.arange(channels.inputs), np.arange(channels.outputs)
    if isinstance(found[-1], Pick | Fork) and all(
        _forward(s.node.output, last) is not None for s in sites
    ):
        end = found.pop()
        if isinstance(end, Fork):
            found.append(replace(end, order=np.arange(len(end.order))))
    if isinstance(found[0], Pick) and all(
        _backward(s.layer.data, s.node, first) is not None for s in sites
    ):
        del found[0]
    return found


def _order(node: Node) -> np.ndarray | None:
    """Return the order that a Gather puts channels in; None if it does something else."""
    index = query.constant(node, 1) if node.is_op("Gather") else None
    if index is None or index.ndim != 1 or node.attr("axis", 0) != 1:
        return None
    whole = len(np.unique(index)) == len(index) and index.min() == 0
    return index if whole and index.max() == len(index) - 1 else None


def _forward(value: Value, order: np.ndarray) -> list[Edit] | None:
    """Return the edits with which all readers of a value do with its channels unordered.

    Args:
        value: What is read, channel `order[i]` of another value at place i.
        order: The order.
    """
    if value.is_output or not value.use_count:
        return None
    found: list[Edit] = []
    for reader, at in value.users:
        edits = _read(reader, at, order)
        if edits is None:
            return None
        found += edits
    return found


def _read(reader: Node, at: int, order: np.ndarray) -> list[Edit] | None:
    """Return the edits for one reader of channels that are not longer put in order."""
    if _passes(reader, at):
        return _forward(reader.output, order)
    if reader.is_op("Flatten") and int(reader.attr("axis", 1)) == 1:
        return _flat(reader.output, order)
    if reader.is_op("Gather") and at == 0:
        return _reordered(reader, order)
    layer = linear_layer.read(reader) if reader.is_op("Conv") else None
    if not isinstance(layer, Layer) or at != layer.data_at:
        return None
    if layer.form.groups == 1:
        return _columns(layer, order)
    if _is_depthwise(layer):
        edits = _rows(layer, np.argsort(order))
        behind = _forward(reader.output, order)
        return None if edits is None or behind is None else [*edits, *behind]
    return None


def _backward(value: Value, reader: Node, order: np.ndarray) -> list[Edit] | None:
    """Return the edits with which what makes a value puts its channels in order.

    Args:
        value: What is put in order.
        reader: The only one that may read it.
        order: Which channel comes at each place.
    """
    maker = value.producer
    if maker is None or query.only_reader(value) is not reader:
        return None
    at = next((i for i, v in enumerate(maker.inputs) if v is not None and v.data is None), -1)
    source = maker.inputs[at] if at >= 0 else None
    if source is None:
        return None
    if _passes(maker, at):
        return _backward(source, maker, order)
    before = _order(maker)
    if before is not None:
        return [_reindexed(maker, before[order])]
    layer = linear_layer.read(maker) if maker.is_op("Conv") else None
    if not isinstance(layer, Layer) or at != layer.data_at:
        return None
    if layer.form.groups == 1:
        return _rows(layer, order)
    if _is_depthwise(layer):
        edits, earlier = _rows(layer, order), _backward(source, maker, order)
        return None if edits is None or earlier is None else [*edits, *earlier]
    return None


def _passes(node: Node, at: int) -> bool:
    """Whether a node makes each channel of its only output of the same channel of an input."""
    if sum(v is not None for v in node.outputs) != 1:
        return False
    if node.is_op(*_ALIKE):
        return at == 0
    if not node.is_op(*_SCALED) or len(node.inputs) != 2:
        return False
    other = query.constant(node, 1 - at)
    return other is not None and other.size == 1


def _flat(value: Value, order: np.ndarray) -> list[Edit] | None:
    """Return the edits of the products of matrices that read channels with all their places."""
    if value.is_output or not value.use_count:
        return None
    found: list[Edit] = []
    for reader, at in value.users:
        layer = linear_layer.read(reader) if reader.is_op("Gemm", "MatMul") else None
        if not isinstance(layer, Layer) or at != 0 or (layer.data_at, layer.data_channel) != (0, 1):
            return None
        edits = _columns(layer, order) if len(layer.form.shape) == 2 else None
        if edits is None:
            return None
        found += edits
    return found


def _is_depthwise(layer: Layer) -> bool:
    shape = layer.form.shape
    return shape[1] == 1 and shape[0] == layer.form.groups


def _columns(layer: Layer, order: np.ndarray) -> list[Edit] | None:
    """Return the edit of a weight whose inputs come unordered; each may have several places."""
    axis, weight = layer.form.in_axis, layer.weight
    if weight.shape[axis] % len(order):
        return None
    front = np.moveaxis(weight, axis, 0)
    split = front.reshape(len(order), -1, *front.shape[1:])[np.argsort(order)]
    turned = np.moveaxis(split.reshape(front.shape), 0, axis)
    return [lambda: layer.set_weight(np.ascontiguousarray(turned))]


def _rows(layer: Layer, order: np.ndarray) -> list[Edit] | None:
    """Return the edits of a Conv's weight and bias that put its outputs in order."""
    if layer.bias_refusal() is not None:
        return None
    weight, bias = layer.weight[order], layer.bias()
    edits: list[Edit] = [lambda: layer.set_weight(weight)]
    if layer.node.input(2) is not None:
        moved = bias[order].astype(weight.dtype)
        edits.append(lambda: layer.set_bias(moved))
    return edits


def _reordered(reader: Node, order: np.ndarray) -> list[Edit] | None:
    index = _order(reader)
    return None if index is None else [_reindexed(reader, order[index])]


def _reindexed(node: Node, order: np.ndarray) -> Edit:
    return lambda: edit.set_weight(edit.own_weight(node, 1), order.astype(np.int64))

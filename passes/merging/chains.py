"""Chains of scaling and shifting nodes behind and in front of linear layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ocompress.analysis.linear_layer import Layer, Refusal
from ocompress.ir import Graph, Node, Value, query
from passes.merging import affine
from passes.merging.affine import Affine, Axes


@dataclass
class NodeChain:
    """Nodes in the order data flow through them.

    Attributes:
        items: The nodes that can be folded.
        declined: Nodes next to them that look alike but cannot, with the reason.
    """

    items: list[Affine] = field(default_factory=list)
    declined: list[tuple[Node, Refusal]] = field(default_factory=list)


Reader = Callable[[Node, int, Axes], Affine | Refusal | None]


def behind(layer: Layer, opset: int) -> NodeChain:
    """Collect what scales and shifts the output of a layer and nothing else reads between."""

    def see(node: Node, at: int, axes: Axes) -> Affine | Refusal | None:
        return affine.read(node, at, axes, layer.out_channel, layer.form.outputs, opset)

    chain = NodeChain()
    value: Value = layer.node.output
    axes: Axes = tuple(range(layer.out_rank))
    while True:
        refusal = between(value, layer.node.graph)
        if refusal is not None:
            chain.declined += [(n, refusal) for n, at in value.users if _fits(see, n, at, axes)]
            return chain
        node, at = value.users[0]
        moved = affine.forward(node, axes) if at == 0 else None
        if moved is not None:
            value, axes = node.output, moved
            continue
        item = see(node, at, axes)
        if isinstance(item, Refusal):
            chain.declined.append((node, item))
        if not isinstance(item, Affine):
            return chain
        chain.items.append(item)
        value = node.output


def in_front(layer: Layer, opset: int) -> NodeChain:
    """Collect what scales and shifts the data of a layer for nobody else."""

    def see(node: Node, at: int, axes: Axes) -> Affine | Refusal | None:
        return affine.read(node, at, axes, layer.data_channel, layer.form.inputs, opset)

    chain = NodeChain()
    value: Value = layer.data
    axes: Axes = tuple(range(layer.data_rank))
    while True:
        node = value.producer
        if node is None or not node.outputs or node.outputs[0] is not value:
            return chain
        moved = affine.backward(node, axes)
        source = node.input(0)
        item = None if moved is not None else _one_of(see, node, axes)
        if moved is None and item is None:
            return chain
        refusal = between(value, layer.node.graph)
        if refusal is None and isinstance(item, Affine):
            refusal = _enlarges(item, layer)
        if isinstance(item, Refusal) or refusal is not None:
            reason = item if isinstance(item, Refusal) else refusal
            if item is not None and reason is not None:
                chain.declined.append((node, reason))
            return chain
        if isinstance(item, Affine):
            chain.items.insert(0, item)
            value = item.data
        elif moved is not None and source is not None:
            value, axes = source, moved


def _fits(see: Reader, node: Node, at: int, axes: Axes) -> bool:
    return isinstance(see(node, at, axes), Affine)


def _one_of(see: Reader, node: Node, axes: Axes) -> Affine | Refusal | None:
    for at in range(min(2, len(node.inputs))):
        value = node.input(at)
        item = see(node, at, axes) if value is not None and value.constant is None else None
        if item is not None:
            return item
    return None


def between(value: Value, graph: Graph | None) -> Refusal | None:
    """Say why a value cannot vanish between its producer and one reader."""
    if value.is_output:
        return Refusal("is-output", f"{value.name!r} is an output of the graph")
    if value.use_count != 1:
        return Refusal("several-readers", f"{value.name!r} is read by several nodes")
    reader = query.only_reader(value)
    producer = value.producer
    if reader is None or producer is None or {reader.graph, producer.graph} != {graph}:
        return Refusal("other-graph", f"{value.name!r} crosses into the body of another node")
    return None


def _enlarges(item: Affine, layer: Layer) -> Refusal | None:
    """Say why a constant may broadcast the data it meets to a larger shape."""
    if item.node.is_op("BatchNormalization"):
        return None
    other = item.node.input(1 - item.data_at)
    shape = item.data.shape
    if other is None or (shape is None and (other.rank or 0) < len(item.axes)):
        return None if other is not None and _one_value(item) else _UNKNOWN
    if shape is None or len(shape) != len(item.axes):
        return _UNKNOWN
    if not _one_value(item) and shape[item.axes.index(layer.data_channel)] != layer.form.inputs:
        return _UNKNOWN
    return None


def _one_value(item: Affine) -> bool:
    return item.scale.ndim == 0 and item.shift.ndim == 0


_UNKNOWN = Refusal("unknown-shape", "its constant might broadcast its input to more channels")

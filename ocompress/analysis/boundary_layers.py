"""The first and last layers with weights, by what can be reached from where."""

from __future__ import annotations

from collections.abc import Callable

from ocompress.ir import Graph, Model, Node, reads

IsLayer = Callable[[Node], bool]


def first_layers(model: Model, is_layer: IsLayer) -> set[int]:
    """Return the ids of the layers that no other layer's result reaches.

    The nodes must be in topological order, as they are between passes.
    """
    found: set[int] = set()
    _forward(model.graph, is_layer, set(), found)
    return found


def last_layers(model: Model, is_layer: IsLayer) -> set[int]:
    """Return the ids of the layers whose result reaches no other layer."""
    found: set[int] = set()
    _backward(model.graph, is_layer, set(), found)
    return found


def _forward(graph: Graph, is_layer: IsLayer, reached: set[int], found: set[int]) -> bool:
    """Walk a graph; `reached` holds ids of values that depend on a layer. True if it has one."""
    any_layer = False
    for node in graph.nodes:
        behind = any(id(v) in reached for v in reads(node))
        layer = is_layer(node)
        if layer and not behind:
            found.add(id(node))
        for body in node.subgraphs():
            if behind:
                reached.update(id(v) for v in body.inputs)
            layer |= _forward(body, is_layer, reached, found)
        if layer or behind:
            reached.update(id(v) for v in node.outputs if v is not None)
        any_layer |= layer
    return any_layer


def _backward(graph: Graph, is_layer: IsLayer, reached: set[int], found: set[int]) -> bool:
    """Walk a graph backwards; `reached` holds ids of values that a layer depends on."""
    any_layer = False
    for node in reversed(graph.nodes):
        before = any(id(v) in reached for v in node.outputs if v is not None)
        layer = is_layer(node)
        if layer and not before:
            found.add(id(node))
        for body in node.subgraphs():
            if before:
                reached.update(id(v) for v in body.outputs)
            layer |= _backward(body, is_layer, reached, found)
        if layer or before:
            reached.update(id(v) for v in node.inputs if v is not None)
            if before:
                reached.update(id(v) for v in reads(node))
        any_layer |= layer
    return any_layer

"""Edits that keep a graph consistent. Rewrites are built from these."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ocompress.ir.graph import Graph, reads
from ocompress.ir.node import Node
from ocompress.ir.value import Value


def set_weight(value: Value, array: np.ndarray) -> None:
    """Replace the array of a constant, any shape, for all its readers; none is edited in place."""
    value.data = np.asarray(array, order="C")


def own_weight(node: Node, index: int) -> Value:
    """Return constant input `index` of a node, after giving it a copy if others read it too."""
    value = node.inputs[index]
    if value is None or value.data is None or node.graph is None:
        msg = f"input {index} of node {node.label!r} is not a constant"
        raise ValueError(msg)
    if value.use_count > 1 or node.graph.initializers.get(value.name) is not value:
        value = node.graph.constant(f"{value.name}_{node.label}", value.data)
        node.set_input(index, value)
    return value


def can_replace(old: Value, new: Value) -> bool:
    """Whether `new` may stand for `old` everywhere, formal outputs included."""
    if not old.is_output:
        return True
    graph = old.producer.graph if old.producer is not None else None
    if graph is None or new.producer is None or new.producer.graph is not graph or new.is_output:
        return False
    return sum(v is old for v in graph.outputs) == old.output_count  # no body returns it


def replace(old: Value, new: Value) -> bool:
    """Make every reader of `old` read `new`; formal outputs keep their names.

    Returns:
        False, with nothing changed, if `old` is a formal output that `new` cannot stand for
        (it is an input, a constant, an output itself, or made in another graph).
    """
    if not can_replace(old, new):
        return False
    if old.is_output:
        _take_output(old, new)
    for node, index in old.users:
        node.set_input(index, new)
    return True


def _take_output(old: Value, new: Value) -> None:
    assert old.producer is not None, old.name
    graph = old.producer.graph
    assert graph is not None, old.name
    name, declared = old.name, old.type_proto
    old.name = graph.names.fresh(f"{name}_replaced")
    graph.names.release(new.name)
    new.name = name
    if declared is not None:
        new.set_type_proto(declared)
    new.doc, new.metadata = old.doc or new.doc, old.metadata or new.metadata
    graph.set_outputs(new if v is old else v for v in graph.outputs)


def to_constants(node: Node, arrays: Sequence[np.ndarray | None]) -> None:
    """Put constants of the same names in place of a node.

    A formal output stays made by a node, a Constant one: not every runtime lets a body return
    an initializer.

    Args:
        node: The node to remove.
        arrays: The array of each output that somebody reads; None for the others.
    """
    graph, name = node.graph, node.name
    assert graph is not None, node.label
    graph.remove(node)
    for value, array in zip(node.outputs, arrays, strict=True):
        if value is None or value.use_count == 0 or array is None:
            continue
        graph.names.claim(value.name)
        if value.is_output:
            graph.add(Node("Constant", (), [value], name=name, attrs={"value": array}))
            name = ""
        else:
            value.producer, value.data = None, array
            graph.initializers[value.name] = value


def inline_body(node: Node, key: str) -> None:
    """Put a body without formal inputs (a branch of an If) in place of the node.

    Inner names are kept unless they are taken outside.
    """
    graph, body = node.graph, node.bodies.pop(key)
    assert graph is not None, node.label
    assert isinstance(body, Graph), node.label
    for value in body.initializers.values():
        _adopt_name(value, graph)
        graph.initializers[value.name] = value
    for inner in body.nodes:
        for made in inner.outputs:
            if made is not None:
                _adopt_name(made, graph)
        if inner.name:
            graph.names.release(inner.name)
            inner.name = graph.names.fresh(inner.name)
        graph.add(inner, claim=False)
    results = body.outputs
    body.set_outputs([])
    left = [
        (old, new)
        for old, new in zip(node.outputs, results, strict=True)
        if old is not None and not replace(old, new)
    ]
    graph.remove(node)
    for old, new in left:
        graph.names.claim(old.name)
        graph.add(Node("Identity", [new], [old], name=graph.names.fresh(old.name)), claim=False)


def _adopt_name(value: Value, graph: Graph) -> None:
    graph.names.release(value.name)
    value.name = graph.names.fresh(value.name)


def remove_dead(graph: Graph) -> int:
    """Remove nodes nobody reads and constants nobody uses, bodies included; return the count."""
    removed = 0
    for node in graph.nodes:
        for body in node.subgraphs():
            removed += remove_dead(body)
    return (
        removed + remove_unread(*graph.nodes) + _remove_unused(graph.initializers.values(), graph)
    )


def remove_unread(*nodes: Node) -> int:
    """Remove nodes of a graph that nobody reads, and what only they read; return the count."""
    removed = 0
    pending = list(nodes)
    while pending:
        node = pending.pop()
        graph = node.graph
        if graph is None or not _is_dead(node):
            continue
        sources = list(reads(node))
        graph.remove(node)
        makers = (v.producer for v in sources)
        pending.extend(m for m in makers if m is not None and m.graph is graph)
        constants = (v for v in sources if graph.initializers.get(v.name) is v)
        removed += 1 + _remove_unused(constants, graph)
    return removed


def _is_dead(node: Node) -> bool:
    return all(v is None or v.use_count == 0 for v in node.outputs)


def _remove_unused(constants: Iterable[Value], graph: Graph) -> int:
    unused = {v.name: v for v in constants if v.use_count == 0 and not v.is_input}
    for value in unused.values():
        del graph.initializers[value.name]
        graph.names.release(value.name)
    return len(unused)

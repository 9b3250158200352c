"""Copying graphs without copying weights."""

from __future__ import annotations

from ocompress.ir.graph import Graph
from ocompress.ir.names import Names
from ocompress.ir.node import Node
from ocompress.ir.value import Value


def clone_graph(
    graph: Graph, names: Names, scope: dict[int, Value] | None = None, *, fresh: bool = False
) -> Graph:
    """Copy a graph and its bodies; arrays are shared.

    Args:
        graph: What to copy.
        names: Register the copy uses.
        scope: Maps values of the surrounding graph by id to what the copy shall read instead.
        fresh: Whether to give inner values new names (for a copy inside the same model).
    """
    copy = Graph(graph.name, names)
    copy.doc, copy.metadata = graph.doc, dict(graph.metadata)
    copy.annotations = list(graph.annotations)
    scope = {} if scope is None else dict(scope)
    for value in graph.inputs:
        scope[id(value)] = clone_value(value, names, fresh)
    for value in graph.initializers.values():
        if id(value) not in scope:
            scope[id(value)] = clone_value(value, names, fresh)
    for node in graph.nodes:
        for made in node.outputs:
            if made is not None:
                scope[id(made)] = clone_value(made, names, fresh)
    copy.inputs = [scope[id(v)] for v in graph.inputs]
    copy.initializers = {scope[id(v)].name: scope[id(v)] for v in graph.initializers.values()}
    for node in graph.nodes:
        copy.add(clone_node(node, names, scope, fresh), claim=False)
    copy.set_outputs(scope.get(id(v), v) for v in graph.outputs)
    return copy


def clone_value(value: Value, names: Names, fresh: bool = False) -> Value:
    """Copy a value, its array shared; nothing reads the copy."""
    name = names.fresh(value.name) if fresh else value.name
    copy = Value(name)
    if value.data is not None:
        copy.data = value.data
        if value.sparse is not None:
            copy.set_sparse(value.sparse)
        if value.packed is not None:
            copy.set_packed(value.packed)
    if value.data is None or value.is_input:
        copy.take_type(value)
    copy.is_input, copy.doc, copy.metadata = value.is_input, value.doc, dict(value.metadata)
    return copy


def clone_node(node: Node, names: Names, scope: dict[int, Value], fresh: bool = False) -> Node:
    """Copy a node and its bodies; `scope` has the copies of what it reads and makes, by id."""
    copy = Node(
        node.op_type,
        [None if v is None else scope.get(id(v), v) for v in node.inputs],
        [None if v is None else scope[id(v)] for v in node.outputs],
        domain=node.domain,
        name=names.fresh(node.name) if fresh and node.name else node.name,
    )
    copy.overload, copy.doc, copy.metadata = node.overload, node.doc, dict(node.metadata)
    copy.attributes.update(node.attributes)  # replaced, never changed
    for key, body in node.bodies.items():
        copy.bodies[key] = (
            [clone_graph(b, names, scope, fresh=fresh) for b in body]
            if isinstance(body, list)
            else clone_graph(body, names, scope, fresh=fresh)
        )
    return copy

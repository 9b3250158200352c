"""Smaller nets within a net, whose weights are parts of its own, and all of them in one model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ocompress.ir import DType, Graph, Model, Node, Value, edit
from ocompress.ir.clone import clone_node, clone_value

_EXACT = 1 << 24
"""Numbers that float32 tells apart."""


def marked(model: Model) -> Model:
    """Return a clone whose weights say of each element which one it is, counted from 1."""
    clone = model.clone()
    for value in _weights(clone).values():
        assert value.data is not None
        marks = np.arange(1, value.data.size + 1).reshape(value.data.shape)
        edit.set_weight(value, marks.astype(value.data.dtype))
    return clone


def share(small: Model, marks: Model, whole: Model) -> int:
    """Let a smaller net read its weights from those of the whole; return how many it does.

    Args:
        small: Changed in place: Gathers of the whole's arrays take the place of its weights.
        marks: The same net, made of `marked(whole)`.
        whole: The net.
    """
    found = 0
    graph, known = small.graph, _weights(whole)
    for name, value in _weights(marks).items():
        mine = graph.initializers.get(name)
        if name not in known or mine is None or mine.data is None:
            continue
        source, array = known[name].data, value.data
        assert source is not None
        assert array is not None
        places = _places(array, source.shape)
        if places is None or not np.array_equal(source[np.ix_(*places)], mine.data):
            continue
        readers = mine.users
        seen = Value(graph.names.fresh(name), data=source)
        graph.initializers[seen.name] = seen
        for axis, index in enumerate(places):
            if len(index) < source.shape[axis]:
                constant = graph.constant(f"{name}_kept", index)
                given = {"axis": axis}
                seen = graph.add_op("Gather", [seen, constant], name=name, attrs=given).output
        for node, at in readers:
            node.set_input(at, seen)
        found += 1
    edit.remove_dead(graph)
    small.sort()
    return found


def _weights(model: Model) -> dict[str, Value]:
    return {
        name: value
        for name, value in model.graph.initializers.items()
        if value.data is not None and value.data.ndim > 1 and not value.is_input
        if value.data.dtype in (np.float32, np.float64) and value.data.size < _EXACT
    }


def _places(marks: np.ndarray, shape: tuple[int, ...]) -> list[np.ndarray] | None:
    """Return which extents of each axis an array of marks has; None if it is another part."""
    flat = marks.astype(np.int64) - 1
    inside = (flat >= 0).all() and (flat < int(np.prod(shape))).all() and (flat + 1 == marks).all()
    if flat.ndim != len(shape) or not flat.size or not inside:
        return None
    found = []
    for axis, every in enumerate(np.unravel_index(flat, shape)):
        index = np.moveaxis(every, axis, 0).reshape(flat.shape[axis], -1)[:, 0]
        beside = [-1 if at == axis else 1 for at in range(flat.ndim)]
        if (every != index.reshape(beside)).any():
            return None
        found.append(index)
    return found


def choose(model: Model, levels: Sequence[Sequence[str]], name: str) -> str:
    """Make a model that computes one of several sets of its outputs, by a number that it is given.

    The number is an input with a default, the last set, so that nobody has to give it.

    Args:
        model: Changed in place; its outputs are those of the last set, called as they were.
        levels: The outputs of each set, in the same order.
        name: What the input is called if nothing else is.

    Returns:
        What it is called.
    """
    graph = model.graph
    chosen = Value(graph.names.fresh(name), data=np.array(len(levels) - 1))
    chosen.is_input = True
    chosen.set_type(DType.INT64, ())
    graph.inputs.append(chosen)
    graph.initializers[chosen.name] = chosen
    by_name = {v.name: v for v in graph.outputs}
    ends = [[by_name[n] for n in names] for names in levels]
    own = _own_nodes(graph, ends)
    apart = [at for at, values in enumerate(zip(*ends, strict=True)) if len({*map(id, values)}) > 1]
    whole = list(ends[-1])  # what all sets have in common, as constants, needs no choice
    ends = [[values[at] for at in apart] for values in ends]
    faces = [clone_value(v, graph.names, fresh=True) for v in ends[-1]]
    bodies = [_body(graph, nodes, outputs, faces) for nodes, outputs in zip(own, ends, strict=True)]
    graph.set_outputs([])
    moved = {id(node) for nodes in own for node in nodes}
    graph.remove(*(node for node in reversed(graph.nodes) if id(node) in moved))
    last = bodies.pop()
    while bodies:
        most = graph.constant(f"{chosen.name}_above", np.array(len(bodies)))
        below = graph.add_op("Less", [chosen, most], name=f"{chosen.name}_below").output
        outputs = [clone_value(face, graph.names, fresh=True) for face in faces]
        node = Node("If", [below], outputs, name=graph.names.fresh(f"{chosen.name}_if"))
        node.bodies = {"then_branch": bodies.pop(), "else_branch": last}
        if bodies:
            last = Graph(graph.names.fresh("larger"), graph.names)
            last.add(node, claim=False)
            last.set_outputs(outputs)
        else:
            graph.add(node, claim=False)
            for at, value in zip(apart, outputs, strict=True):
                graph.names.release(value.name)
                value.name = levels[-1][at]
                whole[at] = value
            graph.set_outputs(whole)
    model.sort()
    return chosen.name


def _own_nodes(graph: Graph, ends: Sequence[Sequence[Value]]) -> list[list[Node]]:
    """Return the nodes that one set of outputs alone needs, for each, in order."""
    every = []
    for outputs in ends:
        needed, open_ = dict[int, Node](), list(outputs)
        while open_:
            maker = open_.pop().producer
            if maker is not None and id(maker) not in needed:
                needed[id(maker)] = maker
                open_ += [v for v in maker.inputs if v is not None]
        every.append(needed)
    found = []
    for at, needed in enumerate(every):
        others = {key for i, other in enumerate(every) if i != at for key in other}
        found.append([n for n in graph.nodes if id(n) in needed and id(n) not in others])
    return found


def _body(
    graph: Graph, nodes: Sequence[Node], outputs: Sequence[Value], faces: Sequence[Value]
) -> Graph:
    """Return a body with copies of nodes, which reads all else from around it."""
    scope: dict[int, Value] = {}
    for node in nodes:
        for made in node.outputs:
            if made is not None:
                scope[id(made)] = clone_value(made, graph.names, fresh=True)
    body = Graph(graph.names.fresh("net"), graph.names)
    for node in nodes:
        body.add(clone_node(node, graph.names, scope, fresh=True), claim=False)
    ends: list[Value] = []
    for value, face in zip(outputs, faces, strict=True):
        end = scope.get(id(value))
        if end is None or any(end is other for other in ends):
            name = f"{value.name}_same"
            end = body.add_op("Identity", [value if end is None else end], name=name).output
        end.take_type(face)
        ends.append(end)
    body.set_outputs(ends)
    return body


def told_apart(teacher: Model, names: Mapping[str, Sequence[str]]) -> Model:
    """Return a teacher that says everything under several names.

    Args:
        teacher: Not changed.
        names: Further names of each of its outputs.
    """
    clone = teacher.clone()
    outputs = list(clone.graph.outputs)
    for value in clone.graph.outputs:
        for name in names.get(value.name, ()):
            copy = Value(name)
            copy.take_type(value)
            clone.graph.add(Node("Identity", [value], [copy], name=f"{name}_same"), claim=False)
            outputs.append(copy)
    clone.graph.set_outputs(outputs)
    clone.sort()
    return clone

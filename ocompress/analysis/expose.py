"""Making inner values visible: which are outputs of what, values in bodies included."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from ocompress.ir import DType, Graph, Model, Node, Value, query


@dataclass(frozen=True)
class Probe:
    """Where a value can be seen.

    Attributes:
        name: Name of the value in the model.
        value: The value of the main graph that shows it; None if it is a formal input.
    """

    name: str
    value: Value | None


def expose(model: Model, names: list[str]) -> list[Probe]:
    """Find where values can be seen, editing `model` for those inside bodies.

    A value in a body of `If` becomes one more output of the node, with an empty tensor in the
    other branch; one in a body of `Loop` or `Scan` becomes a scan output where its shape is
    static. A name that several bodies use, or that none does, is left out.

    Args:
        model: A clone that may be edited; call `model.sort()` is not needed afterwards.
        names: Names of values of the main graph or of bodies.
    """
    places = _places(model.graph)
    found = []
    for name in names:
        if name not in places:
            continue
        value, chain = places[name]
        if value.constant is not None or (value.dtype is not None and not value.dtype.is_float):
            continue
        if value.dtype is None and value.type_proto is not None:
            continue  # a sequence or a map
        if value.is_input and not chain:
            found.append(Probe(name, None))
            continue
        shown = _thread_out(value, chain, model)
        if shown is not None:
            found.append(Probe(name, shown))
    return found


Chain = tuple[tuple[Node, Graph], ...]
"""The control-flow nodes around a value with the body each, outermost first."""


def _places(graph: Graph) -> dict[str, tuple[Value, Chain]]:
    found: dict[str, tuple[Value, Chain]] = {}
    count: Counter[str] = Counter()
    pending: list[tuple[Graph, Chain]] = [(graph, ())]
    while pending:
        present, chain = pending.pop(0)
        made = [v for n in present.nodes for v in n.outputs if v is not None]
        for value in [*present.inputs, *made]:
            count[value.name] += 1
            found[value.name] = (value, chain)
        for node in present.nodes:
            pending.extend((body, (*chain, (node, body))) for body in node.subgraphs())
    return {name: place for name, place in found.items() if count[name] == 1}


def _thread_out(value: Value, chain: Chain, model: Model) -> Value | None:
    for node, body in reversed(chain):
        if node.is_op("If") and value.dtype is not None:
            value = _out_of_if(node, body, value, model)
        elif node.is_op("Loop", "Scan") and value.dtype is not None and query.is_static(value):
            value = _out_of_loop(node, body, value, model)
        else:
            return None
    return value


def _out_of_if(node: Node, body: Graph, value: Value, model: Model) -> Value:
    dtype = value.dtype or DType.FLOAT
    for branch in node.subgraphs():
        if branch is body:
            shown = _copy(branch, value)
        else:
            empty = np.zeros((0,) * max(1, value.rank or 1), dtype.numpy)
            constant = branch.constant("absent", empty)
            shown = _copy(branch, constant)
        shown.set_type(dtype, None)
        branch.set_outputs([*branch.outputs, shown])
    return _new_output(node, value, model, (None,) * value.rank if value.rank else None)


def _out_of_loop(node: Node, body: Graph, value: Value, model: Model) -> Value:
    shown = _copy(body, value)
    shown.set_type(value.dtype, value.shape)
    body.set_outputs([*body.outputs, shown])
    for name in ("scan_output_axes", "scan_output_directions"):
        given = node.attr(name)
        if given is not None:
            node.set_attr(name, [*given, 0])
    return _new_output(node, value, model, (None, *(value.shape or ())))


def _copy(graph: Graph, value: Value) -> Value:
    return graph.add_op("Identity", [value], name="shown").output


def _new_output(
    node: Node, value: Value, model: Model, shape: tuple[int | str | None, ...] | None
) -> Value:
    made = Value(model.graph.names.fresh("shown"), dtype=value.dtype, shape=shape)
    made.producer = node
    node.outputs.append(made)
    return made

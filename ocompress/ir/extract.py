"""Some nodes of a model as a model of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ocompress.ir.clone import clone_node, clone_value
from ocompress.ir.graph import Graph, reads
from ocompress.ir.model import Model
from ocompress.ir.node import Node
from ocompress.ir.value import Value


def extract(
    model: Model, nodes: Sequence[Node], inputs: Iterable[Value], outputs: Iterable[Value]
) -> Model:
    """Return a model of some nodes of a main graph; it takes time in these nodes only.

    Args:
        model: Not changed; arrays of constants are shared.
        nodes: The nodes, in topological order.
        inputs: Values of the main graph that the new model is given.
        outputs: Values that it makes.

    Returns:
        A model in which nodes and values keep their names. Inputs with a default that the nodes
        read and that are not given stay inputs.
    """
    part = Graph(model.graph.name)
    names = part.names
    scope: dict[int, Value] = {}
    for value in inputs:
        twin = Value(value.name)
        twin.take_type(value)
        twin.is_input = True
        names.claim(value.name)
        part.inputs.append(twin)
        scope[id(value)] = twin
    for node in nodes:
        for value in reads(node):
            if id(value) not in scope and value.data is not None:
                scope[id(value)] = twin = clone_value(value, names)
                names.claim(value.name)
                part.initializers[twin.name] = twin
                if twin.is_input:
                    part.inputs.append(twin)
        for made in node.outputs:
            if made is not None:
                scope[id(made)] = clone_value(made, names)
                names.claim(made.name)
        part.add(clone_node(node, names, scope))
    part.set_outputs(scope[id(v)] for v in outputs)
    found = Model(part, dict(model.opsets))
    found.functions = list(model.functions)
    found.shell.ir_version = model.shell.ir_version
    return found

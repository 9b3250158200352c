"""Several variants of a model as one, in which what they have in common is computed once."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from ocompress.ir import onnx_api
from ocompress.ir.graph import Graph
from ocompress.ir.model import Model
from ocompress.ir.node import Node
from ocompress.ir.value import Value


def joined(models: Sequence[Model]) -> tuple[Model, list[dict[str, str]]] | None:
    """Return one model that makes the outputs of all of them from one feed.

    Nodes with the same operator, attributes and inputs become one (value numbering, Cocke and
    Schwartz, 1970); attributes and constants are the same if they are the same object, as those
    of clones are. So variants that differ in one layer share what comes before it, and weights.

    Args:
        models: Variants of one model, sorted; not changed. All take the same inputs.

    Returns:
        The model, and for each variant the name in it of each of its outputs; None where that
        would not compute the same: bodies of control flow, random numbers, different operator
        sets or functions.
    """
    first = models[0]
    if any(m.opsets != first.opsets or m.functions != first.functions for m in models):
        return None
    if any(_inputs(m) != _inputs(first) for m in models):
        return None
    nodes = (node for model in models for node in model.graph.nodes)
    if any(node.bodies or onnx_api.is_random(node) or node.is_op("Dropout") for node in nodes):
        return None
    whole = Model(Graph(first.graph.name), dict(first.opsets))
    whole.functions = list(first.functions)
    whole.shell.CopyFrom(first.shell)
    numbering = _Numbering(whole.graph)
    names = [numbering.take(model.graph) for model in models]
    whole.graph.set_outputs(numbering.outputs.values())
    return whole, names


def _inputs(model: Model) -> list[tuple[str, int | None]]:
    return [(v.name, None if v.data is None else id(v.data)) for v in model.graph.inputs]


class _Numbering:
    """Gives what computes the same one value."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._known: dict[Hashable, list[Value | None]] = {}
        self.outputs: dict[str, Value] = {}

    def take(self, graph: Graph) -> dict[str, str]:
        """Add a graph; return what its outputs are called now."""
        scope: dict[int, Value] = {}
        for value in (*graph.inputs, *graph.initializers.values()):
            scope[id(value)] = self._outer(value)
        for node in graph.nodes:
            made = self._node(node, scope)
            scope.update(
                (id(v), twin)
                for v, twin in zip(node.outputs, made, strict=True)
                if v is not None and twin is not None
            )
        found = {value.name: scope[id(value)] for value in graph.outputs}
        self.outputs.update((value.name, value) for value in found.values())
        return {name: value.name for name, value in found.items()}

    def _outer(self, value: Value) -> Value:
        """Return an input or a constant."""
        key = ("input", value.name) if value.is_input else ("constant", id(value.data))
        if key not in self._known:
            twin = Value(self._graph.names.fresh(value.name), data=value.data)
            if value.is_input:
                twin.is_input = True
                self._graph.inputs.append(twin)
                twin.take_type(value)
            if value.data is not None:
                self._graph.initializers[twin.name] = twin
            self._known[key] = [twin]
        found = self._known[key][0]
        assert found is not None
        return found

    def _node(self, node: Node, scope: dict[int, Value]) -> list[Value | None]:
        inputs = [None if v is None else scope[id(v)] for v in node.inputs]
        attributes = sorted((k, id(a)) for k, a in node.attributes.items())  # clones share them
        made = tuple(v is not None for v in node.outputs)
        what = (node.domain, node.op_type, node.overload, made, *attributes)
        key = (what, *(None if v is None else id(v) for v in inputs))
        if key not in self._known:
            fresh = self._graph.names.fresh
            outputs = [None if v is None else Value(fresh(v.name)) for v in node.outputs]
            twin = Node(node.op_type, inputs, outputs, domain=node.domain)
            twin.overload = node.overload
            twin.name = fresh(node.label)
            for name, attribute in node.attributes.items():
                twin.set_attr(name, attribute)
            for value, old in zip(outputs, node.outputs, strict=True):
                if value is not None and old is not None and old.is_output:
                    value.take_type(old)  # of all others the runtime finds the types
            self._graph.add(twin, claim=False)
            self._known[key] = outputs
        return self._known[key]

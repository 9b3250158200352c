"""Which facets of a model a pass really changed, and what it says that is not so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from ocompress.ir import Facet, Model, to_proto
from ocompress.ir.graph import Graph
from ocompress.ir.node import Node
from ocompress.ir.text import digest
from ocompress.ir.value import Value
from ocompress.pipeline import Outcome, Pass


@dataclass
class Facets:
    """What there is of each facet, in the order of the graph; names are in none but `names`."""

    topology: list[object] = field(default_factory=list)
    weights: list[object] = field(default_factory=list)
    types: list[object] = field(default_factory=list)
    names: list[object] = field(default_factory=list)
    opset: list[object] = field(default_factory=list)
    metadata: list[object] = field(default_factory=list)
    storage: list[object] = field(default_factory=list)

    def of(self, facet: Facet) -> list[object]:
        found = getattr(self, str(facet.name).lower())
        assert isinstance(found, list)
        return found


class _Reader:
    """Numbers values as it meets them, so that their names do not count."""

    def __init__(self) -> None:
        self.found = Facets()
        self._numbers: dict[int, int] = {}
        self._kept: list[Value] = []
        """Held, so that no id is used again."""

    def graph(self, graph: Graph) -> None:
        self.found.metadata.append((graph.doc, sorted(graph.metadata.items())))
        self.found.topology.append(("inputs", [self.value(v) for v in graph.inputs]))
        for node in graph.nodes:
            self.node(node)
        self.found.topology.append(("outputs", [self.value(v) for v in graph.outputs]))
        for value in graph.initializers.values():
            if id(value) not in self._numbers and value.data is not None:  # read by nobody
                self.found.weights.append(digest(value.data))

    def node(self, node: Node) -> None:
        inputs = [self.value(v) for v in node.inputs]
        attributes = sorted(
            (name, proto.SerializeToString(deterministic=True))
            for name, proto in node.attributes.items()
        )
        what = node.op_type, node.domain, node.overload, attributes, sorted(node.bodies)
        self.found.names.append(node.name)
        self.found.metadata.append((node.doc, sorted(node.metadata.items())))
        for body in node.subgraphs():
            self.graph(body)
        self.found.topology.append((what, inputs, [self.value(v) for v in node.outputs]))

    def value(self, value: Value | None) -> object:
        """Return the number of a value and whether callers may give it."""
        if value is None:
            return None
        if id(value) not in self._numbers:
            self._numbers[id(value)] = len(self._numbers)
            self._kept.append(value)
            self.found.names.append(value.name)
            self.found.metadata.append((value.doc, sorted(value.metadata.items())))
            if value.data is not None:
                self.found.weights.append(digest(value.data))  # of its type and shape, too
                self.found.storage.append(value.file_bytes)
            else:
                self.found.types.append((value.name, value.dtype, value.shape))
        constant = value.data is not None
        return self._numbers[id(value)], constant, value.is_input


def facets_of(model: Model) -> Facets:
    """Take a model apart."""
    reader = _Reader()
    reader.graph(model.graph)
    found, shell = reader.found, model.shell
    for function in model.functions:
        calls = [(n.op_type, n.domain, [*n.input], [*n.output]) for n in function.node]
        found.topology.append((function.name, [*function.input], [*function.output], calls))
        found.metadata.append(function.SerializeToString(deterministic=True))
    found.opset += [sorted(model.opsets.items()), shell.ir_version]
    rest = type(shell)()
    rest.CopyFrom(shell)
    for name in ("ir_version", "graph", "opset_import", "functions"):
        rest.ClearField(name)
    found.metadata.append(rest.SerializeToString(deterministic=True))
    return found


def changed(before: Model, after: Model) -> Facet:
    """Return the facets in which two models differ.

    Where the graph is another one, the rest of it cannot be laid side by side. Then constants
    that were not there before count as other weights, names and texts that were not as others, and
    types as others where a value of the same name has another one.
    """
    old, new = facets_of(before), facets_of(after)
    found = Facet.NONE
    same_graph = old.topology == new.topology
    for facet in Facet:
        left, right = old.of(facet), new.of(facet)
        if facet is Facet.TOPOLOGY or facet is Facet.OPSET:
            differs = left != right
        elif facet is Facet.TYPES:
            differs = _retyped(left, right, by_name=not same_graph)
        elif facet is Facet.STORAGE:  # of what is the same otherwise
            differs = same_graph and old.weights == new.weights and left != right
        elif same_graph:
            differs = left != right
        else:
            differs = bool({repr(x) for x in right} - {repr(x) for x in left} - _EMPTY)
        found |= facet if differs else Facet.NONE
    return found


_EMPTY = {repr(("", []))}
"""The text of what has none."""


def _retyped(left: list[object], right: list[object], *, by_name: bool) -> bool:
    if not by_name:
        return [t[1:] for t in _triples(left)] != [t[1:] for t in _triples(right)]
    known = Counter(name for name, *_ in _triples(left))
    types = {name: rest for name, *rest in _triples(left) if known[name] == 1}
    return any(types.get(name, rest) != rest for name, *rest in _triples(right))


def _triples(items: list[object]) -> Iterator[tuple[object, ...]]:
    for item in items:
        assert isinstance(item, tuple)
        yield item


def everything(model: Model) -> bytes:
    """Return all that a model holds."""
    sizes = repr(facets_of(model).storage).encode()
    return bytes(to_proto(model, packed=False).SerializeToString(deterministic=True)) + sizes


def untruths(item: type[Pass], outcome: Outcome, before: Model, after: Model) -> list[str]:
    """Return what an outcome says that is not so, one sentence each."""
    real, said = changed(before, after), outcome.changed
    found = []
    if real & ~said:
        found.append(f"{item.name} changed {real & ~said} and does not say so")
    if said and everything(before) == everything(after):
        found.append(f"{item.name} says that it changed {said}, and nothing is different")
    if not said and everything(before) != everything(after):
        found.append(f"{item.name} says nothing, and the model is another one")
    if said and not said & real:
        found.append(f"{item.name} says {said}, where {real} changed")
    if said & ~item.may_change:
        found.append(f"{item.name} changed {said & ~item.may_change}, which it may not")
    return found

"""Graphs: the main one of a model, and the bodies of If, Loop and Scan."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from onnx import TensorAnnotation

from ocompress.errors import InvalidModelError
from ocompress.ir.names import Names
from ocompress.ir.node import Node
from ocompress.ir.value import Shape, Value


class Graph:
    """Nodes in topological order, with the values between them.

    New nodes are appended; `sort` puts them where they belong, and the pass manager calls it
    after every pass. A body may read values of the graphs around it directly.

    Attributes:
        inputs: Formal inputs.
        initializers: Constants by name, in the order of the file.
        annotations: Quantization annotations of the file.
        names: The model's register of names of values and nodes.
        sorts: Counts how often nodes were put in order, for what follows that order.
    """

    def __init__(self, name: str, names: Names | None = None) -> None:
        """Make an empty graph; bodies share the `names` of the model."""
        self.name = name
        self.doc = ""
        self.metadata: dict[str, str] = {}
        self.inputs: list[Value] = []
        self.initializers: dict[str, Value] = {}
        self.annotations: list[TensorAnnotation] = []
        self.names = names or Names()
        self._nodes: dict[int, Node] = {}
        self._outputs: list[Value] = []
        self.sorts = 0

    # -- reading ----------------------------------------------------------------------------

    @property
    def nodes(self) -> list[Node]:
        """The nodes, as a list that stays the same while the graph is edited."""
        return list(self._nodes.values())

    def __len__(self) -> int:
        """Count the nodes of this graph, bodies not included."""
        return len(self._nodes)

    @property
    def outputs(self) -> tuple[Value, ...]:
        """Formal outputs."""
        return tuple(self._outputs)

    def walk(self) -> Iterator[tuple[Graph, Node]]:
        """Iterate over the nodes of this graph and, after each, of its bodies, recursively."""
        for node in self.nodes:
            yield self, node
            for body in node.subgraphs():
                yield from body.walk()

    def graphs(self) -> Iterator[Graph]:
        """Iterate over this graph and every body in it."""
        yield self
        for node in self.nodes:
            for body in node.subgraphs():
                yield from body.graphs()

    def written(self, *, coded: bool = True) -> Iterator[Value]:
        """Iterate over the constants that a file of this graph holds, bodies not included.

        They are its constants, and the leaves of those that are packed.

        Args:
            coded: Whether leaves take the place of a constant that they merely code.
        """

        def is_whole(value: Value) -> bool:
            return value.packed is None or (value.packed.is_code and not coded)

        known = {id(v.data) for v in self.initializers.values() if is_whole(v)}
        for value in self.initializers.values():
            if is_whole(value):
                yield value
        for value in self.initializers.values():
            for leaf in value.packed.leaves if value.packed and not is_whole(value) else ():
                if id(leaf.data) not in known:
                    known.add(id(leaf.data))
                    yield leaf

    # -- editing ----------------------------------------------------------------------------

    def add(self, node: Node, *, claim: bool = True) -> Node:
        """Append a node that is in no graph yet; ONNX Runtime wants node names to be unique.

        Args:
            node: The node.
            claim: Whether to take its name in the register (not for a copied register).
        """
        self._nodes[id(node)] = node
        node.graph = self
        if claim and node.name:
            self.names.claim(node.name)
        return node

    def add_op(
        self,
        op_type: str,
        inputs: Sequence[Value | None],
        *,
        name: str,
        outputs: int = 1,
        domain: str = "",
        attrs: dict[str, Any] | None = None,
    ) -> Node:
        """Append a new node with fresh outputs; its name and theirs start with `name`."""
        hints = [name] if outputs == 1 else [f"{name}_{i}" for i in range(outputs)]
        values = [Value(self.names.fresh(hint)) for hint in hints]
        label = values[0].name if outputs == 1 else self.names.fresh(name)
        return self.add(Node(op_type, inputs, values, domain=domain, name=label, attrs=attrs))

    def constant(self, name: str, array: np.ndarray) -> Value:
        """Add an initializer, any shape; its name starts with `name` and is made unique."""
        value = Value(self.names.fresh(name), data=np.asarray(array))
        self.initializers[value.name] = value
        return value

    def remove(self, *nodes: Node) -> None:
        """Take nodes out and detach their inputs and bodies; nobody may read their outputs."""
        for node in nodes:
            for body in node.subgraphs():
                body.remove(*body.nodes)
                body.set_outputs([])
            node.set_inputs([])
            for name in (node.name, *(v.name for v in node.outputs if v is not None)):
                self.names.release(name)
            del self._nodes[id(node)]
            node.graph = None

    def set_outputs(self, values: Iterable[Value]) -> None:
        """Replace the formal outputs."""
        for value in self._outputs:
            value.output_count -= 1
        self._outputs = list(values)
        for value in self._outputs:
            value.output_count += 1

    def rename(self, value: Value, name: str) -> None:
        """Give a value of this graph a name that must be free."""
        self.names.claim(name)
        self.names.release(value.name)
        if self.initializers.get(value.name) is value:
            self.initializers = {
                (name if v is value else key): v for key, v in self.initializers.items()
            }
        value.name = name

    def sort(self) -> None:
        """Order the nodes so that producers come first, keeping the present order otherwise.

        Raises:
            InvalidModelError: If the graph has a cycle.
        """
        for node in self.nodes:
            for body in node.subgraphs():
                body.sort()
        self._nodes = {id(node): node for node in in_order(self.nodes, self._producers)}
        self.sorts += 1

    def _producers(self, node: Node) -> Iterator[Node]:
        for value in reads(node):
            producer = value.producer
            if producer is not None and producer.graph is self:
                yield producer


def in_order(nodes: Iterable[Node], makers: Callable[[Node], Iterable[Node]]) -> list[Node]:
    """Return nodes and what they need, each behind what it needs, else as they come.

    Args:
        nodes: Some nodes of a graph.
        makers: Returns the nodes that have to stand before a node.

    Raises:
        InvalidModelError: If there is a cycle.
    """
    order: dict[int, Node] = {}
    open_: set[int] = set()
    for root in nodes:
        stack = [root]
        while stack:
            node = stack[-1]
            if id(node) in order:
                stack.pop()
                continue
            missing = [p for p in makers(node) if id(p) not in order]
            if not missing:
                order[id(node)] = node
                open_.discard(id(node))
                stack.pop()
            elif id(node) in open_:
                msg = f"the graph has a cycle through node {node.label!r}"
                raise InvalidModelError(msg)
            else:
                open_.add(id(node))
                stack.extend(reversed(missing))
    return list(order.values())


def reads(node: Node) -> Iterator[Value]:
    """Iterate over every value a node reads, those captured by its bodies included."""
    for value in node.inputs:
        if value is not None:
            yield value
    for body in node.subgraphs():
        yield from body.outputs
        for inner in body.nodes:
            yield from reads(inner)


def shape_of(value: Value | None) -> Shape | None:
    """Return the shape of a value, None when it is omitted or unknown."""
    return None if value is None else value.shape

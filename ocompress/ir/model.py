"""Models: a graph and everything around it that a file carries."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from onnx import FunctionProto, ModelProto

from ocompress.errors import InvalidModelError
from ocompress.ir.dtypes import DType
from ocompress.ir.graph import Graph
from ocompress.ir.node import Node
from ocompress.ir.strings import decoded
from ocompress.ir.value import Value


class Model:
    """What an ONNX file holds.

    Attributes:
        graph: The main graph.
        opsets: Version of each imported operator set, by domain (`""` is standard ONNX).
        functions: Model-local functions, in ONNX's own form.
        shell: Everything else of the file (producer, versions, training info, metadata).
    """

    def __init__(self, graph: Graph, opsets: dict[str, int]) -> None:
        """Make a model around a graph."""
        self.graph = graph
        self.opsets = opsets
        self.functions: list[FunctionProto] = []
        self.shell = ModelProto()
        self._labels: dict[str, Node] = {}

    @property
    def opset(self) -> int:
        """Version of the standard operator set, 0 when it is not imported."""
        return self.opsets.get("", 0)

    @property
    def metadata(self) -> dict[str, str]:
        """A copy of the file's `metadata_props`."""
        return {decoded(p.key): decoded(p.value) for p in self.shell.metadata_props}

    def nodes(self) -> Iterator[tuple[Graph, Node]]:
        """Iterate over every node of the main graph and of all bodies, with its graph."""
        return self.graph.walk()

    def labelled(self, label: str) -> Node | None:
        """Return the first node that messages call so, of the main graph or a body; None if none.

        Many may be looked up while the graph is edited: nodes are gone through again only for a
        label that is not known.
        """
        known = self._labels.get(label)
        if known is None or known.graph is None or known.label != label:
            self._labels = {}
            for _, node in self.nodes():
                self._labels.setdefault(node.label, node)
            known = self._labels.get(label)
        return known

    def weights(self) -> Iterator[np.ndarray]:
        """Iterate over the distinct arrays of all constants, as a file holds them."""
        seen: set[int] = set()
        for graph in self.graph.graphs():
            for value in graph.written():
                if value.data is not None and id(value.data) not in seen:
                    seen.add(id(value.data))
                    yield value.data

    @property
    def weight_bytes(self) -> int:
        """Bytes of all constants in a file, where several 2-bit or 4-bit elements share one."""
        return sum(-(-w.size * DType.of(w).bits // 8) for w in self.weights())

    @property
    def loaded_bytes(self) -> int:
        """Bytes of all constants once a file is loaded and packed ones are computed."""
        arrays = {
            id(v.data): v.data
            for graph in self.graph.graphs()
            for v in graph.initializers.values()
            if v.data is not None
        }
        return sum(array.nbytes for array in arrays.values())

    def clone(self) -> Model:
        """Return an independent copy; the arrays of constants are read-only and shared."""
        from ocompress.ir.clone import clone_graph  # cycle: cloning builds models of this class

        other = Model(clone_graph(self.graph, self.graph.names.copy()), dict(self.opsets))
        other.functions = list(self.functions)
        other.shell.CopyFrom(self.shell)
        return other

    def __reduce__(self) -> tuple[Callable[[Any], Model], tuple[Any]]:
        """Pickle and copy a model by its snapshot: objects are known by identity otherwise.

        Raises:
            ValueError: If it is larger than protobuf allows (2 GiB); hand over a file then.
        """
        from ocompress.ir.snapshot import Snapshot  # cycle: reading makes models

        return Snapshot.restored, (Snapshot.of(self),)

    def alias(self) -> Model:
        """Return another model of the very same content, nodes included; `become` parts them."""
        other = Model(self.graph, self.opsets)
        other.become(self)
        return other

    def become(self, other: Model) -> None:
        """Take over the content of `other`, which must not be used afterwards."""
        self.graph, self.opsets = other.graph, other.opsets
        self.functions, self.shell = other.functions, other.shell
        self._labels = {}

    def sort(self) -> None:
        """Sort every graph topologically."""
        self.graph.sort()

    def domains(self) -> set[str]:
        """Return the operator domains that are used, `ai.onnx` for the standard one.

        The model's own functions count as what they call.
        """
        own = {(f.domain, f.name) for f in self.functions}
        used = {(n.domain, n.op_type) for _, n in self.nodes()}
        used |= {(n.domain, n.op_type) for f in self.functions for n in f.node}
        return {domain or "ai.onnx" for domain, op_type in used if (domain, op_type) not in own}

    def verify(self) -> None:
        """Check that edges, producers and names agree; cheap, for use after every pass.

        Raises:
            InvalidModelError: Naming the value or node that is wrong.
        """
        _Verifier().graph(self.graph)


class _Verifier:
    """Walks graphs with what may be read so far, by name.

    A name has one meaning at a time: else a body could read something other than what its name
    says once it is written to a file.
    """

    def __init__(self) -> None:
        self._visible: dict[str, Value] = {}

    def graph(self, graph: Graph) -> None:
        own = list({id(v): v for v in (*graph.inputs, *graph.initializers.values())}.values())
        for value in own:
            self._define(value, f"graph {graph.name!r}")
        for node in graph.nodes:
            own += self._node(node)
        for value in graph.outputs:
            if self._visible.get(value.name) is not value:
                msg = f"output {value.name!r} of graph {graph.name!r} is made by no node"
                raise InvalidModelError(msg)
        for value in own:  # what a body makes is not visible outside it
            del self._visible[value.name]

    def _node(self, node: Node) -> list[Value]:
        for index, value in enumerate(node.inputs):
            if value is not None and self._visible.get(value.name) is not value:
                msg = f"input {index} of node {node.label!r} ({value.name!r}) is not defined"
                raise InvalidModelError(msg)
        for body in node.subgraphs():
            self.graph(body)
        made = [v for v in node.outputs if v is not None]
        for value in made:
            self._define(value, repr(node.label), made_here=value.producer is node)
        return made

    def _define(self, value: Value, maker: str, *, made_here: bool = True) -> None:
        if value.name in self._visible or not made_here:
            msg = f"value {value.name!r} is made twice, the second time by {maker}"
            raise InvalidModelError(msg)
        self._visible[value.name] = value

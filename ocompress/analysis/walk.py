"""Walking through a model segment by segment, so that it can be changed on the way.

What a layer reads in a model whose first half has been compressed already is known only once that
half has been run. A walk runs every node once: it stops before a layer, holds what the nodes to
come will read (the frontier), and goes on after the layer has been changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from ocompress.analysis.shelf import Shelf
from ocompress.io.dataset import Dataset, Feeds
from ocompress.ir import DType, Model, Node, Value, edit, reads
from ocompress.runtime import Session

MOST_HELD = 384 << 20
"""Bytes of the frontier that are held in memory; more goes to disk."""
_CALM = {"session.intra_op.allow_spinning": "0"}


class Walk:
    """A model on its way through some data.

    Nodes that have been run may be changed no more, those to come may.

    Attributes:
        model: What is walked through; nodes are in topological order.
        feeds: Number of feeds.
    """

    def __init__(self, model: Model, data: Dataset, *, most_bytes: int = MOST_HELD) -> None:
        """Stop before the first node.

        Args:
            model: The model; what is changed in it counts from then on.
            data: Feeds.
            most_bytes: Bytes held in memory.
        """
        self.model = model
        self.feeds = len(data)
        self._shelf = Shelf(most_bytes)
        self._done: dict[int, Node] = {}
        inputs = [v for v in model.graph.inputs if v.data is None]
        self._frontier = {v.name: v for v in inputs if v.users or v.is_output}
        defaults = {v.name: v for v in model.graph.inputs if v.data is not None and v.users}
        held: set[tuple[str, int]] = set()
        for at, feeds in enumerate(data):
            self._frontier.update({n: v for n, v in defaults.items() if n in feeds})
            for name in (n for n in self._frontier if n in feeds):
                self._shelf.put((name, at), feeds[name])
                held.add((name, at))
        for name, value in defaults.items():
            missing = [at for at in range(self.feeds) if (name, at) not in held]
            if name in self._frontier and value.data is not None:
                for at in missing:  # left out of this feed, given in another one
                    self._shelf.put((name, at), value.data)

    def has(self, value: Value) -> bool:
        """Whether the value is held."""
        return self._frontier.get(value.name) is value

    def ahead(self, node: Node) -> bool:
        """Whether a node of the main graph is still to be run."""
        return id(node) not in self._done

    def held(self, value: Value, at: int) -> np.ndarray:
        """Return a value of the frontier as feed number `at` made it.

        Raises:
            KeyError: If it is not held.
        """
        return self._shelf.get((value.name, at))

    def before(self, stop: Node) -> None:
        """Run all nodes before one of the main graph; what it reads is held then.

        Raises:
            ValueError: If the node was run already or is not in the main graph.
            DataError: If the feeds do not fit the model's inputs.
            RuntimeFailureError: If ONNX Runtime cannot run a segment.
        """
        self._advance(self._todo(stop))

    def past(self, stop: Node) -> None:
        """Run all nodes up to and including one of the main graph; raises what `before` does."""
        self._advance([*self._todo(stop), stop])

    def peek(self, values: Sequence[Value]) -> Iterator[dict[str, np.ndarray]]:
        """Run ahead as far as some values need, without moving; yields them feed by feed.

        Raises:
            RuntimeFailureError: If ONNX Runtime cannot run that.
        """
        wanted = [v for v in values if not self.has(v)]
        segment = self._segment(self._needed(wanted), wanted) if wanted else None
        for at in range(self.feeds):
            made = self._run(segment, at, wanted) if segment is not None else {}
            yield {v.name: made[v.name] if v.name in made else self.held(v, at) for v in values}

    def _todo(self, stop: Node) -> list[Node]:
        nodes = [n for n in self.model.graph.nodes if id(n) not in self._done]
        places = [at for at, node in enumerate(nodes) if node is stop]
        if not places:
            msg = f"node {stop.label!r} does not lie ahead"
            raise ValueError(msg)
        return nodes[: places[0]]

    def _needed(self, values: Iterable[Value]) -> list[Node]:
        """Return the nodes to come that values depend on, in order."""
        needed: set[int] = set()
        open_ = list(values)
        while open_:
            maker = open_.pop().producer
            if maker is not None and id(maker) not in self._done and id(maker) not in needed:
                needed.add(id(maker))
                open_.extend(reads(maker))
        return [n for n in self.model.graph.nodes if id(n) in needed]

    def _advance(self, nodes: Sequence[Node]) -> None:
        if not nodes:
            return
        taken = {id(n) for n in nodes}
        rest = [n for n in self.model.graph.nodes if id(n) not in self._done and id(n) not in taken]
        live = {id(v): v for node in rest for v in reads(node) if v.data is None or self.has(v)}
        live.update({id(v): v for v in self.model.graph.outputs})
        made = [v for n in nodes for v in n.outputs if v is not None and id(v) in live]
        if made:
            segment = self._segment(nodes, made)
            for at in range(self.feeds):
                for name, array in self._run(segment, at, made).items():
                    self._shelf.put((name, at), array)
        for name, value in list(self._frontier.items()):
            if id(value) not in live:
                del self._frontier[name]
                for at in range(self.feeds):
                    self._shelf.drop((name, at))
        self._frontier.update({v.name: v for v in made})
        self._done.update({id(n): n for n in nodes})

    def _run(self, segment: _Segment, at: int, wanted: Sequence[Value]) -> Feeds:
        feeds = {n: self._shelf.get((n, at)) for n in segment.inputs if (n, at) in self._shelf}
        return segment.session(feeds).run(feeds, [v.name for v in wanted])

    def _segment(self, nodes: Sequence[Node], wanted: Sequence[Value]) -> _Segment:
        inputs = {
            v.name
            for n in nodes
            for v in reads(n)
            if v.name in self._frontier and self._frontier[v.name] is v
        }
        return _Segment(self.model, nodes, sorted(inputs), [v.name for v in wanted])


class _Segment:
    """Some nodes of a model as a model of its own."""

    def __init__(
        self, model: Model, nodes: Sequence[Node], inputs: Sequence[str], outputs: Sequence[str]
    ) -> None:
        self.inputs = inputs
        self._session: Session | None = None
        chosen = {id(n) for n in nodes}
        places = {at for at, node in enumerate(model.graph.nodes) if id(node) in chosen}
        self._clone = model.clone()
        graph = self._clone.graph
        values = {v.name: v for v in graph.inputs}
        values.update({v.name: v for n in graph.nodes for v in n.outputs if v is not None})
        graph.set_outputs([values[name] for name in outputs])
        gone = [n for at, n in enumerate(graph.nodes) if at not in places]
        graph.remove(*reversed(gone))
        graph.inputs = [v for v in graph.inputs if v.data is not None or v.name in inputs]
        for name in inputs:
            value = values[name]
            if not value.is_input:
                graph.names.claim(name)
                value.producer = None
                value.is_input = True
                graph.inputs.append(value)
        edit.remove_dead(graph)

    def session(self, feeds: Feeds) -> Session:
        """Load it, once; the feeds tell the types of its inputs where the model does not."""
        if self._session is None:
            for value in self._clone.graph.inputs:
                array = feeds.get(value.name)
                if isinstance(array, np.ndarray) and value.data is None and not _is_optional(value):
                    value.set_type(DType.of(array), (None,) * array.ndim)
            made = (v for node in self._clone.graph.nodes for v in node.outputs)
            for inner in made:
                if inner is not None and inner.dtype is not None:
                    inner.set_type(inner.dtype, None)  # what was cut has other extents
            self._session = Session(self._clone, threads=0, config=_CALM)
        return self._session


def _is_optional(value: Value) -> bool:
    """Whether an input may be left out of a feed."""
    kind = value.type_proto
    return kind is not None and kind.WhichOneof("value") == "optional_type"

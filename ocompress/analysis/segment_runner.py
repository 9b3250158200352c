"""Walking through a model segment by segment, so that it can be changed on the way.

What a layer reads in a model whose first half has been compressed already is known only once that
half has been run. A walk runs every node once: it stops before a layer, holds what the nodes to
come will read (the frontier), and goes on after the layer has been changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from ocompress.analysis.spill_store import SpillStore
from ocompress.analysis.staged import Segment
from ocompress.io.dataset import Dataset, Feeds
from ocompress.ir import Model, Node, Value, in_order, reads
from ocompress.ir.extract import extract

MOST_HELD = 384 << 20
"""Bytes of the frontier that are held in memory; more goes to disk."""


class Walk:
    """A model on its way through some data.

    Nodes that have been run may be changed no more, those to come may. Nodes that are put in run
    right before the first that needs them, so nobody has to sort the graph for them.

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
        self._shelf = SpillStore(most_bytes)
        self._done: set[int] = set()  # ids of nodes, those of bodies included
        self._passed: list[Node] = []  # keeps them, and so their ids, from being used again
        self._sorts = -1
        self._ahead: list[Node] = []
        self._place: dict[int, int] = {}
        self._next = 0
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

    def is_gone(self, value: Value) -> bool:
        """Whether a value was let go: it is not held, and what makes it was run already."""
        maker = value.producer
        return not self.has(value) and (maker is None or id(maker) in self._done)

    def ahead(self, node: Node) -> bool:
        """Whether a node is still to be run."""
        return id(node) not in self._done

    def held(self, value: Value, at: int) -> np.ndarray:
        """Return a value of the frontier as feed number `at` made it.

        Raises:
            KeyError: If it is not held.
        """
        return self._shelf.get((value.name, at))

    def comes_before(self, value: Value, stop: Node) -> bool:
        """Whether a value that something behind a node reads is held once the walk waits there."""
        if self.has(value):
            return True
        end = self._place_of(stop)
        return self._place.get(id(value.producer), end) < end

    def before(self, stop: Node) -> None:
        """Run all nodes before one of the main graph; what it reads is held then.

        Raises:
            ValueError: If the node was run already or is not in the main graph.
            DataError: If the feeds do not fit the model's inputs.
            RuntimeFailureError: If ONNX Runtime cannot run a segment.
        """
        for _ in self.show(stop, ()):
            pass

    def past(self, stop: Node) -> None:
        """Run all nodes up to and including one of the main graph; raises what `before` does."""
        for _ in self.show(stop, (), past=True):
            pass

    def show(
        self, stop: Node, values: Sequence[Value], *, past: bool = False
    ) -> Iterator[dict[str, np.ndarray]]:
        """Run as `before` or `past` do, and yield values on the way or ahead, feed by feed.

        It is one session however many values are shown. The walk has moved when all feeds were
        yielded, and not at all before.

        Args:
            stop: A node of the main graph.
            values: What is held or is still to be made, behind the stop, too.
            past: Whether to run the stop as well.

        Raises:
            What `before` does.
        """
        end = self._place_of(stop) + past
        upto = [*self._ahead[self._next : end], *([] if past else self._makers(stop))]
        still = (n for n in upto if n.graph is self.model.graph and id(n) not in self._done)
        nodes = in_order(still, self._makers)
        behind = {id(n) for node in nodes for n in _with_bodies(node)}
        made = [v for n in nodes for v in n.outputs if v is not None and self._lives(v, behind)]
        yield from self._feed_by_feed(nodes, made, values)
        self._settle(nodes, made, behind)
        self._next = end

    def peek(self, values: Sequence[Value]) -> Iterator[dict[str, np.ndarray]]:
        """Run ahead as far as some values need, without moving; yields them feed by feed.

        Raises:
            RuntimeFailureError: If ONNX Runtime cannot run that.
        """
        return self._feed_by_feed((), (), values)

    def _look_ahead(self) -> None:
        """Learn the order of the nodes to come anew if somebody has put them in order."""
        graph = self.model.graph
        if graph.sorts != self._sorts:
            self._sorts = graph.sorts
            self._ahead = [n for n in graph.nodes if id(n) not in self._done]
            self._place = {id(n): at for at, n in enumerate(self._ahead)}
            self._next = 0

    def _place_of(self, stop: Node) -> int:
        self._look_ahead()
        place = self._place.get(id(stop))
        if place is None or id(stop) in self._done:
            msg = f"node {stop.label!r} does not lie ahead"
            raise ValueError(msg)
        return place

    def _makers(self, node: Node) -> list[Node]:
        """Return the nodes to come that make what a node reads."""
        makers = (v.producer for v in reads(node))
        return [
            m
            for m in makers
            if m is not None and m.graph is self.model.graph and id(m) not in self._done
        ]

    def _needed(self, values: Iterable[Value]) -> list[Node]:
        """Return the nodes to come that values depend on, in order."""
        self._look_ahead()
        needed: dict[int, Node] = {}
        producers = (v.producer for v in values)
        graph = self.model.graph
        open_ = [m for m in producers if m and m.graph is graph and id(m) not in self._done]
        while open_:
            maker = open_.pop()
            if id(maker) not in needed:
                needed[id(maker)] = maker
                open_.extend(self._makers(maker))
        last = len(self._ahead)
        known = sorted(needed.values(), key=lambda n: self._place.get(id(n), last))
        return in_order(known, self._makers)

    def _feed_by_feed(
        self, nodes: Sequence[Node], made: Sequence[Value], shown: Sequence[Value]
    ) -> Iterator[dict[str, np.ndarray]]:
        """Run nodes and what else makes the values shown; put aside what is made for later."""
        missing = [v for v in shown if not self.has(v)]
        own = {id(n) for n in nodes}
        every = [*nodes, *(n for n in self._needed(missing) if id(n) not in own)]
        wanted = list({v.name: v for v in (*made, *missing)}.values())
        segment = self._segment(every, wanted) if wanted else None
        for at in range(self.feeds):
            found = self._run(segment, at, wanted) if segment is not None else {}
            for value in made:
                self._shelf.put((value.name, at), found[value.name])
            yield {v.name: found[v.name] if v.name in found else self.held(v, at) for v in shown}

    def _settle(self, nodes: Sequence[Node], made: Sequence[Value], behind: set[int]) -> None:
        """Take nodes for run, with all of `behind` in them; let go of what only they read."""
        read = {id(v): v for n in nodes for v in reads(n) if self.has(v)}
        for value in read.values():
            if not self._lives(value, behind):
                del self._frontier[value.name]
                for at in range(self.feeds):
                    self._shelf.drop((value.name, at))
        self._frontier.update({v.name: v for v in made})
        self._done |= behind
        self._passed.extend(nodes)

    def _lives(self, value: Value, behind: set[int]) -> bool:
        """Whether something reads a value that neither was run nor is about to be."""
        gone = self._done
        return value.is_output or any(
            id(n) not in gone and id(n) not in behind for n, _ in value.users
        )

    def _run(self, segment: Segment, at: int, wanted: Sequence[Value]) -> Feeds:
        feeds = {n: self._shelf.get((n, at)) for n in segment.inputs if (n, at) in self._shelf}
        return segment.session(feeds).run(feeds, [v.name for v in wanted])

    def _segment(self, nodes: Sequence[Node], wanted: Sequence[Value]) -> Segment:
        inputs = {v.name: v for n in nodes for v in reads(n) if self.has(v)}
        part = extract(self.model, nodes, (inputs[name] for name in sorted(inputs)), wanted)
        return Segment(part, sorted(inputs))


def _with_bodies(node: Node) -> Iterator[Node]:
    yield node
    for body in node.subgraphs():
        for _, inner in body.walk():
            yield inner

"""Following channels from a weight through everything that is tied to them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import networkx as nx

from ocompress.analysis.channels.classes import Classes, classify
from ocompress.analysis.channels.extents import deduce
from ocompress.analysis.channels.relation import (
    Constraint,
    Holder,
    Link,
    Relation,
    Spot,
    Stop,
    Use,
)
from ocompress.analysis.channels.rules import relate
from ocompress.ir import Model, Node, Value

MOST_TRIES = 48
"""Ways of splitting axes that are tried for one set of spots."""


@dataclass
class Trail:
    """Spots that hang together.

    Attributes:
        graph: Spots, with the number of elements as `extent`, and links as `link` of edges.
        stops: What stands in the way, in the order found.
        constraints: What removals must keep to.
        open: Spots whose elements an operator regroups in one of several ways, with the ways.
        queue: Spots still to visit.
    """

    graph: nx.MultiGraph
    stops: list[tuple[Spot, Stop]] = field(default_factory=list)
    constraints: dict[Constraint, None] = field(default_factory=dict)
    open: list[tuple[Spot, list[Link]]] = field(default_factory=list)
    queue: list[Spot] = field(default_factory=list)

    def copy(self) -> Trail:
        """Return an independent copy."""
        return Trail(
            self.graph.copy(),
            list(self.stops),
            dict(self.constraints),
            list(self.open),
            list(self.queue),
        )

    def stop(self, spot: Spot, stop: Stop) -> None:
        """Record what stands in the way of a spot."""
        self.stops.append((spot, stop))


class Walker:
    """Follows channels in one model.

    Where an operator splits an axis in several, one of the new axes is followed: the innermost
    first, or the outermost, and the next one where that cannot be cut.
    """

    def __init__(self, model: Model, *, inner: bool) -> None:
        """Take a model and which axis of a split comes first."""
        self._opset, self._inner = model.opset, inner
        self._deduced = deduce(model)
        self._relations: dict[int, Relation] = {}
        self._inputs = {id(v) for v in model.graph.inputs}
        self._outputs = {id(v) for v in model.graph.outputs}
        self._owners: dict[int, list[Node]] = {}
        self._tries = 0
        for _, node in model.nodes():
            for body in node.subgraphs():
                for value in body.outputs:
                    self._owners.setdefault(id(value), []).append(node)

    def relation(self, node: Node) -> Relation:
        """Return how a node relates its axes, from memory where asked before."""
        if id(node) not in self._relations:
            self._relations[id(node)] = relate(node, self._opset, self._deduced)
        return self._relations[id(node)]

    def extent(self, spot: Spot) -> int | None:
        """Return the number of elements of a spot, None if it is not known."""
        holder, axis = spot
        if isinstance(holder, Use):
            own = self.relation(holder.node).extents.get(spot)
            if own is not None:
                return own
        value = holder.value if isinstance(holder, Use) else holder
        extent = value.shape[axis] if value.shape is not None else None
        return extent if isinstance(extent, int) else self._deduced.get((id(value), axis))

    def follow(self, seed: Spot) -> tuple[Trail, Classes]:
        """Return everything tied to a spot whose extent is known, and its elements in classes."""
        trail = Trail(nx.MultiGraph())
        self._tries = 0
        self._add(trail, seed)
        return self._explore(trail)

    def _explore(self, trail: Trail) -> tuple[Trail, Classes]:
        while trail.queue:
            self._visit(trail, trail.queue.pop(0))
        while trail.open:
            spot, links = trail.open.pop(0)
            if any(trail.graph.has_edge(spot, link.other(spot)) for link in links):
                continue
            met = [link for link in links if link.other(spot) in trail.graph]
            if met:
                for link in met:
                    self._connect(trail, link)
                continue
            return self._branch(trail, links[::-1] if self._inner else links)
        return trail, classify(trail.graph, list(trail.constraints), trail.stops)

    def _branch(self, trail: Trail, links: list[Link]) -> tuple[Trail, Classes]:
        best: tuple[Trail, Classes] | None = None
        for link in links:
            if best is not None and self._tries >= MOST_TRIES:
                break
            self._tries += 1
            attempt = trail.copy()
            self._connect(attempt, link)
            found = self._explore(attempt)
            if best is None or found[1].free > best[1].free:
                best = found
            if best[1].free > 1:
                break
        assert best is not None
        return best

    def _add(self, trail: Trail, spot: Spot) -> None:
        if spot not in trail.graph:
            trail.graph.add_node(spot, extent=self.extent(spot))
            trail.queue.append(spot)

    def _connect(self, trail: Trail, link: Link) -> None:
        for spot in (link.first, link.second):
            self._add(trail, spot)
        if not trail.graph.has_edge(link.first, link.second, key=id(link)):
            trail.graph.add_edge(link.first, link.second, key=id(link), link=link)

    def _visit(self, trail: Trail, spot: Spot) -> None:
        self._interface(trail, spot)
        for node in self.around(spot[0]):
            rel = self.relation(node)
            if spot in rel.stops:
                trail.stop(spot, rel.stops[spot])
            links = rel.links.get(spot, ())
            for link in links:
                self._connect(trail, link)
            ways = rel.choices.get(spot)
            if ways:
                trail.open.append((spot, ways))
            if not (links or ways or spot in rel.known or spot in rel.stops):
                trail.stop(spot, rel.default)
            for constraint in rel.constraints:
                if constraint.spot == spot:
                    trail.constraints[constraint] = None

    def _interface(self, trail: Trail, spot: Spot) -> None:
        holder, _ = spot
        if isinstance(holder, Use):
            return
        if holder.is_input:
            code = "graph-input" if id(holder) in self._inputs else "control-flow"
            trail.stop(spot, Stop(code, f"the channels come in with input {holder.name!r}"))
        if id(holder) in self._outputs:
            trail.stop(spot, Stop("graph-output", f"the channels leave as output {holder.name!r}"))
        for owner in self._owners.get(id(holder), ()):
            if not owner.is_op("If"):
                why = f"the channels leave the body of {owner.label!r}"
                trail.stop(spot, Stop("control-flow", why, owner))

    def around(self, holder: Holder) -> Iterator[Node]:
        """Iterate over the operators that make, read or return what holds a spot."""
        if isinstance(holder, Use):
            yield holder.node
            return
        yield from {id(n): n for n in self._around(holder)}.values()

    def _around(self, value: Value) -> Iterator[Node]:
        if value.producer is not None:
            yield value.producer
        for node, _ in value.users:
            yield node
        for owner in self._owners.get(id(value), ()):
            if owner.is_op("If"):
                yield owner

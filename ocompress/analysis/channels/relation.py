"""What one operator says about the axes of what it reads and makes.

A *spot* is one axis of a value, or of a constant as one operator reads it; its elements are what a
removal takes out. An operator ties elements of its spots to each other: if one goes, so must the
others. Everything it does not speak of is taken to stand in the way.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ocompress.analysis.channels.extents import Extents
from ocompress.ir import Dim, Node, Shape, Value

Pairs = tuple[np.ndarray, np.ndarray]
"""Elements of one spot and, in step, the elements of another that go with them."""

OUT = -1
"""Slot of the first output; output k is `~k`, input i is i."""
LARGEST_COPY = 1 << 16
"""Bytes up to which each reader of a shared constant may come to have its own."""


@dataclass(frozen=True)
class Use:
    """A constant as one operator reads it.

    Attributes:
        node: The operator.
        index: Its input.
    """

    node: Node
    index: int

    @property
    def value(self) -> Value:
        """The constant."""
        value = self.node.inputs[self.index]
        assert value is not None
        return value


Holder = Value | Use
Spot = tuple[Holder, int]


@dataclass(frozen=True, eq=False)
class Stop:
    """Why elements cannot be taken out.

    Attributes:
        code: Stable, in kebab case.
        why: One sentence.
        node: The operator that stands in the way, None where it is the interface of the model.
        elements: Which elements of the spot, None for all.
    """

    code: str
    why: str
    node: Node | None = None
    elements: np.ndarray | None = None


class UnfollowedError(Exception):
    """An operator of which nothing can be said."""

    def __init__(self, *, code: str, why: str) -> None:
        """Take the code and the sentence of a `Stop`."""
        super().__init__(why)
        self.code, self.why = code, why


@dataclass(frozen=True, eq=False)
class Link:
    """Elements of two spots that go together; `pairs` None ties each to the one of its number."""

    first: Spot
    second: Spot
    pairs: Pairs | None = None

    def other(self, spot: Spot) -> Spot:
        """Return the end that `spot` is not."""
        return self.second if spot == self.first else self.first


@dataclass(frozen=True)
class Blocks:
    """What goes must be equally much in each of `count` equal consecutive parts of a spot."""

    spot: Spot
    count: int


@dataclass(frozen=True)
class Cycles:
    """What goes must be runs of `count` neighbours, because neighbours come from parts in turn."""

    spot: Spot
    count: int


Constraint = Blocks | Cycles


@dataclass(frozen=True)
class Repair:
    """A number that has to follow the extents.

    Attributes:
        node: The operator.
        index: The constant input that holds it, None for an attribute.
        attribute: Name of the attribute, empty for an input.
    """

    node: Node
    index: int | None = None
    attribute: str = ""


def holder_of(node: Node, slot: int) -> Holder | None:
    """Return who holds the elements at a slot of a node, None where the slot is empty.

    Small constants are held by each of their readers alone, for they may be copied; large ones that
    several read are held once, which ties the readers to each other.
    """
    if slot < 0:
        return node.outputs[~slot] if ~slot < len(node.outputs) else None
    value = node.input(slot)
    if value is None or value.constant is None:
        return value
    grouped = node.is_op("Conv", "ConvTranspose") and node.attr("group", 1) > 1
    if value.constant.nbytes > LARGEST_COPY and value.use_count > 1 and not grouped:
        return value
    return Use(node, slot)


@dataclass
class Relation:
    """How the spots of one node hang together; rules fill it in.

    Attributes:
        node: The operator.
        opset: Version of the standard operators in the model.
        default: What is said of spots that no rule spoke of.
        links: Links by the spot they start from.
        choices: Links of which one is to be taken, by the spot they start from, outermost first.
        stops: Spots that cannot be cut.
        known: Spots that may be cut without anything else of this node following.
        ends: Spots that are summed over, so that a channel's part vanishes with it.
        constraints: What the elements taken out must keep to besides.
        repairs: Numbers to change when a spot is cut.
        extents: Number of elements of spots where it is not the extent of the axis.
        deduced: Extents that are not recorded.
    """

    node: Node
    opset: int
    default: Stop
    links: dict[Spot, list[Link]] = field(default_factory=dict)
    choices: dict[Spot, list[Link]] = field(default_factory=dict)
    stops: dict[Spot, Stop] = field(default_factory=dict)
    known: set[Spot] = field(default_factory=set)
    ends: set[Spot] = field(default_factory=set)
    constraints: list[Constraint] = field(default_factory=list)
    repairs: dict[Spot, list[Repair]] = field(default_factory=dict)
    extents: dict[Spot, int] = field(default_factory=dict)
    deduced: Extents = field(default_factory=dict)

    # -- reading ----------------------------------------------------------------------------

    def has(self, slot: int) -> bool:
        """Whether something is at a slot."""
        return holder_of(self.node, slot) is not None

    def shape(self, slot: int) -> Shape:
        """Return the shape at a slot.

        Raises:
            UnfollowedError: If its rank is not known.
        """
        holder = holder_of(self.node, slot)
        value = holder.value if isinstance(holder, Use) else holder
        if value is None or value.shape is None:
            why = f"the rank of what {self.node.label!r} reads or makes is not known"
            raise UnfollowedError(code="unknown-shape", why=why)
        if not self.deduced:
            return value.shape
        return tuple(self.deduced.get((id(value), i), e) for i, e in enumerate(value.shape))

    def rank(self, slot: int) -> int:
        """Return the rank at a slot."""
        return len(self.shape(slot))

    def spot(self, slot: int, axis: int) -> Spot:
        """Return the spot of an axis, counted from the end where negative."""
        holder = holder_of(self.node, slot)
        assert holder is not None, self.node.label
        return holder, axis % max(self.rank(slot), 1)

    def extent(self, slot: int, axis: int) -> Dim:
        """Return the extent of an axis, or the number of elements a rule gave its spot."""
        shape = self.shape(slot)
        if not -len(shape) <= axis < len(shape):
            why = f"what {self.node.label!r} reads or makes cannot have rank {len(shape)}"
            raise UnfollowedError(code="unknown-shape", why=why)
        return self.extents.get(self.spot(slot, axis), shape[axis])

    # -- writing ----------------------------------------------------------------------------

    def link(self, a: int, axis: int, b: int, other: int, pairs: Pairs | None = None) -> None:
        """Tie axis `axis` at slot `a` to axis `other` at slot `b`; nothing if a slot is empty."""
        if not (self.has(a) and self.has(b)):
            return
        first, second = self.spot(a, axis), self.spot(b, other)
        here, there = self.extent(a, axis), self.extent(b, other)
        plain = isinstance(here, int) and isinstance(there, int)
        if not plain or (pairs is None and here != there):
            why = f"extents that {self.node.label!r} reads or makes are not known or do not agree"
            stop = Stop("unknown-extent", why, self.node)
            self.stops[first] = self.stops[second] = stop
            return
        self.join(Link(first, second, pairs))

    def join(self, link: Link) -> None:
        """Add a link that is followed from both ends."""
        for spot in {link.first, link.second}:
            self.links.setdefault(spot, []).append(link)

    def stop(self, slot: int, axis: int, code: str, why: str) -> None:
        """Refuse an axis."""
        self.stops[self.spot(slot, axis)] = Stop(code, why, self.node)

    def otherwise(self, code: str, why: str) -> None:
        """Say what is wrong with the axes that the rule does not speak of."""
        self.default = Stop(code, why, self.node)

    def end(self, slot: int, axis: int) -> None:
        """Say that an axis is summed over."""
        if self.has(slot):
            self.ends.add(self.spot(slot, axis))
            self.known.add(self.spot(slot, axis))

    def repair(self, slot: int, axis: int, index: int | None = None, attribute: str = "") -> None:
        """Say that a number must follow when an axis is cut."""
        found = self.repairs.setdefault(self.spot(slot, axis), [])
        found.append(Repair(self.node, index, attribute))

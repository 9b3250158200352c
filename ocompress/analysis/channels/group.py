"""Groups of coupled channels, as callers see them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ocompress.analysis.channels.relation import Repair, Stop
from ocompress.ir import Node, Value

PRODUCER, CONSUMER, CONSTANT = "producer", "consumer", "constant"


@dataclass(frozen=True, eq=False)
class Part:
    """One axis along which the channels of a group lie.

    Attributes:
        value: The activation or constant.
        axis: The axis.
        channel: Channel of each element, -1 for those of no channel of this group.
    """

    value: Value
    axis: int
    channel: np.ndarray

    @property
    def positions(self) -> np.ndarray:
        """Elements of each channel: `[channels, most elements]`, filled up with -1."""
        count = int(self.channel.max(initial=-1)) + 1
        where = np.flatnonzero(self.channel >= 0)
        owner = self.channel[where]
        where = where[np.argsort(owner, kind="stable")]
        sizes = np.bincount(owner, minlength=count)
        found = np.full((count, int(sizes.max(initial=0))), -1)
        found[np.arange(found.shape[1]) < sizes[:, None]] = where
        return found

    def at(self, channels: Sequence[int] | np.ndarray) -> np.ndarray:
        """Return the elements, [elements], of some channels, [channels], in order."""
        return np.flatnonzero(np.isin(self.channel, np.asarray(channels, int)))


@dataclass(frozen=True, eq=False)
class Cut(Part):
    """One axis of a constant along which the channels of a group lie.

    Attributes:
        node: The operator that reads it.
        index: Its input.
        role: `producer` for the output channels of a linear layer's weight (or the columns of a
            table that is looked up), `consumer` for its input channels, `constant` for the rest.
    """

    node: Node
    index: int
    role: str


@dataclass(frozen=True, eq=False)
class Sink:
    """Where channels end in a sum that is no layer with a constant weight.

    Attributes:
        node: A reduction, or a product of two activations.
        index: Its input.
        axis: Axis of that input.
        channel: Channel of each element, -1 for those of no channel of this group.
    """

    node: Node
    index: int
    axis: int
    channel: np.ndarray


@dataclass(frozen=True, eq=False)
class Group:
    """Channels that go, one by one, from everything at once.

    For a convolution with several groups and several input channels in each, the input axis of
    the weight counts over all groups: element `g * inputs_per_group + i` is input i of group g.

    Attributes:
        size: Number of channels.
        cuts: Every axis of a constant along which they lie.
        values: Every activation in which they lie, with the axis, in the order they are reached.
        sinks: Where they end in a sum without weights.
        repairs: Numbers that follow: wanted shapes, sizes, bounds, amounts, group counts.
        refusal: Why no channel may go; None if they may, as long as one is left.
        exchangeable: Whether channels may also trade places, elements of one for those of another
            in the order in which they lie on each axis.
    """

    size: int
    cuts: tuple[Cut, ...]
    values: tuple[Part, ...]
    sinks: tuple[Sink, ...] = ()
    repairs: tuple[Repair, ...] = ()
    refusal: Stop | None = field(default=None)
    exchangeable: bool = False

    @property
    def producers(self) -> tuple[Cut, ...]:
        """Weights of the linear layers that make the channels."""
        return tuple(c for c in self.cuts if c.role == PRODUCER)

    @property
    def consumers(self) -> tuple[Cut, ...]:
        """Weights of the linear layers that read the channels."""
        return tuple(c for c in self.cuts if c.role == CONSUMER)

    @property
    def constants(self) -> tuple[Cut, ...]:
        """Constants that lose the channels, too: biases, scales, statistics, depthwise weights."""
        return tuple(c for c in self.cuts if c.role == CONSTANT)

    @property
    def name(self) -> str:
        """What messages call it: after the first layer that makes it, else what holds it."""
        for cut in (*self.producers, *self.cuts):
            return cut.node.label
        return self.values[0].value.name if self.values else ""

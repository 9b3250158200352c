"""The work of a model, and what it takes on a target, as channels of its groups go."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from ocompress.analysis.channels import Group
from ocompress.analysis.linear_layer import LINEAR
from ocompress.analysis.work import work_of
from ocompress.io import Feeds
from ocompress.ir import Model, Node
from ocompress.profiling.run_time import NodePrice, prices_of
from ocompress.targets import OpCost, Target

_AS_IT_IS: Mapping[int, np.ndarray] = {}
_SUMMED = -1
"""Stands for the axis that a product of two activations sums over."""
_ANY = NodePrice(OpCost(overhead_ns=0.0, macs_per_ns=50.0))
"""What a layer takes of which the table knows nothing, for want of work."""


_Gone = Sequence[np.ndarray]
"""For each group which channels go, by number, (removed,)."""


class Shares:
    """The part of an axis of a node that each channel of a group takes."""

    def __init__(self) -> None:
        """Begin with none."""
        self._known: dict[int, dict[int, list[tuple[int, np.ndarray]]]] = {}

    def add(self, node: Node, axis: int, at: int, channel: np.ndarray, size: int) -> None:
        """Note that the channels of a group lie along an axis.

        Args:
            node: The node.
            axis: What tells its axes apart.
            at: The group.
            channel: Channel of each element, -1 for those of none, (elements,).
            size: Channels of the group.
        """
        share = np.bincount(channel[channel >= 0], minlength=size) / max(len(channel), 1)
        self._known.setdefault(id(node), {}).setdefault(axis, []).append((at, share))

    def left(self, node: int, gone: _Gone, then: Mapping[int, np.ndarray] = _AS_IT_IS) -> float:
        """Return the part of a node that is left; `then` has what groups lose instead."""
        part = 1.0
        for axis in self._known.get(node, {}).values():
            lost = sum(float(share[then.get(at, gone[at])].sum()) for at, share in axis)
            part *= max(0.0, 1 - lost)
        return part

    def __iter__(self) -> Iterator[int]:
        """Return the nodes."""
        return iter(self._known)


class Meter(ABC):
    """Something that a model takes, and takes less of as channels go.

    Attributes:
        nodes: All nodes that take any, by id.
        touched: Those of them at which each group lies.
    """

    def __init__(self, nodes: Sequence[int], touched: Sequence[set[int]]) -> None:
        """Remember the nodes."""
        self.nodes, known = list(nodes), set(nodes)
        self.touched = [sorted(own & known) for own in touched]

    @abstractmethod
    def at(self, node: int, gone: _Gone, then: Mapping[int, np.ndarray] = _AS_IT_IS) -> float:
        """Return what a node takes; `then` has what groups lose instead, by number."""

    def of(self, gone: _Gone) -> float:
        """Return what is taken in all.

        Args:
            gone: For each group which channels go, by number, (removed,).
        """
        return sum(self.at(node, gone) for node in self.nodes)

    def saved(self, at: int, gone: _Gone, more: np.ndarray) -> float:
        """Return what is saved if one group loses more channels.

        Args:
            at: The group.
            gone: For each group which channels go already, by number, (removed,).
            more: Which channels of the group go then, by number, (removed,).
        """
        then = {at: more}
        return sum(self.at(n, gone) - self.at(n, gone, then) for n in self.touched[at])


class Work(Meter):
    """Multiply-accumulates."""

    def __init__(
        self, work: Mapping[int, float], shares: Shares, touched: Sequence[set[int]]
    ) -> None:
        """Take those of each node, by id."""
        super().__init__(list(work), touched)
        self._work, self._shares = work, shares

    def at(self, node: int, gone: _Gone, then: Mapping[int, np.ndarray] = _AS_IT_IS) -> float:
        """Return those of a node."""
        return self._work[node] * self._shares.left(node, gone, then)


class Time(Meter):
    """Nanoseconds on a target, by its table.

    What an operator takes however many channels there are does not count: all of a small model may
    be that.
    """

    def __init__(
        self,
        prices: Mapping[int, NodePrice],
        shares: Shares,
        made: Shares,
        touched: Sequence[set[int]],
    ) -> None:
        """Take the price of each node, by id, and what lies along its inputs and outputs."""
        self._fixed = {key: price.ns(0.0, 0.0) for key, price in prices.items()}
        open_ = [key for key, price in prices.items() if price.ns() > self._fixed[key]]
        super().__init__(open_, touched)
        self._prices, self._shares, self._made = prices, shares, made

    def at(self, node: int, gone: _Gone, then: Mapping[int, np.ndarray] = _AS_IT_IS) -> float:
        """Return that of a node."""
        made = self._made.left(node, gone, then)
        whole = self._prices[node].ns(made, self._shares.left(node, gone, then))
        return whole - self._fixed[node]


class Account:
    """What a model takes as channels of its groups go.

    Attributes:
        work: Its multiply-accumulates.
        total: Those of the model as it is.
        nothing: For each group no channel that goes.
        as_integers: Whether layers take the time that they do once they are quantized.
    """

    def __init__(
        self, model: Model, groups: Sequence[Group], sample: Feeds | None, target: Target
    ) -> None:
        """Count what the model takes as it is.

        Args:
            model: The model.
            groups: Groups of its channels.
            sample: A feed of one sample, which says how large free extents are.
            target: Its table says what operators take.
        """
        self.as_integers = False
        self.nothing = [np.arange(0)] * len(groups)
        work = work_of(model, sample)
        self.total = sum(work.values())
        prices = [_prices(model, sample, target, work, how) for how in (False, True)]
        inner, made = Shares(), Shares()
        self._labels: dict[int, str] = {}
        touched: list[set[int]] = []
        for at, group in enumerate(groups):
            own = set()
            for node, axis, channel in _lying(group):
                if not work.get(id(node)):
                    continue
                self._labels[id(node)] = node.label
                inner.add(node, axis, at, channel, group.size)
                own.add(id(node))
            for part in group.values:
                maker = part.value.producer
                if maker is not None and any(id(maker) in known for known in prices):
                    made.add(maker, part.axis, at, part.channel, group.size)
                    own.add(id(maker))
            touched.append(own)
        self.work: Meter = Work(work, inner, touched)
        self._times = [Time(known, inner, made, touched) for known in prices]
        self._touched, self._inner = touched, inner
        self._groups: dict[int, list[int]] = {}
        """By node: the groups that lie there."""
        for at, own in enumerate(touched):
            for key in own:
                self._groups.setdefault(key, []).append(at)

    @property
    def time(self) -> Meter:
        """The nanoseconds that a run takes."""
        return self._times[self.as_integers]

    def mingled(self, at: int) -> list[int]:
        """Return the groups whose savings depend on what one group has lost, itself included."""
        return sorted({at, *(i for node in self._touched[at] for i in self._groups[node])})

    def left(self, gone: _Gone) -> dict[str, float]:
        """Return the part of its multiply-accumulates that each layer of a group is left with.

        Args:
            gone: For each group which channels go, by number, (removed,).

        Returns:
            By label of the node.
        """
        return {self._labels[node]: self._inner.left(node, gone) for node in self._inner}


def _prices(
    model: Model,
    sample: Feeds | None,
    target: Target,
    work: Mapping[int, float],
    as_integers: bool,
) -> dict[int, NodePrice]:
    """Return what nodes take that take anything, by their ids."""
    found = prices_of(model, target, sample, as_integers=as_integers)
    for key, own in work.items():
        if not found[key].ns():
            found[key] = replace(_ANY, work=own)
    return {key: price for key, price in found.items() if price.ns()}


def _lying(group: Group) -> Iterator[tuple[Node, int, np.ndarray]]:
    """Yield the products that are less work without channels: node, axis, channel by element."""
    for cut in group.cuts:
        if cut.node.is_op(*LINEAR) and _is_weight(cut.node, cut.index):
            yield cut.node, cut.axis, cut.channel
    summed = {id(s.node): s for s in group.sinks}  # both operands lie along the axis
    for sink in summed.values():
        yield sink.node, _SUMMED, sink.channel


def _is_weight(node: Node, index: int) -> bool:
    """Whether an operand is a weight; a bias of rank 2 is none, and no work."""
    if index > 1:
        return False
    value = node.input(index) if node.is_op(*LINEAR) else None
    return value is not None and value.constant is not None and value.constant.ndim >= 2

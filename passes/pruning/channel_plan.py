"""How many channels of which group go: the steps that save most for what they cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ocompress.analysis.channels import Group
from ocompress.analysis.linear_layer import LINEAR
from ocompress.analysis.work import work_of
from ocompress.io import Feeds
from ocompress.ir import Model, Node
from passes.pruning.channel_costs import Order

_SUMMED = -1
"""Stands for the axis that a product of two activations sums over."""


@dataclass(frozen=True)
class RemovalSteps:
    """Numbers of channels of a group that may go, rising, with what they cost.

    Attributes:
        counts: Channels that go; the first is 0.
        costs: What that costs in all; the first is 0.
    """

    counts: tuple[int, ...]
    costs: tuple[float, ...]


def steps_of(group: Group, order: Order, multiple: int) -> RemovalSteps:
    """Return the counts that leave a multiple of channels wherever the group's channels lie.

    Args:
        group: The group.
        order: The order in which its channels go.
        multiple: What the kernels of the target like; groups that are smaller keep all.
    """
    widths = [len(p.channel) / group.size for p in group.values if len(p.channel) >= group.size]
    each = max(1, round(min(widths, default=1)))
    step = max(1, multiple // int(np.gcd(each, multiple)))
    counts = [0]
    left = (group.size - 1) // step * step
    while left > 0:
        counts.append(group.size - left)
        left -= step
    costs = [0.0, *(float(order.costs[c - 1]) for c in counts[1:])]
    return RemovalSteps(tuple(counts), tuple(costs))


class Account:
    """The multiply-accumulates of a model, as channels of its groups go."""

    def __init__(self, model: Model, groups: Sequence[Group], sample: Feeds | None) -> None:
        """Count those of the model as it is.

        Args:
            model: The model.
            groups: Groups of its channels.
            sample: A feed of one sample, which says how large free extents are.
        """
        self._work = work_of(model, sample)
        self.total = sum(self._work.values())
        self._shares: dict[int, dict[int, list[tuple[int, np.ndarray]]]] = {}
        """By node and axis: the groups that lie there, with the part each channel takes."""
        self._labels: dict[int, str] = {}
        self._touched: list[set[int]] = []
        for at, group in enumerate(groups):
            touched = set()
            for node, axis, channel in _lying(group):
                if not self._work.get(id(node)):
                    continue
                held = channel[channel >= 0]
                share = np.bincount(held, minlength=group.size) / len(channel)
                self._labels[id(node)] = node.label
                axes = self._shares.setdefault(id(node), {})
                axes.setdefault(axis, []).append((at, share))
                touched.add(id(node))
            self._touched.append(touched)

    def of(self, gone: Sequence[np.ndarray]) -> float:
        """Return the multiply-accumulates that are left.

        Args:
            gone: For each group which channels go, by number, (removed,).
        """
        return sum(self._left(node, gone) for node in self._work)

    def saved(self, at: int, gone: Sequence[np.ndarray], more: np.ndarray) -> float:
        """Return what is saved if one group loses more channels.

        Args:
            at: The group.
            gone: For each group which channels go already, by number, (removed,).
            more: Which channels of the group go then, by number, (removed,).
        """
        then = list(gone)
        then[at] = more
        return sum(self._left(n, gone) - self._left(n, then) for n in self._touched[at])

    def mingled(self, at: int) -> list[int]:
        """Return the groups whose savings depend on what one group has lost, itself included."""
        return [i for i, nodes in enumerate(self._touched) if i == at or nodes & self._touched[at]]

    def left(self, gone: Sequence[np.ndarray]) -> dict[str, float]:
        """Return the part of its multiply-accumulates that each layer of a group is left with.

        Args:
            gone: For each group which channels go, by number, (removed,).

        Returns:
            By label of the node.
        """
        return {
            self._labels[node]: self._left(node, gone) / self._work[node] for node in self._shares
        }

    def _left(self, node: int, gone: Sequence[np.ndarray]) -> float:
        left = self._work[node]
        for shares in self._shares.get(node, {}).values():
            lost = sum(float(share[gone[at]].sum()) for at, share in shares)
            left *= max(0.0, 1 - lost)
        return left


def _lying(group: Group) -> Iterator[tuple[Node, int, np.ndarray]]:
    """Yield the products that are less work without channels: node, axis, channel by element."""
    for cut in group.cuts:
        if cut.node.is_op(*LINEAR) and _is_weight(cut.node, cut.index):
            yield cut.node, cut.axis, cut.channel
    summed = {id(s.node): s for s in group.sinks}  # both operands lie along the axis
    for sink in summed.values():
        yield sink.node, _SUMMED, sink.channel


def _is_weight(node: Node, index: int) -> bool:
    value = node.input(index) if node.is_op(*LINEAR) else None
    return value is not None and value.constant is not None and value.constant.ndim >= 2


@dataclass(frozen=True)
class Goal:
    """When enough channels went; the first goal that is reached counts.

    Attributes:
        ratio: Share of all channels that may go, None for any.
        max_macs: Multiply-accumulates that may be left, relative to those of the model, None
            for any.
    """

    ratio: float | None = None
    max_macs: float | None = None


def uniform(groups: Sequence[Group], steps: Sequence[RemovalSteps], ratio: float) -> list[int]:
    """Return for each group the largest count that is no more than a share of its channels."""
    return [
        max(c for c in s.counts if c <= ratio * g.size + 1e-9)
        for g, s in zip(groups, steps, strict=True)
    ]


def same_share(
    groups: Sequence[Group],
    orders: Sequence[Order],
    steps: Sequence[RemovalSteps],
    account: Account,
    goal: Goal,
) -> list[int]:
    """Return for each group the count of the smallest common share that reaches a goal."""
    most = 1.0 if goal.ratio is None else goal.ratio
    counts = [0] * len(groups)
    for share in np.linspace(0, most, 101)[1:]:
        gone = [o.channels[:c] for o, c in zip(orders, counts, strict=True)]
        if goal.max_macs is not None and account.of(gone) <= goal.max_macs * account.total:
            break
        counts = uniform(groups, steps, float(share))
    return counts


def cheapest(
    groups: Sequence[Group],
    orders: Sequence[Order],
    steps: Sequence[RemovalSteps],
    account: Account,
    goal: Goal,
) -> list[int]:
    """Return for each group how many channels go, taking step after step what pays most.

    A step is a run of channels of one group, as long as costs least for what it saves.

    Args:
        groups: The groups.
        orders: The order in which the channels of each go.
        steps: Counts that each may lose.
        account: Counts what is saved.
        goal: When to stop.
    """
    counts = [0] * len(groups)
    gone = [order.channels[:0] for order in orders]
    most = sum(g.size for g in groups) * (1.0 if goal.ratio is None else goal.ratio)
    best = [_next(at, counts, gone, orders, steps, account) for at in range(len(groups))]
    while True:
        if goal.max_macs is not None and account.of(gone) <= goal.max_macs * account.total:
            return counts
        room = most - sum(counts)
        open_ = [
            (rate, at, count)
            for at, found in enumerate(best)
            if found is not None
            for rate, count in [found]
            if count - counts[at] <= room + 1e-9
        ]
        if not open_:
            return counts
        _, at, count = min(open_)
        counts[at] = count
        gone[at] = orders[at].channels[:count]
        for i in account.mingled(at):  # what a layer's inputs save depends on its outputs
            best[i] = _next(i, counts, gone, orders, steps, account)


def _next(
    at: int,
    counts: Sequence[int],
    gone: Sequence[np.ndarray],
    orders: Sequence[Order],
    steps: Sequence[RemovalSteps],
    account: Account,
) -> tuple[float, int] | None:
    """Return cost over saving of the best run of steps of a group, and the count it leads to."""
    have, own = counts[at], steps[at]
    spent = own.costs[own.counts.index(have)]
    found: tuple[float, int] | None = None
    for count, cost in zip(own.counts, own.costs, strict=True):
        if count <= have:
            continue
        saved = account.saved(at, gone, orders[at].channels[:count])
        if saved <= 0:
            continue
        rate = (cost - spent) / saved
        if found is None or rate < found[0]:
            found = rate, count
    return found

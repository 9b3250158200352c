"""How many channels of which group go: the steps that save most for what they cost."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ocompress.analysis.channels import Group
from passes.pruning.channel_account import Account
from passes.pruning.channel_costs import Order

_ROUNDING = 1e-9
_EXCHANGES = 3000
"""Pairs of groups that are looked at for an exchange, about."""
_BACK = 2
"""Steps that a group gets back in an exchange, at most."""


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
        max(c for c in s.counts if c <= ratio * g.size + _ROUNDING)
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
    most = sum(g.size for g in groups) * (1.0 if goal.ratio is None else goal.ratio)
    enough = -np.inf if goal.max_macs is None else goal.max_macs * account.total
    # what is left is kept up to date step by step, so that only the last ones are counted out
    left, near = account.total, enough + _ROUNDING * account.total
    removal = _Removal(orders, steps, account, most)
    while left > near or account.of(removal.gone) > enough:
        saved = removal.step()
        if saved is None:
            return removal.counts
        left -= saved
    return _exchanged(removal.counts, orders, steps, account, goal)


class _Removal:
    """Takes step after step; a group is looked at again only where a step changed what it saves.

    Attributes:
        counts: How many channels of each group went.
        gone: Which ones.
    """

    def __init__(
        self,
        orders: Sequence[Order],
        steps: Sequence[RemovalSteps],
        account: Account,
        room: float,
    ) -> None:
        """Start with nothing removed; there is room for so many channels to go."""
        self.counts = [0] * len(orders)
        self.gone = [order.channels[:0] for order in orders]
        self._orders, self._steps, self._account, self._room = orders, steps, account, room
        self._best: dict[int, tuple[float, int]] = {}
        self._queue: list[tuple[float, int, int]] = []
        for at in range(len(orders)):
            self._look(at)

    def step(self) -> float | None:
        """Take the step that costs least for what it saves; return that, None if there is none."""
        while self._queue:
            rate, at, count = heapq.heappop(self._queue)
            if self._best.get(at) != (rate, count):
                continue  # it was looked at again since
            if count - self.counts[at] > self._room + _ROUNDING:
                self._look(at)  # less room only makes it worse, so those behind it can wait
                continue
            removed = self._orders[at].channels[:count]
            saved = self._account.saved(at, self.gone, removed)
            self._room -= count - self.counts[at]
            self.counts[at], self.gone[at] = count, removed
            for i in self._account.mingled(at):  # what a layer's inputs save depends on its outputs
                self._look(i)
            return saved
        return None

    def _look(self, at: int) -> None:
        given = self.counts, self.gone, self._orders, self._steps, self._account, self._room
        found = _next(at, *given)
        self._best.pop(at, None)
        if found is not None:
            self._best[at] = found
            heapq.heappush(self._queue, (found[0], at, found[1]))


def _exchanged(
    counts: Sequence[int],
    orders: Sequence[Order],
    steps: Sequence[RemovalSteps],
    account: Account,
    goal: Goal,
) -> list[int]:
    """Return counts that cost less and reach the goal as well.

    Where groups are few and steps large, the last step goes far beyond the goal: as long as it
    pays, one group gets channels back, and another one loses its next step for it if need be.
    """
    assert goal.max_macs is not None

    def work(some: Sequence[int]) -> float:
        return account.of([o.channels[:c] for o, c in zip(orders, some, strict=True)])

    found, left = list(counts), work(counts)
    for _ in range(_EXCHANGES // max(1, len(found) ** 2)):
        cost = _cost(found, steps)
        options = sorted((_cost(other, steps), other) for other in _neighbours(found, steps))
        for less, other in options:
            if less >= cost:
                return found
            if goal.ratio is not None and sum(other) > sum(counts):
                continue
            then = work(other)
            # what costs less than the average for what it saves is no loss where it is gone
            pays = (cost - less) * (account.total - left) >= cost * (then - left)
            if then <= goal.max_macs * account.total and pays:
                found, left = other, then
                break
        else:
            return found
    return found


def _neighbours(counts: Sequence[int], steps: Sequence[RemovalSteps]) -> Iterator[list[int]]:
    """Yield counts of which one group loses less, and perhaps another one a step more."""
    places = [s.counts.index(c) for s, c in zip(steps, counts, strict=True)]
    for at, place in enumerate(places):
        for back in range(max(0, place - _BACK), place):
            less = list(counts)
            less[at] = steps[at].counts[back]
            yield less
            for other, own in enumerate(places):
                if other != at and own + 1 < len(steps[other].counts):
                    both = list(less)
                    both[other] = steps[other].counts[own + 1]
                    yield both


def _cost(counts: Sequence[int], steps: Sequence[RemovalSteps]) -> float:
    return sum(s.costs[s.counts.index(c)] for s, c in zip(steps, counts, strict=True))


def _next(
    at: int,
    counts: Sequence[int],
    gone: Sequence[np.ndarray],
    orders: Sequence[Order],
    steps: Sequence[RemovalSteps],
    account: Account,
    room: float,
) -> tuple[float, int] | None:
    """Return cost over saving of the best run of steps of a group, and the count it leads to.

    No more channels than there is room for go.
    """
    have, own = counts[at], steps[at]
    spent = own.costs[own.counts.index(have)]
    found: tuple[float, int] | None = None
    for count, cost in zip(own.counts, own.costs, strict=True):
        if count <= have or count - have > room + _ROUNDING:
            continue
        saved = account.saved(at, gone, orders[at].channels[:count])
        if saved <= 0:
            continue
        rate = (cost - spent) / saved
        if found is None or rate < found[0]:
            found = rate, count
    return found

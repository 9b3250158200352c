"""How many channels of which group go: the steps that save most for what they cost."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ocompress.analysis.channels import Group
from passes.pruning.channel_account import Account, Meter
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
        max_time: Time that may be left of what channels take, in the same way.
    """

    ratio: float | None = None
    max_macs: float | None = None
    max_time: float | None = None

    def saves(self, account: Account) -> Meter:
        """Return what channels are to save for what they cost: what is limited."""
        return account.work if self.max_time is None else account.time

    def limits(self, account: Account) -> list[tuple[Meter, float]]:
        """Return what is limited, each with how much of it may be left."""
        parts = [(account.work, self.max_macs), (account.time, self.max_time)]
        nothing = account.nothing
        return [(m, share * m.of(nothing)) for m, share in parts if share is not None]


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
    counts, limits = [0] * len(groups), goal.limits(account)
    for share in np.linspace(0, most, 101)[1:]:
        gone = [o.channels[:c] for o, c in zip(orders, counts, strict=True)]
        if any(meter.of(gone) <= limit for meter, limit in limits):
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
    removal = _Removal(orders, steps, account, goal.saves(account), most)
    watched = [_Watched(meter, limit, account) for meter, limit in goal.limits(account)]
    while not any(w.is_reached(removal.gone) for w in watched):
        step = removal.step()
        if step is None:
            return removal.counts
        for each in watched:
            each.take(*step, removal.gone)
    return _exchanged(removal.counts, orders, steps, account, goal)


class _Watched:
    """A limit, and what is left, which is kept up to date step by step.

    Only the last steps are counted out.
    """

    def __init__(self, meter: Meter, limit: float, account: Account) -> None:
        self._meter, self._limit = meter, limit
        self._left = meter.of(account.nothing)
        self._near = limit + _ROUNDING * self._left

    def is_reached(self, gone: Sequence[np.ndarray]) -> bool:
        return self._left <= self._near and self._meter.of(gone) <= self._limit

    def take(self, at: int, before: np.ndarray, gone: Sequence[np.ndarray]) -> None:
        self._left += self._meter.saved(at, gone, before)  # what giving them back would save


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
        saves: Meter,
        room: float,
    ) -> None:
        """Start with nothing removed; there is room for so many channels to go."""
        self.counts = [0] * len(orders)
        self.gone = [order.channels[:0] for order in orders]
        self._orders, self._steps, self._account, self._room = orders, steps, account, room
        self._saves = saves
        self._best: dict[int, tuple[float, int]] = {}
        self._queue: list[tuple[float, int, int]] = []
        for at in range(len(orders)):
            self._look(at)

    def step(self) -> tuple[int, np.ndarray] | None:
        """Take the step that costs least for what it saves.

        Returns:
            Its group, and which channels of it were gone before; None if there is no step.
        """
        while self._queue:
            rate, at, count = heapq.heappop(self._queue)
            if self._best.get(at) != (rate, count):
                continue  # it was looked at again since
            if count - self.counts[at] > self._room + _ROUNDING:
                self._look(at)  # less room only makes it worse, so those behind it can wait
                continue
            self._room -= count - self.counts[at]
            before = self.gone[at]
            self.counts[at], self.gone[at] = count, self._orders[at].channels[:count]
            for i in self._account.mingled(at):  # what a layer's inputs save depends on its outputs
                self._look(i)
            return at, before
        return None

    def _look(self, at: int) -> None:
        given = self.counts, self.gone, self._orders, self._steps, self._saves, self._room
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
    limits = goal.limits(account)

    def gone(some: Sequence[int]) -> list[np.ndarray]:
        return [o.channels[:c] for o, c in zip(orders, some, strict=True)]

    def reaches(some: Sequence[int]) -> bool:
        return any(meter.of(gone(some)) <= limit for meter, limit in limits)

    saves = goal.saves(account)
    whole = saves.of(account.nothing)
    found, left = list(counts), saves.of(gone(counts))
    for _ in range(_EXCHANGES // max(1, len(found) ** 2)):
        cost = _cost(found, steps)
        options = sorted((_cost(other, steps), other) for other in _neighbours(found, steps))
        for less, other in options:
            if less >= cost:
                return found
            if goal.ratio is not None and sum(other) > sum(counts):
                continue
            then = saves.of(gone(other))
            # what costs less than the average for what it saves is no loss where it is gone
            pays = (cost - less) * (whole - left) >= cost * (then - left)
            if pays and reaches(other):
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
    saves: Meter,
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
        saved = saves.saved(at, gone, orders[at].channels[:count])
        if saved <= 0:
            continue
        rate = (cost - spent) / saved
        if found is None or rate < found[0]:
            found = rate, count
    return found

"""The groups that may lose channels, and what is said of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from ocompress.analysis.channels import ChannelGroups, Group
from ocompress.ir import Node
from ocompress.lossy.engine import Plan, Proposal, Reason
from ocompress.pipeline import Context
from ocompress.planning import KEEP, Move, MoveTable, runners_up
from passes.pruning import channel_plan
from passes.pruning.channel_account import Account
from passes.pruning.channel_builder import TakeChannels
from passes.pruning.channel_costs import Order
from passes.pruning.channel_plan import Goal

_RATIO = 0.3
"""Share of the channels that goes if nothing says how many."""


class ChannelGoal(Protocol):
    """The options that say how many channels go."""

    @property
    def ratio(self) -> float:
        """Share of the channels, 0 for any."""
        ...

    @property
    def max_macs(self) -> float:
        """Share of the work that may be left, 0 for any."""
        ...

    @property
    def max_time(self) -> float:
        """Share of the time that channels take that may be left, 0 for any."""
        ...

    @property
    def scope(self) -> str:
        """Whether all groups give the same share."""
        ...

    def groups_asked(self) -> ChannelGroups:
        """Return how groups are found."""
        ...


def first_node(group: Group) -> Node:
    """Return the node that messages about a group name."""
    return (group.producers or group.cuts)[0].node


def layers_of(group: Group) -> set[str]:
    """Return the labels of all nodes that make or read the channels of a group."""
    near = {cut.node.label for cut in group.cuts}
    return near | {n.label for part in group.values for n, _ in part.value.users}


class Cuts(Proposal):
    """The channels that may go, of all groups; each part is a group.

    Attributes:
        places: Place of each group among all the groups of the model.
        groups: The groups.
        orders: In which order the channels of each go.
        steps: How many of them may go.
        account: Counts the work.
        criterion: What decided the orders.
        refused: Groups that may lose none, with the reason.
    """

    def __init__(
        self,
        item: ChannelGoal,
        multiple: int,
        places: Sequence[int],
        groups: Sequence[Group],
        orders: Sequence[Order],
        account: Account,
        criterion: str,
        refused: Sequence[tuple[Group, Reason]],
    ) -> None:
        """Name the parts.

        Args:
            item: Its options say how many channels go.
            multiple: What the number of channels that are left should be a multiple of.
            places: Place of each group among all the groups of the model.
            groups: The groups.
            orders: In which order the channels of each go.
            account: Counts the work.
            criterion: What decided the orders.
            refused: Groups that may lose none, with the reason.
        """
        self._item, self.places, self.groups, self.orders = item, places, groups, orders
        self.account, self.criterion, self.refused = account, criterion, refused
        self.steps = [
            channel_plan.steps_of(g, o, multiple) for g, o in zip(groups, orders, strict=True)
        ]
        labels = [first_node(group).label for group in groups]
        self.parts = [
            label if labels.count(label) == 1 else f"{label} #{at}"
            for at, label in enumerate(labels)
        ]
        near = (
            [label, *sorted(layers_of(g) - {label})]
            for label, g in zip(labels, groups, strict=True)
        )
        super().__init__(dict(zip(self.parts, near, strict=True)))
        self._moves: dict[tuple[int, int], Move] = {}

    def serve(self, item: ChannelGoal, ctx: Context) -> None:
        """Take the options of another pass, and count what layers take in float or as integers."""
        self._item, self.account.as_integers = item, ctx.becomes_integers

    def leaving(self, share: float) -> Plan:
        """Return the plan that costs least of those that leave a share of the time."""
        return self._plan(self._counts(Goal(max_time=share)))

    def asked(self) -> Plan:
        """Return the plan that the options ask for."""
        item = self._item
        limited = item.max_macs or item.max_time
        if item.scope == "layer" and not limited:
            ratio = item.ratio or _RATIO
            return self._plan(channel_plan.uniform(self.groups, self.steps, ratio))
        most = item.ratio or (None if limited else _RATIO)
        return self._plan(self._counts(Goal(most, item.max_macs or None, item.max_time or None)))

    def counts(self, plan: Plan) -> list[int]:
        """Return how many channels of each group go."""
        known = [plan[part].edit if part in plan else None for part in self.parts]
        return [len(e.channels) if isinstance(e, TakeChannels) else 0 for e in known]

    def time_left(self, plan: Plan) -> float:
        """Return the share of the time of channels that a plan leaves, by the target's table."""
        time, counts = self.account.time, self.counts(plan)
        gone = [o.channels[:c] for o, c in zip(self.orders, counts, strict=True)]
        return time.of(gone) / max(time.of(self.account.nothing), 1e-9)

    def node(self, at: int) -> Node:
        """Return the node that messages about a group name."""
        return first_node(self.groups[at])

    def why_whole(self, at: int) -> Reason:
        """Say why a group that may lose channels stays whole."""
        if self.parts[at] in self.reasons:
            return self.reasons[self.parts[at]]
        if len(self.steps[at].counts) == 1:
            why = f"its {self.groups[at].size} channels are too few to leave a multiple"
            return Reason("too-few", why)
        return Reason("not-chosen", "other channels save more at the same cost")

    def explained(self, plan: Plan) -> list[dict[str, str]]:
        """Return for each group what was chosen, the number of channels next to that, and why."""
        table, taken = MoveTable(), dict[str, int]()
        for at, (part, gone) in enumerate(zip(self.parts, self.counts(plan), strict=True)):
            known = self.steps[at].counts
            near = known.index(gone) if gone in known else 0
            table.add(Move(part, KEEP, "", 0.0, 0, self.account.total))
            for count in (c for c in known[max(near - 1, 0) : near + 2] if c):
                taken |= {part: len(table.rows[part])} if count == gone else {}
                table.add(self._move(at, count))
        return runners_up(table, taken, "macs")

    def _counts(self, goal: Goal) -> list[int]:
        of = self.groups, self.orders, self.steps, self.account, goal
        if self._item.scope == "layer":
            return channel_plan.same_share(*of)
        return channel_plan.cheapest(*of)

    def _plan(self, counts: Sequence[int]) -> Plan:
        return {self.parts[at]: self._move(at, count) for at, count in enumerate(counts) if count}

    def _move(self, at: int, count: int) -> Move:
        """Return the move that takes some channels of a group, as if all others stayed whole."""
        if (at, count) not in self._moves:
            order, nothing = self.orders[at], [o.channels[:0] for o in self.orders]
            saved = self.account.work.saved(at, nothing, order.channels[:count])
            gone = tuple(int(c) for c in np.sort(order.channels[:count]))
            self._moves[at, count] = Move(
                self.parts[at],
                "channels",
                f"{count} of {self.groups[at].size} channels removed",
                float(order.costs[count - 1]),
                0,
                self.account.total - saved,
                edit=TakeChannels(self._item.groups_asked(), self.places[at], gone),
            )
        return self._moves[at, count]

"""The groups that may lose channels, and what is said of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ocompress.analysis.channels import Group
from ocompress.ir import Node
from ocompress.pipeline import Context
from passes.pruning import channel_plan
from passes.pruning.channel_builder import Builder
from passes.pruning.channel_costs import Order
from passes.pruning.channel_plan import Account, Goal, Steps

_RATIO = 0.3
"""Share of the channels that goes if nothing says how many."""


class Asked(Protocol):
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
    def scope(self) -> str:
        """Whether all groups give the same share."""
        ...


def first_node(group: Group) -> Node:
    """Return the node that messages about a group name."""
    return (group.producers or group.cuts)[0].node


@dataclass(frozen=True)
class Reason:
    """Why a group stays whole: a stable code and a sentence."""

    code: str
    why: str


@dataclass(frozen=True)
class Work:
    """All that is known of the groups that may lose channels.

    Attributes:
        places: Their places among all the groups of the model.
        groups: The groups.
        orders: In which order the channels of each go.
        steps: How many of them may go.
        account: Counts the work.
        builder: Makes the models without them.
        criterion: What decided the orders.
        refused: Groups that may lose none, with the reason.
        reasons: Why those stay whole that do, by position.
    """

    places: Sequence[int]
    groups: Sequence[Group]
    orders: Sequence[Order]
    steps: Sequence[Steps]
    account: Account
    builder: Builder
    criterion: str
    refused: Sequence[tuple[Group, Reason]] = ()
    reasons: dict[int, Reason] = field(default_factory=dict)

    def plan(self, item: Asked, left: float | None) -> list[int]:
        """Return how many channels of each group go.

        Args:
            item: Its options count.
            left: Share of the work that may be left; None goes by the options.
        """
        if left is None and item.scope == "layer" and not item.max_macs:
            return channel_plan.uniform(self.groups, self.steps, item.ratio or _RATIO)
        if left is None:
            ratio = item.ratio or (None if item.max_macs else _RATIO)
            goal = Goal(ratio, item.max_macs or None)
        else:
            goal = Goal(None, left)
        if item.scope == "layer":
            return channel_plan.same_share(self.groups, self.orders, self.steps, self.account, goal)
        return channel_plan.cheapest(self.groups, self.orders, self.steps, self.account, goal)

    def node(self, at: int) -> Node:
        """Return the node that messages about a group name."""
        return first_node(self.groups[at])

    def leave(self, at: int, code: str, why: str, ctx: Context) -> None:
        """Say why a group stays whole, to the reader and for its row in the report."""
        ctx.skip(self.node(at), code, why)
        self.reasons[at] = Reason(code, why)

    def say(self, counts: Sequence[int], ctx: Context) -> None:
        """Say of each group that stays whole why."""
        for at, count in enumerate(counts):
            if count:
                continue
            if len(self.steps[at].counts) == 1:
                why = f"its {self.groups[at].size} channels are too few to leave a multiple"
                self.leave(at, "too-few", why, ctx)
            else:
                why = "other channels save more for what they cost"
                self.leave(at, "not-chosen", why, ctx)

    def say_all(self, code: str, why: str, ctx: Context) -> None:
        """Say the same of every group."""
        for at in range(len(self.groups)):
            self.leave(at, code, why, ctx)

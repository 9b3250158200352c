"""The groups that may lose channels, and what is said of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ocompress.analysis.channels import Group
from ocompress.ir import Node
from ocompress.pipeline import Context
from passes.pruning import channel_plan
from passes.pruning.channel_builder import Builder, Built
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
class Work:
    """All that is known of the groups that may lose channels."""

    places: Sequence[int]
    groups: Sequence[Group]
    orders: Sequence[Order]
    steps: Sequence[Steps]
    account: Account
    builder: Builder
    criterion: str

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

    def say(self, counts: Sequence[int], ctx: Context) -> None:
        """Say of each group that stays whole why."""
        for at, count in enumerate(counts):
            if count:
                continue
            if len(self.steps[at].counts) == 1:
                why = f"its {self.groups[at].size} channels are too few to leave a multiple"
                ctx.skip(self.node(at), "too-few", why)
            else:
                why = "other channels save more for what they cost"
                ctx.skip(self.node(at), "not-chosen", why)

    def say_all(self, ctx: Context, code: str, why: str) -> None:
        """Say the same of every group."""
        for at in range(len(self.groups)):
            ctx.skip(self.node(at), code, why)

    def rows(self, counts: Sequence[int], built: Built | None) -> list[dict[str, Any]]:
        """Return the table of the report."""
        rows = []
        nothing = [order.channels[:0] for order in self.orders]
        for at, (group, count) in enumerate(zip(self.groups, counts, strict=True)):
            cost = float(self.orders[at].costs[count - 1]) if count else 0.0
            row: dict[str, Any] = {
                "name": self.node(at).label,
                "channels": group.size,
                "kept": group.size - count,
                "predicted_error": cost,
                "macs_saved": round(
                    self.account.saved(at, nothing, self.orders[at].channels[:count])
                ),
            }
            readers = [c.node.label for c in group.consumers]
            fits = [built.fits[n] for n in readers if n in built.fits] if built else []
            if fits:
                row["output_error"] = max(f.before for f in fits)
                row["refitted_error"] = max(f.after for f in fits)
            rows.append(row)
        return rows

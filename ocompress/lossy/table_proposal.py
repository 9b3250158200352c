"""Proposals whose moves are independent of each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ocompress.lossy.engine import Plan, Proposal
from ocompress.planning import MoveTable, Resource, runners_up


class TableProposal(Proposal):
    """Moves that are independent of each other: the table says which choice is best."""

    def __init__(
        self,
        layers: Mapping[str, Sequence[str]],
        table: MoveTable,
        by: Resource,
        rest: Mapping[Resource, float] | None = None,
    ) -> None:
        """Start with the table.

        Args:
            layers: Labels of the nodes of each part.
            table: The moves of each part.
            by: What moves save.
            rest: What everything else in the model takes of resources.
        """
        super().__init__(layers)
        self.table, self.by, self.rest = table, by, dict(rest or {})

    def leaving(self, share: float) -> Plan:
        """Return the plan with the least error that leaves a share of what moves save."""
        return self.within(self.by, share)

    def within(self, resource: Resource, share: float) -> Plan:
        """Return the plan with the least error that leaves a share of a resource."""
        rest = self.rest.get(resource, 0.0)
        limit = (self.table.total({}, resource) + rest) * share - rest
        return self.plan(self.table.within(resource, limit))

    def left(self, plan: Plan, resource: Resource) -> float | None:
        """Return the share of a resource that a plan leaves, of what its parts take; None of none.

        The rest of the model does not count.
        """
        rows = self.table.rows
        whole = self.table.total({}, resource) if rows else 0.0
        left = sum(plan.get(part, moves[0]).of(resource) for part, moves in rows.items())
        return left / whole if whole else None

    def plan(self, choice: Mapping[str, int]) -> Plan:
        """Return the moves of a choice of rows."""
        return {part: self.table.rows[part][at] for part, at in choice.items() if at}

    def drop(self, plan: Plan, part: str) -> None:
        """Take a move out of the running."""
        at = self.table.rows[part].index(plan[part])
        self.table.drop(part, at, "its layers do not measure faster inside the model")

    def explained(self, plan: Plan) -> list[dict[str, str]]:
        """Return for each part what was chosen, what came second, and why that lost."""
        rows = self.table.rows
        taken = {part: rows[part].index(move) for part, move in plan.items() if part in rows}
        return runners_up(self.table, taken, self.by)

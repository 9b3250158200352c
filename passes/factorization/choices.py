"""All chains that layers could become, and which of them pay."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ocompress.lossy.engine import Plan, Reason
from ocompress.lossy.layer_times import Times
from ocompress.lossy.table_proposal import TableProposal
from ocompress.planning import MoveTable, Resource
from passes.factorization.writing import layer_of

_RUINOUS = "alone it costs more than a model can afford"
_RUIN = 1.0
"""What a form costs at most: beyond, the error is as large as the output itself, or half a nat of
divergence, and decisions are no longer those of the model."""
_TOO_LOSSY = Reason("too-lossy", "each of its forms alone costs more than a model can afford")
_NOT_FASTER = Reason("not-faster", "none of its forms measures faster here")
_NOT_CHOSEN = Reason("not-chosen", "other layers save more at the same cost")


class Chains(TableProposal):
    """All chains that layers could become.

    Attributes:
        power: What it would cost to leave a part out.
    """

    def __init__(
        self,
        layers: Mapping[str, Sequence[str]],
        table: MoveTable,
        by: Resource,
        rest: float,
        power: Mapping[str, float],
    ) -> None:
        """Start with the table.

        Args:
            layers: Labels of the nodes of each part.
            table: The moves of each part.
            by: What is saved: time where it was measured, else multiply-accumulates.
            rest: Multiply-accumulates of everything else in the model, for one sample.
            power: What it would cost to leave a part out.
        """
        super().__init__(layers, table, by, {"macs": rest})
        self.power = power
        self._links: tuple[Times | None, Mapping[str, Sequence[str]]] = (None, {})

    def times_of(self, part: str, times: Times) -> dict[str, float]:
        """Return how long a layer takes, and the chain in its place."""
        if self._links[0] is not times:
            self._links = times, self._links_in(times.after)
        return times.of(self.layers[part], self._links[1][part])

    def drop_ruinous(self) -> None:
        """Take forms out of the running that cost more by themselves than a model can lose."""
        for part, rows in self.table.rows.items():
            for at, row in enumerate(rows):
                if row.error > _RUIN:
                    self.table.drop(part, at, _RUINOUS)

    def why_kept(self, part: str) -> Reason:
        """Say why a part that could have been changed was not."""
        if part in self.reasons:
            return self.reasons[part]
        if len(self.table.open(part)) > 1:
            return _NOT_CHOSEN
        places = range(len(self.table.rows[part]))
        lost = [self.table.lost.get((part, at)) for at in places]
        return _TOO_LOSSY if _RUINOUS in lost else _NOT_FASTER

    def named(self, chains: Mapping[str, str]) -> Plan:
        """Return the plan of the chains that texts name; what is none of them stays.

        Args:
            chains: By part, as `text_of` writes them.
        """
        rows = self.table.rows
        wanted = {(p, text) for p, text in chains.items()}
        plan = {
            p: m
            for p, moves in rows.items()
            for m in moves
            if (p, text_of(m.method, m.setting)) in wanted
        }
        for part in (rows.keys() & chains.keys()) - plan.keys():
            known = "; ".join(text_of(m.method, m.setting) for m in rows[part][1:])
            why = f"{chains[part]!r} is none of its chains" + (f" ({known})" if known else "")
            self.reasons[part] = Reason("not-offered", why)
        return plan

    def reaching(self, by: Resource, share: float) -> Plan:
        """Return the plan that leaves a share; none if even the cheapest forms leave more.

        The work of other layers counts, their time does not.
        """
        plan, rows = self.within(by, share), self.table.rows
        rest = self.rest.get(by, 0.0)
        whole = rest + sum(r[0].of(by) for r in rows.values())
        left = rest + sum(plan.get(part, r[0]).of(by) for part, r in rows.items())
        if left <= share * whole * (1 + 1e-9):
            return plan
        forms = "forms that are measured faster" if self.by == "ms" else "cheapest forms"
        what, goal = ("work", "max_macs") if by == "macs" else ("time", "max_time")
        part = left / max(whole, 1e-30)
        why = f"the {forms} leave {part:.1%} of the {what}, more than {goal} allows"
        self.reasons.update(dict.fromkeys(rows, Reason("not-reached", why)))
        return {}

    def best(self, part: str, *, left: float, energy: float, fastest: bool) -> int:
        """Return the row of a part that a rule for each layer takes, 0 to keep it.

        Args:
            part: The part.
            left: Share of the weights that may be left, 0 for any.
            energy: Share of the output that has to be kept, in power, 0 for any.
            fastest: Whether the fastest form is taken rather than the one with the least error.
        """
        rows, open_ = self.table.rows[part], self.table.open(part)[1:]
        if left:
            open_ = [at for at in open_ if rows[at].bytes <= left * rows[0].bytes]
        if energy:
            most = (1 - energy) * self.power[part]
            open_ = [at for at in open_ if rows[at].error <= most]
        if not open_:
            return 0
        if fastest:
            return min(open_, key=lambda at: (rows[at].of(self.by), rows[at].error))
        return min(open_, key=lambda at: rows[at].error)

    def lines(self, plan: Plan, times: Times | None) -> list[dict[str, Any]]:
        """Return the table of the report, with how long layers that changed take."""
        choice = {part: self.table.rows[part].index(move) for part, move in plan.items()}
        found = self.table.lines(choice)
        for line in found:
            if times is not None and line["name"] in plan and line["taken"]:
                spent = self.times_of(line["name"], times)
                line |= {k: spent[k] for k in ("ms_before", "ms_after") if k in spent}
        return found

    def _links_in(self, labels: Iterable[str]) -> dict[str, list[str]]:
        """Return which labels are those of a part's layers or of links before them, by part."""
        part_of = {layer: part for part, layers in self.layers.items() for layer in layers}
        found: dict[str, list[str]] = {part: [] for part in self.layers}
        for label in labels:
            layer = label if label in part_of else layer_of(label, part_of)
            if layer is not None:
                found[part_of[layer]].append(label)
        return found


def text_of(method: str, setting: str) -> str:
    """Return what users call a chain."""
    return f"{method}, {setting}"

"""Moves: what every part of a model could become, what that costs, and which choice is best.

The table knows nothing of how a move is made: ranks, channels, zeros and integer grids all are a
row with an error, bytes, multiply-accumulates and milliseconds. One currency for errors makes
them comparable: the divergence that an error adds at the outputs of the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np

from ocompress.ir import Model

Resource = Literal["bytes", "macs", "ms"]
_GRAINS = 4000
"""Steps into which a budget is divided; a choice is optimal up to one step for each part."""


class Edit(Protocol):
    """A change of a model as a small value: it names nodes by their labels and can be pickled."""

    def apply(self, model: Model) -> bool:
        """Change a model in place, without data; False if it cannot be done there."""
        ...


@dataclass(frozen=True, slots=True)
class Move:
    """One way to make one part of a model.

    Attributes:
        part: The part, mostly the label of a layer.
        method: How it is made; `keep` leaves it as it is.
        setting: The method's setting, for people (`rank 24`).
        error: What it costs at the outputs of the model, as a divergence in nats times two where
            they are scores of classes, else as noise over signal power.
        bytes: Its weights.
        macs: Its multiply-accumulates for one sample.
        ms: Its time on the target, measured; None if it was not.
        edit: Makes it; None keeps the part.
    """

    part: str
    method: str
    setting: str
    error: float
    bytes: int
    macs: float
    ms: float | None = None
    edit: Edit | None = None

    def of(self, resource: Resource) -> float:
        """Return what it takes of a resource.

        Raises:
            ValueError: If its time is asked for and was not measured.
        """
        if resource == "ms":
            if self.ms is None:
                msg = f"{self.part}: {self.method} {self.setting} was not timed"
                raise ValueError(msg)
            return self.ms
        return float(self.bytes if resource == "bytes" else self.macs)


KEEP = "keep"
"""Method of the move that leaves a part as it is."""


@dataclass
class MoveTable:
    """All moves of all parts, and the reasons why some lost.

    Attributes:
        rows: By part, in order of execution; the first of each part keeps it.
        lost: By position in `rows`, why a move is out of the running.
    """

    rows: dict[str, list[Move]] = field(default_factory=dict)
    lost: dict[tuple[str, int], str] = field(default_factory=dict)

    def add(self, move: Move) -> None:
        """Add a move; the first of a part must keep it.

        Raises:
            ValueError: If it is the first of its part and changes it.
        """
        known = self.rows.setdefault(move.part, [])
        if not known and move.method != KEEP:
            msg = f"{move.part}: the first move keeps the part as it is"
            raise ValueError(msg)
        known.append(move)

    def drop(self, part: str, at: int, why: str) -> None:
        """Take a move out of the running; the first reason counts."""
        self.lost.setdefault((part, at), why)

    def open(self, part: str) -> list[int]:
        """Return the positions of the moves of a part that are in the running."""
        return [at for at in range(len(self.rows[part])) if (part, at) not in self.lost]

    def drop_slower(self, by: Resource, why: str, *, margin: float = 0.0) -> None:
        """Drop moves that take as much of a resource as keeping the part does, or more.

        Args:
            by: The resource.
            why: The reason that is noted.
            margin: Part of what keeping takes that has to be saved.
        """
        for part, rows in self.rows.items():
            limit = rows[0].of(by) * (1 - margin)
            for at in self.open(part)[1:]:
                if rows[at].of(by) >= limit:
                    self.drop(part, at, why)

    def least(self, part: str, resource: Resource) -> int:
        """Return the move of a part that takes least of a resource."""
        rows = self.rows[part]
        return min(self.open(part), key=lambda at: rows[at].of(resource))

    def total(self, choice: Mapping[str, int], resource: Resource) -> float:
        """Return what a choice takes of a resource."""
        return sum(rows[choice.get(part, 0)].of(resource) for part, rows in self.rows.items())

    def error(self, choice: Mapping[str, int]) -> float:
        """Return the sum of the errors of a choice."""
        return sum(rows[choice.get(part, 0)].error for part, rows in self.rows.items())

    def within(self, resource: Resource, limit: float) -> dict[str, int]:
        """Return the choice with the least error that takes no more of a resource than a limit.

        It is a knapsack with one thing of each kind, solved by dynamic programming over parts and
        a budget in steps (Frantar and Alistarh, SPDY, 2022).

        Returns:
            Position of the move of each part; if no choice keeps to the limit, the one that
            takes least.
        """
        if self.total({}, resource) <= limit:
            return dict.fromkeys(self.rows, 0)
        least = {part: self.least(part, resource) for part in self.rows}
        spare = limit - self.total(least, resource)
        if spare <= 0 or not self.rows:
            return least
        grain = spare / _GRAINS
        best = np.zeros(_GRAINS + 1)
        taken = []
        for part, rows in self.rows.items():
            base = rows[least[part]].of(resource)
            fresh = np.full(_GRAINS + 1, np.inf)
            picked = np.zeros(_GRAINS + 1, np.int64)
            for at in self.open(part):
                steps = int(np.ceil((rows[at].of(resource) - base) / grain - 1e-9))
                if steps > _GRAINS:
                    continue
                moved = np.full(_GRAINS + 1, np.inf)
                moved[steps:] = best[: _GRAINS + 1 - steps] + rows[at].error
                better = moved < fresh
                fresh, picked = np.where(better, moved, fresh), np.where(better, at, picked)
            best = fresh
            taken.append(picked)
        choice, left = {}, _GRAINS
        for (part, rows), picked in zip(reversed(self.rows.items()), reversed(taken), strict=True):
            at = int(picked[left])
            choice[part] = at
            base = rows[least[part]].of(resource)
            left -= int(np.ceil((rows[at].of(resource) - base) / grain - 1e-9))
        return choice

    def cheapest(self, resource: Resource, error: float) -> dict[str, int]:
        """Return about the choice that takes least of a resource within a budget of error.

        The limit on the resource is halved until the error of the best choice fits.
        """
        keep = dict.fromkeys(self.rows, 0)
        low, high = 0.0, self.total(keep, resource)
        found = keep
        for _ in range(24):
            middle = (low + high) / 2
            choice = self.within(resource, middle)
            if self.total(choice, resource) <= middle and self.error(choice) <= error:
                found, high = choice, middle
            else:
                low = middle
        return found

    def lines(self, choice: Mapping[str, int]) -> list[dict[str, Any]]:
        """Return the table of the report: every move, whether it was taken, or why not."""
        found = []
        for part, rows in self.rows.items():
            for at, row in enumerate(rows):
                line: dict[str, Any] = {
                    "name": part,
                    "method": row.method,
                    "setting": row.setting,
                    "error": row.error,
                    "bytes": row.bytes,
                    "macs": round(row.macs),
                }
                if row.ms is not None:
                    line["ms"] = row.ms
                line["taken"] = choice.get(part, 0) == at
                if not line["taken"]:
                    line["why"] = self.lost.get((part, at), "others cost less for the same saving")
                found.append(line)
        return found

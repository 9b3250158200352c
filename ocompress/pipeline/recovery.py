"""Passes that a later one makes good: both are judged together, when that one is done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ocompress.ir import Model
from ocompress.pipeline.base import Numerics, Pass
from ocompress.pipeline.records import PassRecord, Status


def is_made_good(item: Pass, later: Sequence[Pass]) -> bool:
    """Whether a pass goes as far as it is told to, and one of the next makes good what is lost.

    Passes that go as far as a limit lets need to be judged where they end.
    """
    goes = item.numerics is Numerics.LOSSY and item.has_goal
    for other in later if goes else ():
        if other.recovers:
            return True
        if other.numerics is Numerics.LOSSY and not other.has_goal:
            return False
    return False


@dataclass
class Unjudged:
    """What was done of late without a limit on the drop having been asked.

    Attributes:
        model: The model before all of it; None if there is nothing.
        first: Place of its first record.
    """

    model: Model | None = None
    first: int = 0

    def add(self, before: Model, place: int) -> None:
        """Note a pass that waits for its judge."""
        if self.model is None:
            self.model, self.first = before, place

    def roll_back(self, records: list[PassRecord]) -> Model:
        """Undo all of it, the records of what was applied included; return the model before."""
        assert self.model is not None  # asked for only where something waits
        for place in range(self.first, len(records)):
            applied = records[place].status is Status.APPLIED
            status = Status.ROLLED_BACK if applied else records[place].status
            records[place] = replace(records[place], status=status)
        return self.model

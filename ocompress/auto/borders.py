"""What computes with few bits in a chain, by times of the very model that it makes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ocompress.auto.chain import Chain, Step
from ocompress.auto.families import FamilyKind, PlanFamily
from ocompress.auto.laboratory import Laboratory


@dataclass
class Borders:
    """Chooses again, by the clock, which layers compute in integers.

    Attributes:
        laboratory: Builds chains where they are timed.
        families: What chains are made of.
    """

    laboratory: Laboratory
    families: Sequence[PlanFamily]
    _open: dict[Step, Step] = field(default_factory=dict)
    """Steps that name layers, and those that left it open which these are."""

    def chains(self, chain: Chain) -> Iterator[Chain]:
        """Yield a chain with what the clock chose, written down by names of layers.

        Names are those of one structure. Where numbers are held in another way, integers may have
        lost to it only because the table misjudges layers of these shapes: all ways to have
        integers are looked at then, but for those that lost too much.

        Raises:
            OutOfTimeError: If the deadline of the search is over.
        """
        for step in self._steps(chain):
            given = chain.having(step)
            known = self.laboratory.trials.get(str(given))
            if known is not None and known.strain > 1:
                continue
            timed = chain.having(Step(step.family.by_the_clock(step.level)))
            options = self.laboratory.settled(timed, given).get(step.family.item)
            if options:
                named = Step(step.family.having(options))
                self._open[named] = step
                yield chain.having(named)

    def _steps(self, chain: Chain) -> list[Step]:
        clocked = [f for f in self.families if f.kind is FamilyKind.NUMBERS and f.clocked]
        now = chain.numbers
        if now is not None and (step := self._open.get(now, now)).family in clocked:
            return [step]
        return [Step(f) for f in clocked if f.lever is None]

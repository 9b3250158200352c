"""Which families join a chain, and how they share with it what may be lost."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ocompress.auto.chain import Chain, Step
from ocompress.auto.families import FamilyKind, PlanFamily
from ocompress.auto.goal import PlanGoal
from ocompress.auto.line import Line
from ocompress.auto.ranking import BOLD
from ocompress.auto.trial import PlanTrial

_SHARES = (0.35, 0.65)
"""Parts of the limit that the first of two families is given."""
_HALF = 0.5
"""The part that a chain is given beside a family of which nothing is known yet."""
_MOST = 2
"""Families that are tried beside a chain."""
_NEARBY, _CLOSE = 2.0, 1.3
"""A family may be added where limits say how far all go if it comes this near by itself; this near
where it would be the only one."""
_MOST_OPENED = 3
"""Structures whose levels limits are to find, at most."""
_TRIALS = 3
"""Levels of each that are tried, at most."""


@dataclass(frozen=True)
class Partners:
    """Looks for what may join a chain.

    Attributes:
        lines: What is known of families by themselves.
        goal: What is made small.
    """

    lines: Mapping[PlanFamily, Line]
    goal: PlanGoal

    def lead(self, chain: Chain) -> Step | None:
        """Return the step of a chain that takes most of the limit, as far as is known."""
        known = [s for s in chain.levers if s.family in self.lines]
        return min(known, key=lambda s: s.level or 0.0, default=None)

    def of(self, best: PlanTrial, near: float) -> list[PlanFamily]:
        """Return families that did something by themselves, the most promising first.

        Args:
            best: The trial whose chain they are to join.
            near: How many times as much as it they may count by themselves.
        """
        used = {s.family for s in best.chain.steps}
        numbers = best.chain.numbers is not None
        found: list[tuple[float, int, PlanFamily]] = []
        for family, line in self.lines.items():
            alone = line.best()
            if alone is None or family in used or (numbers and family.kind is FamilyKind.NUMBERS):
                continue
            if alone.value(self.goal) <= near * best.value(self.goal):
                found.append((alone.value(self.goal), len(found), family))
        return [family for _, _, family in sorted(found)]

    def beside(self, best: PlanTrial, near: float) -> list[Line]:
        """Return lines of families that join a chain which goes less far."""
        lead = self.lead(best.chain)
        if lead is None:
            return []
        families = self.of(best, near)[:_MOST]
        return [
            line
            for family in families
            for share in _SHARES
            for line in self._shared(best.chain, lead, family, share)
        ]

    def in_float(self, bare: Chain, families: Sequence[PlanFamily]) -> Iterator[Line]:
        """Yield lines of families that join a chain without integers and choose by float times.

        Args:
            bare: The chain, without a step for numbers.
            families: All families.
        """
        lead = self.lead(bare)
        level = None if lead is None else self.lines[lead.family].level_for(_HALF)
        if lead is None or level is None:
            return
        base = bare.at(lead.family, level)
        used = {s.family.item for s in bare.steps}
        for family in families:
            if family.integers is False and family.item not in used and family.lever is not None:
                yield _line(base, family, family.lever.first)

    def by_limits(
        self, best: PlanTrial, families: Sequence[PlanFamily], trials: Iterable[PlanTrial] = ()
    ) -> list[Chain]:
        """Return chains whose families have no levels where limits say how far they go.

        Integers come last where a chain has no other way to hold numbers, as what is not faster
        with them is still smaller. There is nothing if all have.

        Args:
            best: The trial whose chain comes first, with one more family that may join it, and next
                with integers where it holds numbers in another way.
            families: All families.
            trials: Others, whose structures follow if they come near.
        """
        able = {f.item: f for f in families if f.opens}
        used = {s.family.item for s in best.chain.steps}
        near = _NEARBY if able.keys() & used else _CLOSE
        joining = [f.item for f in self.of(best, near) if f.item in able and f.item not in used]
        first = _opened(best.chain, families, [able[item] for item in joining[:1]])
        clocked = first.numbers is not None and first.numbers.family.clocked
        found = [first, *(first.having(step) for step in _integers(families) if not clocked)]
        most = _CLOSE * best.value(self.goal)
        bold = [t for t in trials if t.value(self.goal) <= most and t.strain <= BOLD and not t.over]
        for trial in sorted(bold, key=lambda t: t.value(self.goal)):
            chain = _opened(trial.chain, families, ())
            known = [{s.family.item for s in c.steps if s is not c.numbers} for c in found]
            if {s.family.item for s in chain.steps if s is not chain.numbers} not in known:
                found.append(chain)
        return [c for c in found if any(s.family.opens for s in c.steps)][:_MOST_OPENED]

    def _shared(self, chain: Chain, lead: Step, family: PlanFamily, share: float) -> Iterator[Line]:
        """Yield the line of a family beside one that gets a share of the limit."""
        milder = self.lines[lead.family].level_for(share)
        start = self.lines[family].level_for(1 - share)
        if milder is not None and start is not None:
            yield _line(chain.at(lead.family, milder), family, start)


def _opened(chain: Chain, families: Sequence[PlanFamily], joining: Sequence[PlanFamily]) -> Chain:
    """Return a chain without levels that limits can say, and with families that join it."""
    able = {f.item: f for f in families if f.opens}
    held = chain.numbers
    # borders that the clock found have names of layers of another structure
    numbers = _integers(families) if held is None or held.family not in families else [held]
    shaped = [s for s in chain.steps if s is not held]
    opened = [Step(able[s.family.item]) if s.family.item in able else s for s in shaped]
    return Chain.of([*opened, *map(Step, joining), *numbers])


def stored(chain: Chain, families: Sequence[PlanFamily]) -> Chain | None:
    """Return a chain with weights in few bytes that it leaves floats; None if there are none.

    Args:
        chain: The chain.
        families: What it may have.
    """
    weights = next((f for f in families if f.name == "weights"), None)
    return None if chain.numbers is not None or weights is None else chain.having(Step(weights))


def _integers(families: Sequence[PlanFamily]) -> list[Step]:
    """Return the step that makes integers of what pays, if there is one."""
    return [Step(f) for f in families if f.clocked and f.lever is None][:1]


def _line(base: Chain, family: PlanFamily, start: float) -> Line:
    return Line(family, lambda level: base.having(Step(family, level)), start, most=_TRIALS)

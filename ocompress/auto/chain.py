"""Chains of families with levels: points of the space that is searched."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache

from ocompress.auto.families import FamilyKind, PlanFamily
from ocompress.pipeline import Pipeline


@dataclass(frozen=True)
class Step:
    """A family at a level.

    Attributes:
        family: The family.
        level: How far it goes, rounded as its pass gets it, so that steps of one text are equal;
            None for a family without a lever.
    """

    family: PlanFamily
    level: float | None = None

    def __post_init__(self) -> None:
        """Round the level."""
        if self.family.lever is not None and self.level is not None:
            object.__setattr__(self, "level", self.family.lever.rounded(self.level))

    def __str__(self) -> str:
        """Return the text form of its pass."""
        return _text(self.family, self.level)


@dataclass(frozen=True)
class Chain:
    """Families at their levels, in the order in which their passes run."""

    steps: tuple[Step, ...] = ()

    @staticmethod
    def of(steps: Iterable[Step]) -> Chain:
        """Put steps in order."""
        return Chain(tuple(sorted(steps, key=lambda s: s.family.order)))

    def having(self, step: Step) -> Chain:
        """Return the chain with a step, in place of one of the same family or of its slot."""
        kept = [s for s in self.steps if not _collide(s.family, step.family)]
        return Chain.of([*kept, step])

    def without(self, family: PlanFamily) -> Chain:
        """Return the chain without a family."""
        return Chain(tuple(s for s in self.steps if s.family != family))

    def without_items(self, names: Iterable[str]) -> Chain:
        """Return the chain without the passes of some names."""
        out = frozenset(names)
        return Chain(tuple(s for s in self.steps if s.family.item not in out))

    def at(self, family: PlanFamily, level: float) -> Chain:
        """Return the chain with another level of a family that it has."""
        return Chain(
            tuple(replace(s, level=level) if s.family == family else s for s in self.steps)
        )

    @property
    def levers(self) -> list[Step]:
        """The steps that have a level."""
        return [s for s in self.steps if s.family.lever is not None]

    @property
    def numbers(self) -> Step | None:
        """The step that changes how numbers are held, None without one."""
        return next((s for s in self.steps if s.family.kind is FamilyKind.NUMBERS), None)

    def pipeline(self) -> Pipeline:
        """Return its passes."""
        return Pipeline.of([s.family.make(s.level) for s in self.steps], fixed=True)

    def __str__(self) -> str:
        """Return the text form of its passes, `canonicalize` left out."""
        return ",".join(map(str, self.steps)) or "canonicalize"


@cache
def _text(family: PlanFamily, level: float | None) -> str:
    return str(family.make(level))


def _collide(one: PlanFamily, other: PlanFamily) -> bool:
    both = one.kind is FamilyKind.NUMBERS and other.kind is FamilyKind.NUMBERS
    return both or one == other

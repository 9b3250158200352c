"""The families of passes that a plan is made of, and how far each can go."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import Any

from ocompress.auto.goal import PlanGoal
from ocompress.errors import OptionError
from ocompress.pipeline import Pass, find


class FamilyKind(IntEnum):
    """What a family changes; plans hold families in this order."""

    MERGE = 0
    """Fewer layers that compute the same."""
    STRUCTURE = 1
    """Smaller layers."""
    NUMBERS = 2
    """Weights, and what computes with them, in fewer bits; a plan has at most one of these."""
    TRAINING = 3
    """Other weights of the same form, which make good what was lost before."""
    STORAGE = 4
    """The same numbers in fewer bytes."""


@dataclass(frozen=True)
class Lever:
    """The option that says how far a pass goes, as a level: the lower, the less is left.

    Attributes:
        option: Its name.
        first: The level that is tried first.
        low: The lowest level.
        high: Where next to nothing is lost.
        whole: Whether it counts things that go: level n means n of them, and more is lower.
        removed: Whether the option is the share that goes, so that a level is what stays.
        finest: Levels whose ratio is nearer to 1 than this are alike.
        opens: Whether the pass goes by limits where it is given no level, in the same unit.

    Searches go from the first level in steps of the finest ratio.
    """

    option: str
    first: float
    low: float
    high: float = 1.0
    whole: bool = False
    removed: bool = False
    finest: float = 0.05
    opens: bool = False

    def near(self, level: float, stride: int = 1) -> float:
        """Return the level nearest to one that is a multiple of a stride of steps from the first.

        Args:
            level: The level.
            stride: How many finest steps lie between two levels.
        """
        if self.whole:
            return round(level)
        ratio = (1 + self.finest) ** stride
        return self.first * float(ratio ** round(math.log(level / self.first) / math.log(ratio)))

    def value(self, level: float) -> float | int:
        """Return the value of the option at a level, or at the end that it is beyond."""
        if self.whole:
            return round(level)
        level = min(max(level, self.low), self.high)
        return round(1 - level if self.removed else level, 3)

    def rounded(self, level: float) -> float:
        """Return the level that the option's value stands for."""
        value = self.value(level)
        return round(1 - value, 3) if self.removed else value


@dataclass(frozen=True)
class PlanFamily:
    """One way to make models smaller.

    Attributes:
        name: What users call it.
        kind: What it changes.
        item: Name of the pass.
        goals: Which goals it serves.
        options: Options that are set whatever the level.
        lever: How far it goes; None for a pass that has one way to go.
        place: Its place among those of the same kind in a chain.
    """

    name: str
    kind: FamilyKind
    item: str
    goals: frozenset[PlanGoal]
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)
    lever: Lever | None = None
    place: int = 0
    integers: bool | None = None
    """Whether it goes with integer operators after it, or without; None for either."""
    computes: bool = False
    """Whether operators compute with its numbers."""
    clocked: bool = False
    """Whether its pass can go by the clock (`costs`), and then says how to choose so without it."""

    @property
    def order(self) -> tuple[float, int]:
        """Where its pass stands among those of a chain.

        Integers that are computed with come after training, which is faster and freer in float;
        values that take few bits are trained as what they are.
        """
        return FamilyKind.TRAINING + 0.5 if self.computes else self.kind, self.place

    @property
    def opens(self) -> bool:
        """Whether limits say how far it goes where it is given no level."""
        return self.lever is not None and self.lever.opens

    def by_the_clock(self, level: float | None) -> PlanFamily:
        """Return the family at a level, with a pass that goes by times of this machine."""
        at = {self.lever.option: self.lever.value(level)} if self.lever and level else {}
        return self.having({**self.options, **at, "costs": "measured"})

    def having(self, options: Mapping[str, Any]) -> PlanFamily:
        """Return the family with other options and without a lever."""
        return replace(self, options=options, lever=None)

    def make(self, level: float | None) -> Pass:
        """Return the pass that goes to a level."""
        options = dict(self.options)
        if self.lever is not None and level is not None:
            options[self.lever.option] = self.lever.value(level)
        return find(self.item).from_options(options)


_ALL = frozenset(PlanGoal)
_RUN = frozenset({PlanGoal.LATENCY, PlanGoal.MEMORY})
_FILE = frozenset({PlanGoal.SIZE})
_CODED = frozenset({PlanGoal.SIZE, PlanGoal.ARCHIVE})
_WORK = Lever("max_macs", first=0.55, low=0.03, opens=True)
_WIDTH = Lever("max_time", first=0.55, low=0.03, opens=True)
_NOISE = Lever("min_sqnr", first=28.0, low=10.0, high=60.0)
_TIME = Lever("max_time", first=0.8, low=0.2, finest=0.03)


def _bits(option: str, first: float, low: float, high: float) -> Lever:
    return Lever(option, first, low, high, finest=0.06)


_FILES = _RUN | _FILE

FAMILIES: tuple[PlanFamily, ...] = (
    PlanFamily("merge", FamilyKind.MERGE, "merge-layers", _ALL),
    PlanFamily(
        "layers", FamilyKind.STRUCTURE, "prune-layers", _ALL, {}, Lever("count", 1, 64, 0, True)
    ),
    PlanFamily(
        *("heads", FamilyKind.STRUCTURE, "prune-heads", _ALL, {}),
        Lever("ratio", 0.75, 0.1, removed=True),
        1,
    ),
    PlanFamily("channels", FamilyKind.STRUCTURE, "prune-channels", _RUN, {}, _WIDTH, 2),
    PlanFamily("channels", FamilyKind.STRUCTURE, "prune-channels", _CODED, {}, _WORK, 2),
    PlanFamily("factorize", FamilyKind.STRUCTURE, "factorize", _ALL, {}, _WORK, 3, integers=False),
    PlanFamily("factorize", FamilyKind.STRUCTURE, "factorize", _FILES, {}, _TIME, 3, integers=True),
    PlanFamily("separable", FamilyKind.STRUCTURE, "separable", _RUN, {}, _WORK, 4, integers=False),
    PlanFamily("separable", FamilyKind.STRUCTURE, "separable", _RUN, {}, _TIME, 4, integers=True),
    PlanFamily(
        "weights", FamilyKind.NUMBERS, "quant-weights", _ALL, {"form": "int8"}, computes=True
    ),  # the quickest, so first
    *(
        PlanFamily(
            *("int8", FamilyKind.NUMBERS, "quant", _FILES, options, lever),
            computes=True,
            clocked=True,
        )
        for options, lever in (({}, None), ({"noise_price": 0.0}, None), ({}, _NOISE))
    ),
    PlanFamily("dynamic", FamilyKind.NUMBERS, "quant-dynamic", _FILES, computes=True),
    PlanFamily(
        *("cluster", FamilyKind.NUMBERS, "cluster", _CODED, {}),
        _bits("mean_bits", first=2.5, low=1.0, high=8.0),
    ),
    PlanFamily(
        *("codebook", FamilyKind.NUMBERS, "codebook", _CODED, {}),
        _bits("mean_bits", first=1.6, low=0.1, high=8.0),
    ),
    PlanFamily(
        *("entropy", FamilyKind.NUMBERS, "entropy", _CODED, {}),
        _bits("bits", first=1.2, low=0.05, high=8.0),
    ),
    PlanFamily("pack", FamilyKind.STORAGE, "pack-weights", _FILE),
)

TUNING = PlanFamily("tune", FamilyKind.TRAINING, "tune", _ALL)
"""Takes part only where it is asked for, as it takes PyTorch and time."""


def chosen_families(goal: PlanGoal, named: Sequence[str] = ()) -> list[PlanFamily]:
    """Return the families that serve a goal, in the order in which plans hold them.

    Args:
        goal: The goal.
        named: Names of the families that may take part; none means all.

    Raises:
        OptionError: If a name is unknown, or none of the named ones serves the goal.
    """
    known = list(dict.fromkeys(f.name for f in FAMILIES))
    for name in named:
        if name not in known:
            msg = f"family {name!r} is none of {', '.join(known)}"
            raise OptionError(msg)
    found = [f for f in FAMILIES if goal in f.goals and (not named or f.name in named)]
    if not found:
        able = dict.fromkeys(f.name for f in FAMILIES if goal in f.goals)
        msg = f"families {', '.join(named)} do nothing for {goal}; name some of {', '.join(able)}"
        raise OptionError(msg)
    return found


def between(lever: Lever, low: float, high: float, part: float) -> float:
    """Return the level that lies at a part of the way from a low one to a high one."""
    if lever.whole:
        return round(low + (high - low) * part)
    return math.exp(math.log(low) + (math.log(high) - math.log(low)) * part)

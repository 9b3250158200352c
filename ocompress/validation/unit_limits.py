"""What outputs may lose, each in its own unit, under one limit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ocompress.validation.intervals import samples_needed
from ocompress.validation.measures import LossUnit
from ocompress.validation.result import Loss
from ocompress.wording import plural

DEFAULT_DROP = 0.01
"""Limit on the loss where the user sets none."""
_COIN_FLIPS = 5.0
"""Decisions that differ are several times as many as those that become wrong: a default limit on
agreement, with texts, masks and boxes of the original's too, is as much larger as one on
accuracy."""
_SPENT = 0.5
"""Part of a limit on expected accuracy that may be spent. Probabilities of nets that were trained
with smoothed labels or mixed samples are closer to each other than they should be, and samples that
a net was trained on are farther from its boundaries than new ones: either way a loss turns out to
be larger than it was expected to be, by up to this factor and more."""


@dataclass(frozen=True)
class DropLimit:
    """A limit on losses in several units.

    Units are None for a score: accuracy on labels, or the user's own metric.

    Attributes:
        points: What may be lost, as a share.
        default: Whether nobody asked for it. Then units that count all flips in full may lose
            several times as much.
        reserve: Whether a part of a limit on expected accuracy is not to be spent.
        units: Units of outputs, where several losses are to be one figure; empty for a score.
    """

    points: float
    default: bool = False
    reserve: bool = True
    units: Sequence[LossUnit] = ()

    def whole(self, unit: LossUnit | None) -> float:
        """Return what may be lost of a unit, its reserve included."""
        return self.points * self._width(unit)

    def spendable(self, unit: LossUnit | None) -> float:
        """Return what may be lost of a unit, without its reserve."""
        return self.points * self.weight(unit)

    def weight(self, unit: LossUnit | None) -> float:
        """Return what may be spent of a unit over what the limit says."""
        kept = self.reserve and unit is LossUnit.EXPECTED and self.points < 1
        return self._width(unit) * (_SPENT if kept else 1.0)

    @property
    def strictest(self) -> LossUnit | None:
        """The unit of which the least may be spent; None without any."""
        return min(self.units, key=lambda unit: (self.weight(unit), unit), default=None)

    def worth(self, unit: LossUnit | None) -> float:
        """Return how much of a unit is as bad as one of the strictest."""
        return self.weight(unit) / self.weight(self.strictest)

    def kept(self, unit: LossUnit | None) -> float:
        """Return what of a unit is not to be spent, counted in the strictest."""
        return (self.whole(unit) - self.spendable(unit)) / self.worth(unit)

    def currency(self, noun: str) -> str:
        """Return what losses are counted in, for people, if all were of the strictest unit.

        Args:
            noun: What is lost, if no unit may lose more than others.
        """
        others = [(u, self.worth(u)) for u in self.units if self.worth(u) != 1]
        if self.strictest is None or not others:
            return noun
        rates = " or ".join(f"{worth:g} of {unit.noun}" for unit, worth in others)
        return f"{self.strictest.noun} (or {rates})"

    def needed(
        self, margins: Mapping[LossUnit | None, float], confidence: float, times: float | None
    ) -> tuple[int, LossUnit | None]:
        """Return how many samples show that nothing is lost, and the unit that takes so many.

        Args:
            margins: What a sample that is lost costs at the least, by unit.
            confidence: One-sided confidence of the interval's upper end.
            times: What part of what may be spent that end is held against; None holds it against
                the whole.
        """
        found = []
        for unit, margin in margins.items():
            bound = self.whole(unit) if times is None else times * self.spendable(unit)
            found.append((samples_needed(bound, margin, confidence), unit))
        return max(found, default=(0, None), key=lambda item: item[0])

    def worst(self, losses: Iterable[Loss]) -> Loss | None:
        """Return the largest loss for what may be spent of its unit, None without any.

        One that is not a number is the largest.
        """

        def size(found: Loss) -> tuple[bool, float]:
            lost = found.drop.value
            return bool(np.isnan(lost)), lost / self.weight(LossUnit(found.unit))

        return max(losses, key=size, default=None)

    def meaning(self, noun: str, sure: str = "") -> str:
        """Return what the limit means, for people: `at most 1 point of expected accuracy`.

        Args:
            noun: What is counted of a score.
            sure: At what confidence.
        """
        alike: dict[tuple[float, float], list[str]] = {}
        for unit in self.units or (None,):
            kind = self.whole(unit), self.spendable(unit)
            alike.setdefault(kind, []).append(noun if unit is None else unit.noun)
        parts = []
        for (whole, spendable), nouns in sorted(alike.items()):
            kept = "" if whole == spendable else ", of which half is kept as a reserve"
            parts.append(f"{points(whole)} of {' or '.join(sorted(nouns))}{sure}{kept}")
            sure = ""
        return f"at most {', and '.join(parts)}"

    def _width(self, unit: LossUnit | None) -> float:
        wide = self.default and unit is not None and unit.counts_flips
        return _COIN_FLIPS if wide else 1.0


def points(share: float) -> str:
    """Return a share in points of a hundred, for people."""
    found = 100 * share
    return f"{found:.3g} point{plural(found)}"

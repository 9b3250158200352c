"""Which of the trials that were made is the best, and which come after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ocompress.auto.goal import PlanGoal
from ocompress.auto.trial import PlanTrial

BETTER = 0.99
"""A trial is better than another if its figure is below this part of the other's."""
_ALIKE = 1.02
"""Up to this factor figures are as good as each other: times are not measured any better."""
_LITTLE = 1.05
"""Up to this factor a file is not worth losing more, where the goal is another."""
_BOLD, _CLEARLY, _MOST_BOLD = 1.5, 0.97, 2
"""Strain up to which a trial may be carried out nevertheless, the part of the best figure that it
has to be below, and how many are, at most."""
_LESS = 0.95
"""A plan that did not hold gives way to one that loses less than this part of what it lost."""


@dataclass(frozen=True)
class Ranking:
    """Compares trials.

    Attributes:
        trials: The trials.
        goal: What is made small.
    """

    trials: Sequence[PlanTrial]
    goal: PlanGoal

    def finalists(self) -> list[PlanTrial]:
        """Return trials in the order in which they are carried out until one holds.

        Of those that are about as good as the best by the goal, the one that is best otherwise
        counts as the best. First come those that are clearly better than it and lost only a little
        too much: they were fitted to fewer samples than the result will be, and few samples tell
        little. Then from the best on, each losing clearly less than the one before it. Where none
        keeps all limits, it is the one that comes nearest to doing so.
        """
        trials = self._ranked()
        found: list[PlanTrial] = []
        for trial in trials:
            if trial.held and (not found or _lost(trial) < _LESS * _lost(found[-1])):
                found.append(trial)
        if not found:
            return sorted(trials, key=lambda t: (bool(t.over), max(t.strain, 1.0)))[:1]
        limit = found[0].value(self.goal) * _CLEARLY
        bold = [t for t in trials if 1 < t.strain <= _BOLD and not t.over]
        bold = [t for t in bold if t.drop is not None and t.value(self.goal) < limit]
        return [*bold[:_MOST_BOLD], *found]

    def barest(self, trial: PlanTrial) -> PlanTrial:
        """Return the trial, or that of a part of its passes which is as good."""
        found = [t for t in self.trials if self._spares(t, trial)]
        return min(found, key=lambda t: (len(t.chain.steps), t.value(self.goal)), default=trial)

    def _ranked(self) -> list[PlanTrial]:
        """Return trials in which every pass earns its place, best first.

        Of those about as good as the best, what is best otherwise comes first, and of those about
        as good otherwise, too, what loses least.
        """
        trials = sorted(self.trials, key=lambda t: t.value(self.goal))
        trials = [t for t in trials if self.barest(t) is t]
        held = [t for t in trials if t.held]
        alike = [t for t in held if t.value(self.goal) <= _ALIKE * held[0].value(self.goal)]
        if not alike:
            return trials
        least = min(t.other_value(self.goal) for t in alike)
        near = [t for t in alike if t.other_value(self.goal) <= _LITTLE * least]
        first = min(near, key=lambda t: (_lost(t), t.other_value(self.goal)))
        return [first, *(t for t in trials if t is not first)]

    def _spares(self, shorter: PlanTrial, trial: PlanTrial) -> bool:
        """Whether a part of the passes of a trial is as good, by the goal and otherwise."""
        parts, whole = (set(map(str, t.chain.steps)) for t in (shorter, trial))
        less_strained = not trial.held and shorter.strain <= trial.strain and not shorter.over
        if not parts < whole or not (shorter.held or less_strained):
            return False
        figures = ((t.value(self.goal), t.other_value(self.goal)) for t in (shorter, trial))
        return all(fewer * BETTER <= more for fewer, more in zip(*figures, strict=True))


def _lost(trial: PlanTrial) -> float:
    return max(trial.drop or 0.0, 0.0)

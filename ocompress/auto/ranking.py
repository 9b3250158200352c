"""Which of the trials that were made is the best, and which come after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ocompress.auto.goal import PlanGoal
from ocompress.auto.trial import PlanTrial

BETTER = 0.99
"""A trial is better than another if its figure is below this part of the other's."""
ALIKE = 1.02
"""Up to this factor figures are as good as each other: times are not measured any better."""
_LITTLE = 1.05
"""Up to this factor a file is not worth losing more, where the goal is another."""
BOLD = 1.5
"""Strain up to which a trial may be carried out nevertheless: it was fitted to fewer samples than
the result will be, and few samples tell little."""


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
        """Return trials that may be carried out, the best first.

        Every pass of theirs earns its place, they keep all other limits, and lost at most half
        more than is allowed. Where none keeps all limits, it is the one that comes nearest to doing
        so.
        """
        trials = sorted(self.trials, key=lambda t: t.value(self.goal))
        trials = [t for t in trials if self.barest(t) is t]
        held = [t for t in trials if t.held]
        if not held:
            return sorted(trials, key=lambda t: (bool(t.over), max(t.strain, 1.0)))[:1]
        first = self.favoured(held[0], held)
        bold = [t for t in trials if t.drop is not None and t.strain <= BOLD and not t.over]
        return [first, *(t for t in trials if t is not first and (t.held or t in bold))]

    def favoured(self, best: PlanTrial, among: Sequence[PlanTrial]) -> PlanTrial:
        """Return what is best otherwise of the trials that are about as good as one by the goal.

        Of those that are about as good otherwise, too, it is the one that loses least.
        """
        alike = [t for t in among if t.value(self.goal) <= ALIKE * best.value(self.goal)]
        least = min(t.other_value(self.goal) for t in alike)
        near = [t for t in alike if t.other_value(self.goal) <= _LITTLE * least]
        return min(near, key=lambda t: (_lost(t), t.other_value(self.goal)))

    def barest(self, trial: PlanTrial) -> PlanTrial:
        """Return the trial, or that of a part of its passes which is as good."""
        found = [t for t in self.trials if self._spares(t, trial)]
        return min(found, key=lambda t: (len(t.chain.steps), t.value(self.goal)), default=trial)

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

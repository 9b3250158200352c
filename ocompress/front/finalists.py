"""Which plans are carried out, one after the other, until one holds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from ocompress.auto import AIM, PlanGoal, PlanTrial

FIRM = 0.2
"""What was lost, over what may be, below which samples hardly tell one plan from another."""
_NEAR = 0.8
"""Part of that from which on a plan is as good as one made for it."""
_FARTHEST = 3.0
"""Times as much as a plan that held a bolder one may lose."""
_MOST = 5
"""Plans that held where they were chosen, of which so many are carried out at most."""


@dataclass
class Finalists:
    """Plans in the order in which they are carried out, as those before them turned out.

    A plan that loses more on all samples than it did where it was chosen says how much to expect of
    the others: next comes the best one that would hold if it turned out as much worse. The last
    one is the one that loses least.

    Attributes:
        bold: Plans that lost a little too much where they were chosen; they come first.
        sure: Plans that held there, the best first, each losing clearly less than the one before.
        plain: Plans that are no worse than the original; they come last.
        patient: Whether there is time for many: then the next one is as much milder as half of that
            (in logarithms) asks for, as few samples say how much worse plans turn out.
    """

    bold: list[PlanTrial]
    sure: list[PlanTrial]
    plain: list[PlanTrial]
    patient: bool = False
    _worse: float = field(default=0.0, init=False)
    """How many times as much as expected the worst plan lost that was carried out; 0 if none."""
    _tried: int = field(default=0, init=False)

    @property
    def are_over(self) -> bool:
        """Whether none is left."""
        return not (self.bold or self.sure or self.plain)

    @property
    def part(self) -> float:
        """How much of what is allowed a plan may lose where it is chosen, as plans turned out."""
        return AIM / self._expected

    @property
    def _expected(self) -> float:
        """How many times as much as where it was chosen the next plan is taken to lose."""
        return float(max(self._worse, 1.0) ** (0.5 if self.patient else 1.0))

    @property
    def has_near(self) -> bool:
        """Whether there is one that loses about as much."""
        return any(_NEAR * self.part <= t.excess <= self.part / AIM for t in self.sure)

    def add(self, trial: PlanTrial, goal: PlanGoal) -> None:
        """Have a plan among those that held, at its place by what the goal makes small."""
        better = [t for t in self.sure if t.value(goal) <= trial.value(goal)]
        self.sure.insert(len(better), trial)

    def next(self) -> PlanTrial:
        """Return the plan to carry out, which is then no longer among them."""
        if self.bold:
            return self.bold.pop(0)
        if not self.sure:
            return self.plain.pop(0)
        self._tried += 1
        worse = self._expected if self._worse else 0.0
        hopes = [at for at, t in enumerate(self.sure) if t.excess * worse <= 1.0]
        may = self.patient or self._tried < _MOST
        at = hopes[0] if hopes and may else len(self.sure) - 1
        chosen, self.sure = self.sure[at], self.sure[at + 1 :]
        return chosen

    def tell(self, trial: PlanTrial, lost: float) -> None:
        """Learn what became of a plan.

        Args:
            trial: The plan.
            lost: What it lost on all samples over what is allowed, as `PlanTrial.excess`; 0 if it
                did not hold for another reason.
        """
        if lost > 1.0:
            self._worse = max(self._worse, lost / max(trial.excess, FIRM))


def bearable(trial: PlanTrial, excess: float, failed: Sequence[tuple[float, float]]) -> float:
    """Return how much a plan may lose where it is chosen so that it holds when it is carried out.

    Between a plan that holds and the nearest one that does not, what is lost then is taken for a
    power of what is lost where plans are chosen; else the ratio of both is taken to stay.

    Args:
        trial: A plan that holds.
        excess: What it lost when it was carried out, over what is allowed.
        failed: What others that did not hold lost where they were chosen, and then.

    Returns:
        In units of what is allowed, as `PlanTrial.excess`.
    """
    here, lost = max(trial.excess, FIRM), max(excess, AIM / _FARTHEST)
    beyond = [(max(there, FIRM), then) for there, then in failed if max(there, FIRM) > here]
    if not beyond:
        return here * AIM / lost
    there, then = min(beyond)
    return float(here * (there / here) ** (math.log(AIM / lost) / math.log(then / lost)))

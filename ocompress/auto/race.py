"""Lines that are gone along side by side, those that promise most first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ocompress.auto.chain import Chain
from ocompress.auto.foresight import Walk
from ocompress.auto.goal import PlanGoal
from ocompress.auto.laboratory import Laboratory
from ocompress.auto.line import Line
from ocompress.auto.trial import PlanTrial

_HOPELESS = 1.35
"""A line that promises no more than this many times the best of all ends."""
_ABREAST = 2
"""Lines that go on side by side, however many builders there are, as that would change the plan."""


@dataclass(frozen=True)
class Race:
    """Goes along lines until none of them may gain.

    Attributes:
        laboratory: Is told what is likely to be asked for.
        goal: What is made small.
        evaluate: Builds and measures chains, and takes note of the best.
        best: Returns the best trial of all so far.
    """

    laboratory: Laboratory
    goal: PlanGoal
    evaluate: Callable[[Sequence[Chain]], list[PlanTrial]]
    best: Callable[[], PlanTrial | None]

    def run(self, lines: Sequence[Line], then: Callable[[], Sequence[Walk]] = list) -> None:
        """Go along lines: a trial of each, then of those that promise most, until none may gain.

        Args:
            lines: The lines.
            then: Returns what is likely to be asked for after them, as far as is known by now.
        """
        going = list(lines)
        while going:
            self.expect(going, then)
            asked = [line for line in going if not line.trials]
            asked = asked or sorted(going, key=lambda o: o.promise(self.goal))[:_ABREAST]
            trials = self.evaluate([line.ask() for line in asked])
            for line, trial in zip(asked, trials, strict=True):
                line.tell(trial)
            going = [line for line in going if not line.done and self._is_hopeful(line)]

    def expect(self, lines: Sequence[Line], then: Callable[[], Sequence[Walk]] = list) -> None:
        """Let builders that would be idle run ahead on each line, or else with what comes then."""
        self.laboratory.expect([*self.walks(lines), *then()])

    def walks(self, lines: Sequence[Line]) -> list[Walk]:
        """Return what would be asked for on each line."""
        return [line.walk(self._is_hopeful) for line in lines]

    def _is_hopeful(self, line: Line) -> bool:
        """Whether more trials may be worth it: the family does something, and gains something."""
        if line.is_absent:
            return False
        if len(line.trials) > 1 and all(line.family.item in t.idle for t in line.trials):
            return False
        best = self.best()
        return best is None or line.promise(self.goal) <= _HOPELESS * best.value(self.goal)

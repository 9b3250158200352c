"""What plans promise once they are carried out, as those tell that were."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ocompress.auto import Chain, Laboratory, OutOfTimeError, PlanSearch, PlanTrial
from ocompress.front.carrying import Carrier, Outcome
from ocompress.front.outlook import CLOSING_SECONDS, gain, reserve
from ocompress.front.prospects import Prospects

_PACE = 1.25
"""Plans are given so many times the time that those before them took for what was reserved."""


@dataclass
class Expectations:
    """What is known of plans: as they were tried, and as some of them turned out.

    Attributes:
        carrier: Carries them out.
        search: The search, which is over.
        laboratory: Makes further trials.
        passed: Plans that did not hold, with the reason.
    """

    carrier: Carrier
    search: PlanSearch
    laboratory: Laboratory
    passed: list[PlanTrial] = field(default_factory=list, kw_only=True)
    _prospects: Prospects = field(default_factory=Prospects, kw_only=True)
    _carried: set[str] = field(default_factory=set, kw_only=True)
    _least: float = field(default=math.inf, kw_only=True)
    """The least that a plan which was carried out lost where it was chosen."""
    _drifts: list[float] = field(default_factory=list, kw_only=True)
    _pace: float = field(default=0.0, kw_only=True)
    """The largest part of what was reserved for a plan that it took; 0 before any was."""

    def _carry(self, trial: PlanTrial, *, last: bool = False, below: float = math.inf) -> Outcome:
        """Carry a plan out and learn from it."""
        self._carried.add(str(trial.chain))
        self._least = min(self._least, trial.excess)
        found = self.carrier.outcome(trial, last=last, below=below)
        self._prospects.tell(trial, found.excess)
        self._pace = max(self._pace, found.seconds / reserve(trial))
        self._drifts.append(gain(trial.value(self.search.goal), found.value))
        if found.why and not last:
            self.passed.append(replace(trial, why=found.why))
        return found

    @property
    def _drift(self) -> float:
        """How much more is counted of plans once they are carried out, in logarithms.

        The machine may be in another state, which all plans share, or a plan may have become
        another model, which is its own: the least of all is common, and one alone is taken for half
        and half.
        """
        least = min(self._drifts, key=abs, default=0.0)
        return least / 2 if len(self._drifts) == 1 else least

    def _pool(self) -> list[PlanTrial]:
        """Return plans that may still be carried out."""
        return [t for t in self.search.finalists() if str(t.chain) not in self._carried]

    def _best(self, pool: Sequence[PlanTrial], reference: float) -> PlanTrial:
        goal = self.search.goal
        return max(pool, key=lambda t: (self._promise(t, reference), -t.value(goal)))

    def _promise(self, trial: PlanTrial, reference: float) -> float:
        gained = gain(trial.value(self.search.goal), reference)
        return self._prospects.improvement(trial.chain, trial.excess, gained)

    def _chance(self, trial: PlanTrial) -> float:
        return self._prospects.chance(trial.chain, trial.excess)

    def _tried(self, chain: Chain) -> PlanTrial | None:
        """Return the trial of another chain, None if the time is over before."""
        self.laboratory.deadline = self.carrier.deadline
        with contextlib.suppress(OutOfTimeError), self.carrier.spending(f"tried: {chain}"):
            (found,) = self.laboratory.evaluate([chain])
            return found
        return None

    def _takes(self, trial: PlanTrial) -> float:
        """Return the seconds that carrying out a trial takes, as those before it did."""
        known = min(_PACE * self._pace, 1.0) if self._pace else 1.0
        return max(CLOSING_SECONDS, known * reserve(trial))

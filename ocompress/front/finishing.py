"""Carrying plans out on all samples: one that holds, then what promises more."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from ocompress.auto import ALIKE, BETTER, BOLD, Chain, PlanGoal, PlanTrial, stored
from ocompress.front.carrying import Outcome
from ocompress.front.expectations import Expectations
from ocompress.front.outlook import GAIN, gain, left_to_gain
from ocompress.front.prospects import FIRM
from ocompress.report import Optimization

_WORTH = 0.005
"""What a plan has to promise beyond what holds to be carried out, in logarithms."""
_MORE = 8
"""Plans that are carried out once one holds, at most."""
_LATE = 3
"""Further plans that are carried out once the time is over, until one holds, before the safest."""
_PARTS = (0.4, 0.55, 0.7, 0.85, 1.2, 1.4, 1.7, 2.0)
"""What plans that are made of others may lose over what those lose."""
_BOLDEST = 1.5
"""What a plan that is made may lose where plans are chosen, over what is allowed."""
_SURER = 1.15
"""One is made if it promises so many times as much as those that there are."""
_FRESH = 2
"""Plans that are made between two that are carried out."""
_BUILDS = 2.0
"""Limits find levels in about so many times the time that carrying out a plan takes."""
_UNSURE = 0.05
"""Times where plans are chosen tell no less, in logarithms; what is carried out is timed again."""
_AS_SURE, _HOPELESS = 0.9, 0.02
"""Probabilities of holding that differ by less than this factor are the same; and the least that
is worth anything."""


@dataclass
class Finishing(Expectations):
    """What becomes of the plans that a search ends with.

    Attributes:
        interrupted: Whether somebody waits for the end, so that the first that holds is taken.
    """

    interrupted: bool = False
    _asked: set[str] = field(default_factory=set)
    """Chains whose levels limits were asked for."""
    _late: int = 0
    _kept: float = 0.0
    """Seconds that are kept for storing the weights of the best plan, at last."""

    def run(self) -> tuple[PlanTrial, Optimization]:
        """Carry plans out until nothing promises much more than the best that holds.

        A result is fitted to more samples than its trial was, and judged on others, so what becomes
        of plans tells what to expect of the rest. Plans a little milder or bolder than those that
        there are are made where they promise more.

        Returns:
            The trial of the plan that is taken, and its result, written.
        """
        best, found = self._first()
        if not found.why and found.value and not self.interrupted:
            best = self._beyond(best, found)
        done = self.carrier.result(best)
        names = {r.name for r in done.pipeline.records}
        return self.laboratory.without(best, self.carrier.spare(best) - names), done

    def _beyond(self, best: PlanTrial, found: Outcome) -> PlanTrial:
        """Return the best plan that holds, given one.

        Limits find levels for its structure as soon as they promise more in their time than plans
        do that were tried; and at last, for whatever is the best by then.
        """
        below, sought = found.value, False
        limits = left_to_gain(found.excess) / ((_BUILDS + 1) * self._takes(best))
        for _ in range(_MORE):
            self._kept = 0.0 if self._small(best) is None else best.seconds + self._takes(best)
            reference = below / math.exp(self._drift)  # as trials are counted
            if not sought and limits >= self._pace_of(self._waiting(reference), reference):
                best, below = self._as_far_as_limits_let(best, below, 1)
                sought = True
                continue
            bolder = self._promising(reference)
            if bolder is None:
                break
            more = self._carry(bolder, below=below)
            if not more.why and more.value < BETTER * below:
                best, below = bolder, more.value
                limits = left_to_gain(more.excess) / ((_BUILDS + 1) * self._takes(best))
        best, below = self._as_far_as_limits_let(best, below)
        self._kept = 0.0
        return self._stored(best, below)

    def _small(self, best: PlanTrial) -> Chain | None:
        """Return a plan with weights in few bytes that it leaves floats, None if there are none."""
        if self.search.goal is not PlanGoal.LATENCY:
            return None
        return stored(best.chain, self.search.families)

    def _stored(self, best: PlanTrial, below: float) -> PlanTrial:
        """Return a plan, its weights in few bytes if that is as fast and holds.

        What computes in floats may be the fastest; its file need not hold floats.
        """
        chain = self._small(best)
        trial = None if chain is None else self._tried(chain)
        if trial is None or str(trial.chain) in self._carried:
            return best
        as_fast = trial.value(self.search.goal) <= ALIKE * best.value(self.search.goal)
        if not as_fast or trial.strain > BOLD or self._takes(trial) > self.carrier.time:
            return best
        more = self._carry(trial, below=ALIKE / BETTER * below)
        return trial if not more.why and more.value < ALIKE * below else best

    @property
    def _time(self) -> float:
        """Seconds left for plans that may be better."""
        return self.carrier.time - self._kept

    def _pace_of(self, trial: PlanTrial | None, reference: float) -> float:
        """Return what a plan promises for each second that it takes."""
        return 0.0 if trial is None else self._promise(trial, reference) / self._takes(trial)

    def _as_far_as_limits_let(
        self, best: PlanTrial, below: float, most: int | None = None
    ) -> tuple[PlanTrial, float]:
        """Return what is best of a plan, and of those whose levels limits have found.

        That is what people run who name no levels. It finds shares of the limit that no plan was
        tried at, and is judged on the very samples that judge the result.

        Args:
            best: The plan.
            below: What is made small of it.
            most: Structures that are looked at, None for as many as may pay.

        Returns:
            The plan, and what is made small of it.
        """
        if self.search.goal is not PlanGoal.LATENCY:
            return best, below
        tried = list(self.laboratory.trials.values())
        for chain in self.search.partners.by_limits(best, self.search.families, tried)[:most]:
            if str(chain) in self._asked:
                continue
            if _BUILDS * self._takes(best) > self._time:
                break
            self._asked.add(str(chain))
            with self.carrier.spending(f"levels sought: {chain}"):
                found = self.carrier.limited(chain)
            trial = None if found is None or not found.steps else self._better(found, chain)
            if trial is None or str(trial.chain) in self._carried:
                continue
            gained = gain(trial.value(self.search.goal), below / math.exp(self._drift))
            if gained < -_UNSURE or self._takes(trial) > self._time:
                continue
            more = self._carry(trial, below=below)
            if not more.why and more.value < BETTER * below:
                best, below = trial, more.value
        return best, below

    def _better(self, found: Chain, asked: Chain) -> PlanTrial | None:
        """Return the better trial of levels that limits found; None if the time is over before.

        Numbers are held as the clock chose there, which may err for a moment and leave all in
        float, or as the chain that was asked for leaves it open.
        """
        numbers = asked.numbers
        chains = dict.fromkeys([found, *([found.having(numbers)] if numbers is not None else ())])
        trials = [t for chain in chains if (t := self._tried(chain)) is not None]
        goal = self.search.goal
        return min(trials, key=lambda t: (t.strain > BOLD, t.value(goal)), default=None)

    def _first(self) -> tuple[PlanTrial, Outcome]:
        """Return a plan that holds; if none does, the last that is left."""
        while True:
            safest = min(self._pool(), key=lambda t: (bool(t.chain.steps), not t.held, t.excess))
            trial = self._hopeful(safest)
            found = self._carry(trial, last=trial is safest)
            if trial is safest or not found.why:
                return trial, found

    def _hopeful(self, safest: PlanTrial) -> PlanTrial:
        """Return the plan to carry out next while none holds: the safest one if there is no hope.

        Once the time is over, only a few that lose less and less are.
        """
        goal, reference = self.search.goal, safest.value(self.search.goal)
        if self._carried:
            self._make(reference)
        pool = [t for t in self._pool() if self._chance(t) >= _HOPELESS or t is safest]
        in_time = [t for t in pool if t is safest or self._takes(t) <= self._time]
        if self._carried and in_time == [safest]:
            self._late += 1
            others = [t for t in pool if t.chain.steps and t.excess < self._least]
            sure = sorted(others, key=lambda t: (max(t.excess, FIRM), t.value(goal)))
            return sure[0] if sure and self._late <= _LATE else safest
        pool = in_time if self._carried else pool
        best = self._best(pool, reference)
        least = _AS_SURE * self._chance(best)
        return self.search.favoured(best, [t for t in pool if self._chance(t) >= least])

    def _promising(self, reference: float) -> PlanTrial | None:
        """Return the plan that promises most beyond one that holds, None if it is not worth it.

        Args:
            reference: What the goal makes small, as it was where the one that holds was chosen.
        """
        self._make(reference)
        best = self._waiting(reference)
        return best if best is not None and self._promise(best, reference) >= _WORTH else None

    def _waiting(self, reference: float) -> PlanTrial | None:
        """Return the plan that promises most of those that were tried, if there is time for it."""
        pool = [t for t in self._pool() if self._takes(t) <= self._time]
        return self._best(pool, reference) if pool else None

    def _make(self, reference: float) -> None:
        """Have plans tried that promise more than those that there are, if there is time.

        Args:
            reference: What the goal makes small, beyond which there is a gain.
        """
        made = 0
        for promise, trial, part in sorted(self._ideas(reference), key=lambda i: -i[0]):
            least = max((self._promise(t, reference) for t in self._pool()), default=0.0)
            if made >= _FRESH or promise < max(_SURER * least, _WORTH):
                break
            chain = self.search.moved(trial, part)
            if str(chain) in self.laboratory.trials or not self._has_time(trial):
                continue
            made += 1
            if self._tried(chain) is None:
                break

    def _ideas(self, reference: float) -> Iterator[tuple[float, PlanTrial, float]]:
        """Yield what a plan promises that loses a part of what another one does; that, the part."""
        goal = self.search.goal
        for trial in self.search.finalists():
            here = max(trial.excess, FIRM)
            for part in _PARTS if trial.chain.levers else ():
                gained = gain(trial.value(goal) * part**-GAIN, reference)
                if here * part <= _BOLDEST:
                    promise = self._prospects.improvement(trial.chain, here * part, gained)
                    yield promise, trial, part

    def _has_time(self, trial: PlanTrial) -> bool:
        """Whether there is time to try another plan like this one, and to carry it out."""
        return trial.seconds + self._takes(trial) <= self._time

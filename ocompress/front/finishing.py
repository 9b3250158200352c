"""Carrying plans out on all samples, one after the other, until one holds."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from ocompress.auto import AIM, BETTER, Chain, Laboratory, OutOfTimeError, PlanSearch, PlanTrial
from ocompress.front.carrying import Carrier, Outcome
from ocompress.front.finalists import FIRM, Finalists, bearable
from ocompress.report import Optimization

_RESERVE = 1.5
"""The result takes its trial's time again, times this, as it is fitted to more samples."""
_SLACK = 0.75
"""Part of what may be lost up to which a result has to lose for a bolder plan to be tried."""
_PATIENCE = 4
"""Plans that there is time for where the next one is only a little milder than one that failed."""
_BOLDER = 4
"""Bolder plans that are carried out, at most."""
_LITTLE = 1.1
"""A bolder plan loses at least this many times as much as the one that holds."""
_CLOSING_SECONDS = 2.0
"""Time that judging and writing take about, at the least."""


@dataclass
class Finishing:
    """What becomes of the plans that a search ends with.

    Attributes:
        carrier: Carries them out.
        search: The search, which is over.
        laboratory: Makes further trials.
        hurried: Whether the search ended early, so that there is no time but for the best, and
            what is better yet once that is known to hold.
        interrupted: Whether somebody waits for the end.
        passed: Plans that did not hold, with the reason.
    """

    carrier: Carrier
    search: PlanSearch
    laboratory: Laboratory
    hurried: bool
    interrupted: bool = False
    passed: list[PlanTrial] = field(default_factory=list)
    _failed: dict[str, tuple[float, float]] = field(default_factory=dict)
    """By chain, what plans lost where they were chosen that lost too much once carried out, and
    then."""

    def run(self) -> tuple[PlanTrial, Optimization]:
        """Run finalists, the best first, until one holds, and write it.

        A result is fitted to more samples than its trial was, and loses less as a rule: where it
        leaves much of what may be lost, bolder plans are tried, and where there is time those that
        promise more at about the same loss.
        """
        finalists = self._affordable(self.search.finalists())
        while True:
            finalists.patient = self._is_patient(finalists)
            trial, last = finalists.next(), finalists.are_over
            found = self.carrier.outcome(trial, last=last)
            if last or not found.why:
                break
            finalists.tell(trial, found.excess)
            self._refuse(trial, found)
            self._soften(trial, finalists)
        if not found.why:
            trial, found = self._climbed(trial, found)
        done = self.carrier.result(trial)
        names = {r.name for r in done.pipeline.records}
        return self.laboratory.without(trial, self.carrier.spare(trial) - names), done

    def _climbed(self, trial: PlanTrial, found: Outcome) -> tuple[PlanTrial, Outcome]:
        """Carry out bolder plans, each as bold as those before it let hope, and return the best.

        Args:
            trial: A plan that holds.
            found: What became of it.
        """
        tried = {str(trial.chain)}
        for _ in range(_BOLDER):
            bolder = self._bolder(trial, found, tried)
            if bolder is None:
                break
            tried.add(str(bolder.chain))
            more = self.carrier.outcome(bolder, below=found.value)
            if more.why:
                self._refuse(bolder, more)
            elif more.value < BETTER * found.value:
                trial, found = bolder, more
        return trial, found

    def _bolder(self, trial: PlanTrial, found: Outcome, tried: Collection[str]) -> PlanTrial | None:
        """Return a plan that should still hold, and be better, if there is time to try one.

        Args:
            trial: The best plan that holds.
            found: What became of it.
            tried: Chains that were carried out since one held.
        """
        if self.interrupted or not trial.chain.steps or not found.value:
            return None
        most = bearable(trial, found.excess, list(self._failed.values()))
        part = most / max(trial.excess, FIRM)
        while found.excess <= _SLACK and part >= _LITTLE and self._has_time(trial):
            made = self._tried(self.search.moved(trial, part))
            if made is None or made.excess * AIM <= most:
                break
            part **= 0.5  # it went too far
        goal, tried = self.search.goal, {*tried, *(str(p.chain) for p in self.passed)}
        known = [t for t in self.laboratory.trials.values() if not t.over and t.drop is not None]
        known = [t for t in known if t.value(goal) < BETTER * trial.value(goal)]
        known = [t for t in known if t.excess * AIM <= most and str(t.chain) not in tried]
        known = [t for t in known if reserve(t) <= self.carrier.time]
        return min(known, key=lambda t: t.value(goal), default=None)

    def _refuse(self, trial: PlanTrial, found: Outcome) -> None:
        """Remember a plan that did not hold, and how much it lost if it lost too much."""
        self.passed.append(replace(trial, why=found.why))
        if found.excess > 1:
            self._failed[str(trial.chain)] = trial.excess, found.excess

    def _soften(self, trial: PlanTrial, finalists: Finalists) -> None:
        """Have a plan that did not hold among the others again, milder, if there is time."""
        part = finalists.part / max(trial.excess, FIRM)
        if part >= 1 or finalists.has_near or not self._has_time(trial):
            return
        chain = self.search.moved(trial, part)
        if str(chain) in self.laboratory.trials:
            return
        found = self._tried(chain)
        if found is not None and found.held:
            finalists.add(found, self.search.goal)

    def _tried(self, chain: Chain) -> PlanTrial | None:
        """Return the trial of another chain, None if the time is over before."""
        self.laboratory.deadline = self.carrier.deadline
        with contextlib.suppress(OutOfTimeError), self.carrier.spending(f"tried: {chain}"):
            (found,) = self.laboratory.evaluate([chain])
            return found
        return None

    def _is_patient(self, finalists: Finalists) -> bool:
        """Whether there is time for some more plans that do not hold."""
        each = max((t.seconds + reserve(t) for t in finalists.sure), default=0.0)
        return not self.hurried and _PATIENCE * each <= self.carrier.time

    def _has_time(self, trial: PlanTrial) -> bool:
        """Whether there is time to try another plan like this one, and to carry it out."""
        return trial.seconds + reserve(trial) <= self.carrier.time

    def _affordable(self, finalists: Sequence[PlanTrial]) -> Finalists:
        """Return those that there is time for: one that holds as far as is known, at least."""
        sure = [t for t in finalists if t.held] or list(finalists)
        left = self.carrier.time - reserve(sure[0])
        bold: list[PlanTrial] = []
        for trial in finalists:
            if trial in sure or self.hurried or reserve(trial) > left:
                continue
            left -= reserve(trial)
            bold.append(trial)
        sure = [t for t in sure if t.chain.steps] or sure
        plain = [t for t in self.laboratory.trials.values() if t.held and not t.chain.steps]
        return Finalists(bold, sure, [t for t in plain if t not in sure])


def reserve(trial: PlanTrial) -> float:
    """Return the seconds that carrying out a trial takes about."""
    return max(_CLOSING_SECONDS, _RESERVE * trial.seconds)

"""Carrying plans out on all samples, one after the other, until one holds."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ocompress.auto import Laboratory, OutOfTimeError, PlanGoal, PlanSearch, PlanTrial
from ocompress.front.bench import Bench
from ocompress.front.beside import strained
from ocompress.front.budget import Budget
from ocompress.front.finalists import Finalists
from ocompress.front.job import attempt
from ocompress.front.request import Request
from ocompress.profiling import seems_slower
from ocompress.report import Optimization

_RESERVE = 1.5
"""The result takes its trial's time again, times this, as it is fitted to more samples."""
_CLOSING_SECONDS = 2.0
"""Time that judging and writing take about, at the least."""


@dataclass
class Finishing:
    """What becomes of the plans that a search ends with.

    Attributes:
        bench: The original and what judges look at.
        goal: What is made small.
        budget: Limits on the result.
        search: The search, which is over.
        laboratory: Makes further trials.
        deadline: When to be done, in seconds of `time.monotonic`.
        hurried: Whether the search ended early, so that there is no time but for the best.
        passed: Plans that did not hold, with the reason.
    """

    bench: Bench
    goal: PlanGoal
    budget: Budget
    search: PlanSearch
    laboratory: Laboratory
    deadline: float
    hurried: bool
    passed: list[PlanTrial] = field(default_factory=list)

    def run(self, output: Path | None, files: Sequence[Path]) -> tuple[PlanTrial, Optimization]:
        """Run finalists, the best first, until one holds, and write it.

        Args:
            output: Where it goes, None for nowhere.
            files: What must survive.
        """
        finalists = self._affordable(self.search.finalists())
        while True:
            trial = finalists.next()
            spare, last = self._spare(trial), finalists.are_over
            request = self._request(trial)
            done = attempt(self.bench, request, output, files, last=last, spare=spare)
            why = "; ".join(done.broken) or self._slower(trial, done)
            if last or (done.held and not why):
                break
            finalists.tell(trial, strained(done))
            self.passed.append(replace(trial, why=why))
            self._soften(trial, finalists)
        return self.laboratory.without(trial, spare - {r.name for r in done.pipeline.records}), done

    def _soften(self, trial: PlanTrial, finalists: Finalists) -> None:
        """Have a plan that did not hold among the others again, milder, if there is time."""
        part = finalists.part / max(trial.strain, 1e-9)
        if part >= 1 or finalists.has_near or not self._has_time(trial):
            return
        chain = self.search.milder(trial, part)
        if str(chain) in self.laboratory.trials:
            return
        self.laboratory.deadline = self.deadline
        with contextlib.suppress(OutOfTimeError):
            (found,) = self.laboratory.evaluate([chain])
            if found.held:
                finalists.add(found, self.goal)

    def _has_time(self, trial: PlanTrial) -> bool:
        """Whether there is time to try another plan like this one, and to carry it out."""
        return trial.seconds + reserve(trial) <= self.deadline - time.monotonic()

    def _slower(self, trial: PlanTrial, done: Optimization) -> str:
        """Return why a plan for the latency is no better than the original, empty if it is."""
        profile = done.profile
        for_time = self.goal is PlanGoal.LATENCY and trial.chain.steps
        ratio = profile.ratio if profile is not None else None
        if not for_time or ratio is None or not seems_slower(ratio):
            return ""
        return f"the result takes {ratio.value:.2f} times the original's time"

    def _affordable(self, finalists: Sequence[PlanTrial]) -> Finalists:
        """Return those that there is time for: one that holds as far as is known, at least."""
        sure = [t for t in finalists if t.held] or list(finalists)
        left = self.deadline - time.monotonic() - reserve(sure[0])
        bold: list[PlanTrial] = []
        for trial in finalists:
            if trial in sure or self.hurried or reserve(trial) > left:
                continue
            left -= reserve(trial)
            bold.append(trial)
        sure = [t for t in sure if t.chain.steps] or sure
        plain = [t for t in self.laboratory.trials.values() if t.held and not t.chain.steps]
        return Finalists(bold, sure, [t for t in plain if t not in sure])

    def _request(self, trial: PlanTrial) -> Request:
        return replace(self.bench.request, passes=trial.chain.pipeline(), budget=self.budget)

    def _spare(self, trial: PlanTrial) -> frozenset[str]:
        """Return the passes that nobody asked for but the plan."""
        packs = {"pack-weights"} if self.bench.request.storage != "plain" else frozenset[str]()
        return frozenset(step.family.item for step in trial.chain.steps) - packs


def reserve(trial: PlanTrial) -> float:
    """Return the seconds that carrying out a trial takes about."""
    return max(_CLOSING_SECONDS, _RESERVE * trial.seconds)

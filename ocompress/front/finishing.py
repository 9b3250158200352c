"""Carrying plans out on all samples, one after the other, until one holds."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from ocompress.auto import (
    AIM,
    BETTER,
    Chain,
    Laboratory,
    Ledger,
    OutOfTimeError,
    PlanGoal,
    PlanSearch,
    PlanTrial,
)
from ocompress.front.bench import Bench
from ocompress.front.beside import exceeding, measured
from ocompress.front.budget import Budget
from ocompress.front.finalists import FIRM, Finalists
from ocompress.front.job import attempt
from ocompress.profiling import seems_slower
from ocompress.report import Optimization

_RESERVE = 1.5
"""The result takes its trial's time again, times this, as it is fitted to more samples."""
_SLACK = 0.6
"""Part of what may be lost up to which a result has to lose for a bolder plan to be tried."""
_FARTHEST = 3.0
"""Times as much as the plan before a bolder one may lose."""
_PATIENCE = 4
"""Plans that there is time for where the next one is only a little milder than one that failed."""
_BOLDER = 2
"""Bolder plans that are carried out, at most."""
_CLOSING_SECONDS = 2.0
"""Time that judging and writing take about, at the least."""


@dataclass(frozen=True)
class _Outcome:
    """What became of a plan on all samples.

    Attributes:
        excess: What it lost over what is allowed, counted from what no loss would look like.
        why: Why it does not hold, empty if it does.
        value: What is made small of it, 0 where that is not measured.
        seconds: How long it took.
    """

    excess: float
    why: str
    value: float
    seconds: float


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
        ledger: Remembers what became of plans.
        name: What tells the search from others there.
        passed: Plans that did not hold, with the reason.
    """

    bench: Bench
    goal: PlanGoal
    budget: Budget
    search: PlanSearch
    laboratory: Laboratory
    deadline: float
    hurried: bool
    ledger: Ledger
    name: str
    passed: list[PlanTrial] = field(default_factory=list)
    _left: float = field(init=False)
    """Seconds left, as they were when the same search was finished for the first time."""
    _done: dict[str, Optimization] = field(default_factory=dict)
    """The result that is written, by its chain."""

    def __post_init__(self) -> None:
        """Begin with the time that there is; or was, so that the same plans are carried out."""
        self._left = self.deadline - time.monotonic()
        key = f"time to carry out: {self.name}"
        self._left = float((self.ledger.get(key) or {}).get("left", self._left))
        self.ledger.put(key, {"left": self._left})

    def run(self, output: Path | None, files: Sequence[Path]) -> tuple[PlanTrial, Optimization]:
        """Run finalists, the best first, until one holds, and write it.

        A result is fitted to more samples than its trial was, and loses less as a rule: where it
        leaves much of what may be lost, bolder plans are tried.

        Args:
            output: Where it goes, None for nowhere.
            files: What must survive.
        """
        finalists = self._affordable(self.search.finalists())
        while True:
            finalists.patient = self._is_patient(finalists)
            trial, last = finalists.next(), finalists.are_over
            found = self._outcome(trial, output, files, last=last)
            if last or not found.why:
                break
            finalists.tell(trial, found.excess)
            self.passed.append(replace(trial, why=found.why))
            self._soften(trial, finalists)
        for _ in range(0 if found.why else _BOLDER):
            bolder = self._bolder(trial, found, finalists.worse)
            if bolder is None:
                break
            more = self._outcome(bolder, output, files, below=found.value)
            if more.why or more.value >= BETTER * found.value:
                self.passed += [replace(bolder, why=more.why)] if more.why else []
                break
            trial, found = bolder, more
        done = self._done.get(str(trial.chain)) or self._attempt(trial, output, files)
        names = {r.name for r in done.pipeline.records}
        return self.laboratory.without(trial, self._spare(trial) - names), done

    def _outcome(
        self,
        trial: PlanTrial,
        output: Path | None,
        files: Sequence[Path],
        *,
        last: bool = False,
        below: float = float("inf"),
    ) -> _Outcome:
        """Carry a plan out, unless an earlier run of the same search did.

        The result is written if it holds and what is made small is clearly below a value.
        """
        key = f"carried out: {trial.chain} in {self.name}"
        known = self.ledger.get(key)
        if known is not None and known.keys() == _Outcome.__annotations__.keys():
            self._left -= known["seconds"]
            return _Outcome(**known)
        begun = time.monotonic()
        done = self._attempt(
            trial, output, files, last=last, wanted=lambda d: self._value(d) < BETTER * below
        )
        why = "; ".join(done.broken) or self._slower(trial, done)
        found = _Outcome(exceeding(done), why, self._value(done), time.monotonic() - begun)
        self._left -= found.seconds
        if last or (not why and found.value < BETTER * below):
            self._done = {str(trial.chain): done}
        self.ledger.put(key, asdict(found))
        return found

    def _attempt(
        self,
        trial: PlanTrial,
        output: Path | None,
        files: Sequence[Path],
        *,
        last: bool = True,
        wanted: Callable[[Optimization], bool] = lambda _: True,
    ) -> Optimization:
        request = replace(self.bench.request, passes=trial.chain.pipeline(), budget=self.budget)
        spare = self._spare(trial)
        return attempt(self.bench, request, output, files, last=last, spare=spare, wanted=wanted)

    def _value(self, done: Optimization) -> float:
        """Return what is made small of a result, 0 where it is not measured."""
        names = {
            PlanGoal.LATENCY: "latency_ratio",
            PlanGoal.SIZE: "bytes",
            PlanGoal.ARCHIVE: "archive_bytes",
        }
        found = measured(done).get(names.get(self.goal, ""))
        return 0.0 if found is None else float(found)

    def _bolder(self, trial: PlanTrial, found: _Outcome, worse: float) -> PlanTrial | None:
        """Return a plan that should still hold, and be better, if there is time to try one.

        Args:
            trial: The best plan that holds.
            found: What became of it.
            worse: How many times as much as expected plans lost that did not hold, 0 without any.
        """
        if self.hurried or not trial.chain.steps or not found.value:
            return None
        if found.excess > _SLACK or not self._has_time(trial):
            return None
        part = min(AIM / max(found.excess, 1e-9), _FARTHEST)
        self._tried(self.search.moved(trial, part))
        worse = max(worse, found.excess / max(trial.excess, FIRM))
        tried = {str(trial.chain), *(str(p.chain) for p in self.passed)}
        known = [t for t in self.laboratory.trials.values() if not t.over and t.drop is not None]
        known = [t for t in known if t.value(self.goal) < BETTER * trial.value(self.goal)]
        known = [t for t in known if t.excess * worse <= 1 and str(t.chain) not in tried]
        known = [t for t in known if reserve(t) <= self._time]
        return min(known, key=lambda t: t.value(self.goal), default=None)

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
            finalists.add(found, self.goal)

    def _tried(self, chain: Chain) -> PlanTrial | None:
        """Return the trial of another chain, None if the time is over before."""
        is_new = str(chain) not in self.laboratory.trials
        self.laboratory.deadline = self.deadline
        with contextlib.suppress(OutOfTimeError):
            (found,) = self.laboratory.evaluate([chain])
            self._left -= found.seconds if is_new else 0.0
            return found
        return None

    @property
    def _time(self) -> float:
        """Seconds left."""
        return min(self._left, self.deadline - time.monotonic())

    def _is_patient(self, finalists: Finalists) -> bool:
        """Whether there is time for some more plans that do not hold."""
        each = max((t.seconds + reserve(t) for t in finalists.sure), default=0.0)
        return not self.hurried and _PATIENCE * each <= self._time

    def _has_time(self, trial: PlanTrial) -> bool:
        """Whether there is time to try another plan like this one, and to carry it out."""
        return trial.seconds + reserve(trial) <= self._time

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
        left = self._time - reserve(sure[0])
        bold: list[PlanTrial] = []
        for trial in finalists:
            if trial in sure or self.hurried or reserve(trial) > left:
                continue
            left -= reserve(trial)
            bold.append(trial)
        sure = [t for t in sure if t.chain.steps] or sure
        plain = [t for t in self.laboratory.trials.values() if t.held and not t.chain.steps]
        return Finalists(bold, sure, [t for t in plain if t not in sure])

    def _spare(self, trial: PlanTrial) -> frozenset[str]:
        """Return the passes that nobody asked for but the plan."""
        packs = {"pack-weights"} if self.bench.request.storage != "plain" else frozenset[str]()
        return frozenset(step.family.item for step in trial.chain.steps) - packs


def reserve(trial: PlanTrial) -> float:
    """Return the seconds that carrying out a trial takes about."""
    return max(_CLOSING_SECONDS, _RESERVE * trial.seconds)

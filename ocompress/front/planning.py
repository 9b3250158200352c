"""Planning: from a model and limits to the pipeline that serves a goal best."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ocompress.auto import (
    TUNING,
    Builders,
    Laboratory,
    OutOfTimeError,
    Plan,
    PlanGoal,
    PlanSearch,
    PlanTrial,
    Workshop,
    chosen_families,
)
from ocompress.front.bench import Bench
from ocompress.front.beside import measured, peers, steps, strained
from ocompress.front.choosing import Choice
from ocompress.front.files import ModelLike, as_model
from ocompress.front.finalists import Finalists
from ocompress.front.job import attempt, files_read
from ocompress.front.measuring import bounds, clock, measured_figures
from ocompress.front.plans import Planning
from ocompress.front.remembered import ledger
from ocompress.front.request import Request
from ocompress.front.team import Team
from ocompress.ir.serialized_size import serialized_bytes
from ocompress.pipeline import Instrument, choices_of
from ocompress.profiling import seems_slower
from ocompress.report import Optimization
from ocompress.report.tables_plan import described
from ocompress.stopping import early_end, time_limit
from ocompress.workers import Workers, open_workers

_RESERVE = 1.5
"""The result takes its trial's time again, times this, as it is fitted to more samples."""
_CLOSING_SECONDS = 2.0
"""Time that judging and writing take about, at the least."""
_NO_MATTER = ("time", "workers", "scheduler", "compare", "data", "eval_data", "labels")
"""Settings that change nothing about which trials a search asks for."""


@dataclass
class _Watch(Instrument):
    """Ends a search in the middle of a pass if its time is over."""

    laboratory: Laboratory | None = None
    off: bool = False

    def progress(self, stage: str, done: int, total: int) -> None:
        """Look at the clock."""
        if self.laboratory is not None and self.laboratory.is_over and not self.off:
            msg = "the search for a plan is over"
            raise OutOfTimeError(msg)


def optimize_planned(
    request: Request,
    planning: Planning,
    model: ModelLike,
    output: Path | None,
    *,
    instruments: Sequence[Instrument] = (),
) -> Optimization:
    """Find the best pipeline and do what it says; see `ocompress.optimize`.

    The result is what the plan's recipe makes of all the samples that passes may see, judged as any
    result is on samples that the search did not know. Where it does not hold there, a chain
    that loses clearly less is run.
    """
    planning.check(request)
    with time_limit(request.timeout):
        files = files_read(request, model, output)
        original, path = as_model(model)
        bench = Bench(request, original, path, instruments, lossy=True)
        session = _Session(bench, planning)
        session.search()
        return session.finish(output, files)


def find_plan(
    request: Request,
    planning: Planning,
    model: ModelLike,
    *,
    instruments: Sequence[Instrument] = (),
) -> Plan:
    """Find the best pipeline and see that it holds, without writing a model.

    Raises:
        UsageError: If the request or the data do not fit.
        ModelError: If the model cannot be used.
    """
    planning.check(request)
    with time_limit(request.timeout):
        original, path = as_model(model)
        bench = Bench(request, original, path, instruments, lossy=True)
        session = _Session(bench, planning)
        session.search()
        plan = session.finish(None, ()).plan
        assert plan is not None
        return plan


class _Session:
    """One search and what follows from it."""

    def __init__(self, bench: Bench, planning: Planning) -> None:
        self.bench, self.planning = bench, planning
        self._start = time.monotonic()
        self._ended = ""
        self._watch = _Watch()
        self.choice = Choice(bench, planning)
        self._ledger = ledger(bench, self.choice.budget, self.choice.split)
        self._before = float((self._ledger.get(self._search_name()) or {}).get("seconds", 0.0))
        """Seconds that earlier runs of the same search took before they were ended."""
        self._deadline = self._start + max(planning.seconds - self._before, 0.0)

    def search(self) -> None:
        """Search until it is through, time is over, or somebody asks for an early end."""
        with open_workers(self.planning.workers, self.planning.scheduler) as pool:
            self._search(pool)
        # Reports want to know some more; what the search held in memory goes.
        self.laboratory.hand_over(self._workshop(), clock(self.bench))
        self._watch.off = True
        self._seconds = time.monotonic() - self._start
        if self._ended:
            self._ledger.put(self._search_name(), {"seconds": self._before + self._seconds})

    def _search(self, pool: Workers) -> None:
        self.laboratory = self._watch.laboratory = self._laboratory(pool)
        self.search_ = PlanSearch(
            self.laboratory,
            self.planning.goal,
            chosen_families(self.planning.goal, self.planning.families),
            told=self._improved,
            tuning=TUNING if self.planning.tune else None,
        )
        with early_end() as ending:
            self.laboratory.asked = lambda: ending.is_asked
            try:
                self.search_.run()
            except OutOfTimeError:
                self._ended = f"its {self.planning.seconds:g} s were over"
                if self._before:
                    self._ended += " (earlier runs counted; more --time goes on from there)"
            except KeyboardInterrupt:  # where no program watches
                if not self.laboratory.trials:
                    raise
                ending.is_asked = True
        if ending.is_asked:
            self._ended = "it was interrupted"
            self.bench.announce("interrupted: the best plan so far is carried out")

    def plan(self, chosen: PlanTrial, passed_over: Sequence[PlanTrial] = ()) -> Plan:
        """Return the record of the search."""
        return Plan(
            goal=self.planning.goal,
            chosen=chosen,
            trials=tuple(self.laboratory.trials.values()),
            noun=self.choice.guard.noun,
            seconds=self._seconds,
            original_bytes=self.laboratory.original_bytes,
            ended=self._ended,
            passed_over=tuple(passed_over),
        )

    def finish(self, output: Path | None, files: Sequence[Path]) -> Optimization:
        """Run the finalists on all samples, the best first, until one holds, and write it."""
        finalists = self._affordable(self.search_.finalists())
        passed: list[PlanTrial] = []
        while True:
            trial = finalists.next()
            spare, last = self._spare(trial), finalists.are_over
            request = self._request(trial)
            done = attempt(self.bench, request, output, files, last=last, spare=spare)
            why = "; ".join(done.broken) or self._slower(trial, done)
            if last or (done.held and not why):
                break
            finalists.tell(trial, strained(done))
            passed.append(replace(trial, why=why))
            self._soften(trial, finalists)
        trial = self.laboratory.without(trial, spare - {r.name for r in done.pipeline.records})
        beside = self._beside(trial, done)  # which may make trials, too
        plan = replace(self.plan(trial, passed), measured=measured(done), **beside)
        return replace(done, plan=plan, remarks=(*done.remarks, *plan.remarks))

    def _soften(self, trial: PlanTrial, finalists: Finalists) -> None:
        """Have a plan that did not hold among the others again, milder, if there is time."""
        part = finalists.part / max(trial.strain, 1e-9)
        left = self._deadline - time.monotonic() - _reserve(trial)
        if part >= 1 or finalists.has_near or trial.seconds > left:
            return
        chain = self.search_.milder(trial, part)
        if str(chain) in self.laboratory.trials:
            return
        self.laboratory.deadline = self._deadline
        with contextlib.suppress(OutOfTimeError):
            (found,) = self.laboratory.evaluate([chain])
            if found.held:
                finalists.add(found, self.planning.goal)

    def _slower(self, trial: PlanTrial, done: Optimization) -> str:
        """Return why a plan for the latency is no better than the original, empty if it is."""
        profile = done.profile
        for_time = self.planning.goal is PlanGoal.LATENCY and trial.chain.steps
        ratio = profile.ratio if profile is not None else None
        if not for_time or ratio is None or not seems_slower(ratio):
            return ""
        return f"the result takes {ratio.value:.2f} times the original's time"

    def _beside(self, chosen: PlanTrial, done: Optimization) -> dict[str, Any]:
        """Return what reports show beside a plan."""
        timed = done.profile.against if done.profile is not None else None
        return {
            "original_ms": None if timed is None else timed.latency.p50_ms,
            "limit": self.choice.guard.limit,
            "choices": choices_of(done.pipeline),
            "steps": steps(self.laboratory, chosen),
            "peers": tuple(peers(self.bench, self.choice.guard, self.planning.compare)),
        }

    def _affordable(self, finalists: Sequence[PlanTrial]) -> Finalists:
        """Return those that there is time for: one that holds as far as is known, at least."""
        sure = [t for t in finalists if t.held] or list(finalists)
        left = self._deadline - time.monotonic() - _reserve(sure[0])
        bold: list[PlanTrial] = []
        for trial in finalists:
            if trial in sure or self._ended or _reserve(trial) > left:
                continue
            left -= _reserve(trial)
            bold.append(trial)
        sure = [t for t in sure if t.chain.steps] or sure
        plain = [t for t in self.laboratory.trials.values() if t.held and not t.chain.steps]
        return Finalists(bold, sure, [t for t in plain if t not in sure])

    def _request(self, trial: PlanTrial) -> Request:
        return replace(self.bench.request, passes=trial.chain.pipeline(), budget=self.choice.budget)

    def _spare(self, trial: PlanTrial) -> frozenset[str]:
        """Return the passes that nobody asked for but the plan."""
        packs = {"pack-weights"} if self.bench.request.storage != "plain" else frozenset[str]()
        return frozenset(step.family.item for step in trial.chain.steps) - packs

    def _laboratory(self, pool: Workers) -> Laboratory:
        bench, choice = self.bench, self.choice
        limits = bounds(bench, choice.budget, self.planning)
        timing = clock(bench, limits.latency)
        builders: Builders
        if pool.count == 1 and pool.here:
            builders = self._workshop()
        else:
            builders = Team(pool, bench, self.planning)
            timing = builders.clock(timing)
        return Laboratory(
            original_bytes=serialized_bytes(bench.original),
            builders=builders,
            clock=timing,
            alone=pool.here or not pool.timers,
            wanted=measured_figures(choice.meters),
            bounds=limits,
            judge=choice.guard.again,
            ledger=self._ledger,
            deadline=self._deadline,
        )

    def _search_name(self) -> str:
        """Return what tells searches on the same data apart: goal, families and limits."""
        asked = self.bench.request.settings(planned=True) | self.planning.settings()
        known = {name: value for name, value in asked.items() if name not in _NO_MATTER}
        return f"search {json.dumps(known, sort_keys=True)}"

    def _workshop(self) -> Workshop:
        return self.choice.workshop((*self.bench.hooks, self._watch))

    def _improved(self, trial: PlanTrial, before: PlanTrial | None) -> None:
        """Say what is the best so far, and keep time for carrying it out."""
        self.laboratory.deadline = self._deadline - _reserve(trial)
        if before is not None:
            goal = self.planning.goal
            self.bench.announce(f"best so far: {described(trial, goal)}: {trial.chain}")


def _reserve(trial: PlanTrial) -> float:
    """Return the seconds that carrying out a trial takes about."""
    return max(_CLOSING_SECONDS, _RESERVE * trial.seconds)

"""Planning: from a model and limits to the pipeline that serves a goal best."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ocompress.auto import (
    TUNING,
    Builders,
    Laboratory,
    OutOfTimeError,
    Plan,
    PlanSearch,
    PlanTrial,
    Workshop,
    chosen_families,
)
from ocompress.front.bench import Bench
from ocompress.front.beside import measured, peers, steps
from ocompress.front.carrying import Carrier
from ocompress.front.choosing import Choice
from ocompress.front.files import ModelLike, as_model, files_read
from ocompress.front.finishing import Finishing
from ocompress.front.measuring import bounds, clock, measured_figures
from ocompress.front.outlook import reserve
from ocompress.front.plans import Planning
from ocompress.front.remembered import judges, ledger
from ocompress.front.request import Request
from ocompress.front.running import Ending
from ocompress.front.team import Team, awaken
from ocompress.ir.serialized_size import serialized_bytes
from ocompress.pipeline import Instrument, choices_of
from ocompress.report import Optimization
from ocompress.report.tables_plan import described
from ocompress.stopping import early_end, time_limit
from ocompress.workers import Workers, open_workers

_NO_MATTER = ("time", "workers", "scheduler", "compare", "data", "eval_data", "labels")
"""Settings that change nothing about which trials a search asks for."""
_CARRIED = 5
"""Plans that the search leaves time for, up to half of all the time."""


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
        files = files_read(request.files, model, output)
        return _searched(request, planning, model, instruments).finish(output, files)


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
        plan = _searched(request, planning, model, instruments).finish(None, ()).plan
        assert plan is not None
        return plan


def _searched(
    request: Request, planning: Planning, model: ModelLike, instruments: Sequence[Instrument]
) -> _Session:
    """Return a search that is over."""
    start = time.monotonic()
    original, path = as_model(model)
    with open_workers(planning.workers, planning.scheduler) as pool:
        awaken(pool)  # processes begin while the data are read
        bench = Bench(request, original, path, instruments, lossy=True)
        session = _Session(bench, planning, start)
        session.search(pool)
    return session


class _Session:
    """One search and what follows from it."""

    def __init__(self, bench: Bench, planning: Planning, start: float) -> None:
        self.bench, self.planning = bench, planning
        self._start = start
        self._ended = ""
        self._interrupted = False
        self._end = Ending()
        self.choice = Choice(bench, planning)
        self._ledger = ledger(bench, self.choice.budget, self.choice.split)
        self._before = float((self._ledger.get(self._search_name()) or {}).get("seconds", 0.0))
        """Seconds that earlier runs of the same search took before they were ended."""
        self._deadline = self._start + max(planning.seconds - self._before, 0.0)

    def search(self, pool: Workers) -> None:
        """Search until it is through, time is over, or somebody asks for an early end."""
        self._search(pool)
        # Reports want to know some more; what the search held in memory goes.
        self.laboratory.hand_over(self._workshop(), clock(self.bench))
        self._end.is_over = lambda: False  # what follows is not part of it
        self._seconds = time.monotonic() - self._start
        if self._ended:
            self._ledger.put(self._search_name(), {"seconds": self._before + self._seconds})

    def _search(self, pool: Workers) -> None:
        laboratory = self.laboratory = self._laboratory(pool)
        self._end.is_over = lambda: laboratory.is_over
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
            self._ended, self._interrupted = "it was interrupted", True
            self.bench.announce("interrupted: the best plan so far is carried out")

    def plan(self, chosen: PlanTrial, passed_over: Sequence[PlanTrial] = ()) -> Plan:
        """Return the record of the search."""
        return Plan(
            goal=self.planning.goal,
            chosen=chosen,
            trials=tuple(self.laboratory.trials.values()),
            noun=self.choice.guard.currency,
            seconds=self._seconds,
            original_bytes=self.laboratory.original_bytes,
            ended=self._ended,
            passed_over=tuple(passed_over),
        )

    def finish(self, output: Path | None, files: Sequence[Path]) -> Optimization:
        """Run the finalists on all samples, the best first, until one holds, and write it."""
        carrier = Carrier(
            bench=self.bench,
            goal=self.planning.goal,
            budget=self.choice.budget,
            deadline=self._start + self.planning.seconds,  # what is remembered takes no time
            ledger=self._ledger,
            name=f"{self._search_name()} {self.planning.seconds:g} {judges(self.bench)}",
            output=output,
            files=files,
        )
        finishing = Finishing(
            carrier,
            self.search_,
            self.laboratory,
            interrupted=self._interrupted,
        )
        trial, done = finishing.run()
        beside = self._beside(trial, done)  # which may make trials, too
        plan = replace(self.plan(trial, finishing.passed), measured=measured(done), **beside)
        few = "" if trial.chain.steps else self.choice.guard.too_few  # else the judge has said it
        said = (few, *plan.remarks) if few else plan.remarks
        return replace(done, plan=plan, remarks=(*done.remarks, *said))

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
        return self.choice.workshop((*self.bench.hooks, self._end))

    def _improved(self, trial: PlanTrial, before: PlanTrial | None) -> None:
        """Say what is the best so far, and keep time for carrying it out, and others after it."""
        middle, each = self._deadline - self.planning.seconds / 2, reserve(trial)
        once, all_ = self._deadline - each, self._deadline - _CARRIED * each
        self.laboratory.deadline = min(once, max(all_, middle))
        if before is not None:
            goal = self.planning.goal
            self.bench.announce(f"best so far: {described(trial, goal)}: {trial.chain}")

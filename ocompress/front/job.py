"""Optimize: from a model to a smaller, validated and measured one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ocompress.front.archives import in_archive
from ocompress.front.bench import Bench, watched
from ocompress.front.collapsed import Retreat
from ocompress.front.files import (
    ModelLike,
    as_model,
    files_read,
    older_than,
    stage_beside,
)
from ocompress.front.last_look import Judged, LastLook
from ocompress.front.request import Request
from ocompress.front.running import Runner
from ocompress.front.shorter import Contest, without_idle
from ocompress.front.sizing import bytes_of, warnings
from ocompress.io import Dataset, Staging, stage_model
from ocompress.ir import Model
from ocompress.ir.records import as_recorded
from ocompress.pipeline import (
    Allowance,
    Guard,
    Instrument,
    Numerics,
    PassRecord,
    Pipeline,
    PipelineResult,
    Prefixes,
    Status,
    put_aside,
)
from ocompress.report import Optimization, Tried
from ocompress.report.optimization import idle
from ocompress.stopping import time_limit
from ocompress.validation import CollapseGuard, Measure


def run(
    request: Request,
    model: ModelLike,
    output: Path | None,
    *,
    instruments: Sequence[Instrument] = (),
) -> Optimization:
    """Do what a request asks; see `ocompress.optimize`."""
    request.check()
    with time_limit(request.timeout):
        files = files_read(request.files, model, output)
        original, path = as_model(model)
        lossy = any(p.numerics is Numerics.LOSSY for p in request.pipeline.passes)
        hooks = (*instruments, *warnings(request, original, path, instruments))
        bench = Bench(request, original, path, hooks, lossy=lossy)
        return attempt(bench, request, output, files)


def attempt(
    bench: Bench,
    request: Request,
    output: Path | None,
    files: Sequence[Path],
    *,
    last: bool = True,
    spare: Collection[str] = (),
    wanted: Callable[[Optimization], bool] = lambda _: True,
) -> Optimization:
    """Run the pipeline of a request, judge its result and write it.

    Args:
        bench: The original and what judges look at.
        request: What to run on it.
        output: Where the result goes, None for nowhere.
        files: What must survive.
        last: Whether a result that breaks its budget is written nevertheless, as the request says.
        spare: Passes that are left out where they change nothing, as nobody asked for them.
        wanted: Says whether a result that keeps its budget is to be written.
    """
    request = replace(request, original_bytes=bytes_of(bench.original, bench.path))
    job = _Job(bench, request)
    result = job.run_passes()
    with stage_beside(output) as stage:
        pipeline, result = without_idle(request.pipeline, result, spare)
        judged = job.judge(result, stage, files)
        if judged.validation.collapsed and last and (left := job.retreat(result)) is not None:
            pipeline, result = without_idle(request.pipeline, left, spare)
            stage.clear()
            judged = job.judge(result, stage, files)
        request = replace(request, passes=pipeline) if spare else request
        coded = in_archive(stage.path) if _counts_bytes(pipeline, result) else None
        source = str(bench.path) if bench.path is not None else ""
        settings = {"model": source, "output": str(output or ""), **request.settings()}
        settings["limit"] = job.limit or None
        done = Optimization(
            settings=settings,
            source=source,
            output=None,
            discarded=output is not None,
            touched=False,
            pipeline=result,
            validation=judged.validation,
            profile=judged.profile,
            cost=judged.cost,
            bytes=judged.bytes,
            coded=coded,
            samples=job.samples,
            tried=tuple(job.tried),
            broken=tuple(job.broken),
            remarks=tuple(job.remarks),
        )
        failed = job.broken or (request.strict and idle(result.records))
        if failed and (request.on_fail == "discard" or not last or judged.validation.collapsed):
            return done
        if output is None or not (failed or wanted(done)):
            return done
        date = older_than(files) if failed else None
        touched = stage.publish(touch=request.touch, date=date)
    return replace(done, output=output, discarded=False, touched=touched)


def _counts_bytes(pipeline: Pipeline, result: PipelineResult) -> bool:
    """Whether a pass changed weights so that they take less where they are coded."""
    applied = {record.name for record in result.records if record.status is Status.APPLIED}
    lossy = [item for item in pipeline.passes if item.numerics is Numerics.LOSSY]
    return any(item.name in applied and not item.saves_time for item in lossy)


def run_limited(
    bench: Bench, request: Request, *hooks: Instrument
) -> list[tuple[PassRecord, Model]]:
    """Run the pipeline of a request, and nothing else.

    Returns:
        The record of each pass, with the model after it.
    """
    guards, prefixes = _Job(bench, request).guards(), Prefixes()
    return prefixes.of(Runner(bench, request, guards).run(request.pipeline, (), prefixes, *hooks))


def _refused(result: PipelineResult) -> list[str]:
    """Return why passes did not hold, one sentence each."""
    found = []
    for record in result.records:
        why = "; ".join(v.message for v in record.verdicts if not v.held)
        if why:
            rolled_back = record.status is Status.ROLLED_BACK
            found.append(f"{record.name}{' was rolled back' * rolled_back}: {why}")
    return found


class _Job:
    """One run of a pipeline between reading and writing."""

    def __init__(self, bench: Bench, request: Request) -> None:
        self.bench, self.request, self.original = bench, request, bench.original
        self.limit = self._default_noun = ""
        self.tried: list[Tried] = []
        self._refused: list[str] = []
        self._judged: Judged | None = None
        self._way: Retreat | None = None
        self._measures: Mapping[str, Measure] = {}
        self._samples, self._call = bench.samples, bench.call
        self._own_remarks: list[str] = []
        self._lossy = any(p.numerics is Numerics.LOSSY for p in request.pipeline.passes)

    @property
    def remarks(self) -> list[str]:
        """What a reader must know."""
        said = () if self._judged is None else self._judged.remarks
        return [*self.bench.remarks, *self._own_remarks, *said]

    @property
    def broken(self) -> list[str]:
        """The budgets that did not hold, one sentence each."""
        return [*self._refused, *(() if self._judged is None else self._judged.broken)]

    def run_passes(self) -> PipelineResult:
        """Run the pipeline under the budget's guards."""
        pipeline, prefixes = self.request.pipeline, Prefixes()
        self._runner = Runner(self.bench, self.request, guards := self.guards())
        asked = self._runner.run(pipeline, (), prefixes)
        if self._lossy and not self.bench.large:  # models on the way take memory
            self._way = Retreat(pipeline, asked, prefixes.of(asked))
        contest = Contest(self.original, Allowance(guards), self._runner.run)
        result, self.tried = contest.best(pipeline, asked, prefixes)
        self._refused = _refused(result)
        return result

    def retreat(self, lost: PipelineResult) -> PipelineResult | None:
        """Return what passes make that leave something of the outputs; None if none does."""
        data = self._samples.judged_on
        if data is None or self._way is None:
            return None
        guard = CollapseGuard(self.original, data, threads=self.request.threads)
        left = self._way.run(lost.model, self._runner, guard)
        if left is not None:
            self.tried, self._refused = [], _refused(left)
        return left

    def judge(self, result: PipelineResult, stage: Staging, files: Sequence[Path]) -> Judged:
        """Write a file where it does not count yet, and look at it."""
        record = as_recorded(result.model, self.original)
        stage_model(record, stage, external=self.request.external_data, keep=files)
        look = LastLook(self.bench, self.request, self._measures, self._default_noun)
        self._judged = look.judge(result, stage.path)
        return self._judged

    @property
    def samples(self) -> int:
        """Samples there were, those that passes were fitted to included."""
        fit, judged = self._samples.fit, self._samples.judged_on
        both = () if fit is None else (fit,) if judged is fit else (fit, judged)
        return sum(data.samples for data in both if data is not None)

    def guards(self) -> list[Guard]:
        """Make the guards of the budget."""
        if not self._lossy:
            return []
        request, samples = self.request, self._samples
        guards = request.limits.guards(
            self.original,
            None if request.synthetic else samples.judged_on,
            None if request.pipeline.fixed else self.bench.timed,  # then the result alone is timed
            request.pipeline.passes,
            fitted=self._fitted(),
            alike=samples.alike,
            seen=samples.judged_on,
            threads=request.threads,
            seed=request.seed,
            meter=self.bench.meter,
        )
        guard, self._measures = watched(guards)
        if guard is not None:
            self.limit = guard.meaning
            self._default_noun = guard.noun if guard.default else ""
            self.bench.announce(f"limit: {guard.meaning}")
            self.bench.announce_metric(guard)
            if guard.too_few:
                self._own_remarks.append(guard.too_few)
        return guards

    def _fitted(self) -> Dataset | None:
        """Return what passes are fitted to, but for what is put aside; say so if something is."""
        fit, request = self._samples.fit, self.request
        if fit is None:
            return None
        parts = put_aside(fit, request.pipeline.passes, request.seed)
        if parts.is_apart:
            by = ", ".join(dict.fromkeys(p.name for p in request.pipeline.passes if p.sets_aside))
            number = parts.held_out.samples
            said = f"{number} of the samples to fit to are put aside, for {by} to choose by"
            self.bench.announce(said)
        return parts.fit

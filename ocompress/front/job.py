"""Optimize: from a model to a smaller, validated and measured one."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ocompress import profiling, validation
from ocompress.analysis import MeasurementStore
from ocompress.analysis.cost import Cost
from ocompress.errors import PassError
from ocompress.front.archives import in_archive
from ocompress.front.files import ModelLike, as_model, file_bytes, older_than, stage_beside
from ocompress.front.judging import far_off, judge, too_large, too_slow
from ocompress.front.large import LARGE, Release, count_and_let_go, judge_large, let_go
from ocompress.front.records import as_recorded
from ocompress.front.reference import check_domains, try_out
from ocompress.front.request import Request
from ocompress.front.samples import open_samples
from ocompress.front.shorter import Contest, Prefixes
from ocompress.front.witness import UNCHECKED, witness
from ocompress.io import (
    Dataset,
    Feeds,
    as_dataset,
    check_output,
    load_model,
    model_files,
    one_call,
    stage_model,
    synthetic_data,
)
from ocompress.ir import Model, to_proto
from ocompress.pipeline import (
    Allowance,
    Guard,
    Instrument,
    Numerics,
    PassManager,
    PassRecord,
    Pipeline,
    PipelineResult,
    Status,
)
from ocompress.profiling import LatencyGuard, LayerClock, ProfileResult
from ocompress.report import Optimization, Tried
from ocompress.report.optimization import idle
from ocompress.stopping import time_limit
from ocompress.validation import AccuracyGuard, Measure

_SECONDS = 1.0
"""Time for each model when the result is measured."""


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
        return _run(request, model, output, instruments)


def _run(
    request: Request,
    model: ModelLike,
    output: Path | None,
    instruments: Sequence[Instrument],
) -> Optimization:
    files = [*request.files]
    if isinstance(model, str | os.PathLike):
        files += model_files(os.fspath(model))
    if output is not None:
        check_output(output, files)
    original, path = as_model(model)
    job = _Job(request, original, path, tuple(instruments))
    result = job.run_passes()
    with stage_beside(output) as stage:
        written = as_recorded(result.model, original)
        stage_model(written, stage, external=request.external_data, keep=files)
        judged = job.judge(result, stage.path)
        coded = in_archive(stage.path) if _counts_bytes(request.pipeline, result) else None
        touched = False
        failed = job.broken or (request.strict and idle(result.records))
        kept = output is not None and not (failed and request.on_fail == "discard")
        if kept:
            date = older_than(files) if failed else None
            touched = stage.publish(touch=request.touch, date=date)
    source = str(path) if path is not None else ""
    settings = {"model": source, "output": str(output or ""), **request.settings()}
    settings["limit"] = job.limit or None
    return Optimization(
        settings=settings,
        source=source,
        output=output if kept else None,
        discarded=output is not None and not kept,
        touched=touched,
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


def _counts_bytes(pipeline: Pipeline, result: PipelineResult) -> bool:
    """Whether a pass changed weights so that they take less where they are coded."""
    applied = {record.name for record in result.records if record.status is Status.APPLIED}
    lossy = [item for item in pipeline.passes if item.numerics is Numerics.LOSSY]
    return any(item.name in applied and not item.saves_time for item in lossy)


@dataclass(frozen=True)
class _Judged:
    validation: validation.ValidationResult
    profile: ProfileResult | None
    cost: tuple[Cost, Cost]
    bytes: tuple[int, int]


class _Job:
    """One optimization between reading and writing."""

    def __init__(
        self, request: Request, original: Model, path: Path | None, hooks: tuple[Instrument, ...]
    ) -> None:
        self.request, self.original, self.path, self._hooks = request, original, path, hooks
        self.broken: list[str] = []
        self.remarks: list[str] = []
        self.limit = ""
        self.tried: list[Tried] = []
        self._measures: Mapping[str, Measure] = {}
        self._large = original.weight_bytes > LARGE
        self._lossy = any(p.numerics is Numerics.LOSSY for p in request.pipeline.passes)
        self._samples = open_samples(request, original, apart=self._lossy)
        self.remarks.extend(self._samples.remarks)
        for sentence in self._samples.announcements:
            self._announce(sentence)
        self._sample = self._try_out()
        self._call = self._timed_call()

    def run_passes(self) -> PipelineResult:
        """Run the pipeline under the budget's guards."""
        hooks = (*self._hooks, Release(self.original)) if self._large else self._hooks
        threads, seed = self.request.threads, self.request.seed
        look = witness(self.original, self._samples.fit, self._sample, threads=threads, seed=seed)
        if look is None:
            self.remarks.append(UNCHECKED)
        guards, prefixes = self._guards(), Prefixes()
        clock = None
        if any(isinstance(guard, LatencyGuard) for guard in guards) and self._call is not None:
            clock = LayerClock(next(iter(self._call)), threads=threads)
        store = MeasurementStore(folder=self.request.cache, data=self._samples.fit)

        def run_one(
            pipeline: Pipeline, begun: Sequence[tuple[PassRecord, Model]] = (), *more: Instrument
        ) -> PipelineResult:
            manager = PassManager(
                target=self.request.device,
                data=self._samples.fit,
                seed=seed,
                guards=guards,
                clock=clock,
                instruments=(*hooks, *more),
                equivalence=look,
                allow_slower=self.request.allow_slower,
                store=store,
            )
            return manager.run(pipeline, self.original, begun)

        asked = run_one(self.request.pipeline, (), prefixes)
        contest = Contest(self.original, Allowance(guards), run_one)
        result, self.tried = contest.best(self.request.pipeline, asked, prefixes)
        for record in result.records:
            why = "; ".join(v.message for v in record.verdicts if not v.held)
            if why:
                rolled_back = record.status is Status.ROLLED_BACK
                self.broken.append(f"{record.name}{' was rolled back' * rolled_back}: {why}")
        return result

    def judge(self, result: PipelineResult, staged: Path) -> _Judged:
        """Validate and measure the file as it was written."""
        written = load_model(staged)
        if self._large and self._samples.judged_on is None:
            found = judge_large(self.original, written, staged, self.request.pipeline.domains())
        else:
            found, notes = judge(
                self.request, self.original, written, self._samples, self._measures
            )
            self.remarks.extend(notes)
        wrong = next((c.message for c in found.structure if not c.passed), "")
        if wrong:
            msg = f"the optimized model is invalid, so it was not written: {wrong}"
            raise PassError(msg)
        self.broken.extend(c.message for c in found.related if not c.passed)
        self.remarks.extend(found.remarks)
        sizes = (self._bytes(), file_bytes(staged))
        self.broken.extend(too_large(self.request.budget, sizes))
        let_go(written)
        # of the file, packed weights would count as the parts they are made of
        both = (self.original, result.model)
        before, after = (count_and_let_go(m, self._sample) for m in both)
        self.remarks.extend(far_off(self.request.budget, found))
        return _Judged(found, self._measure(written, staged), (before, after), sizes)

    @property
    def samples(self) -> int:
        """Samples there were, those that passes were fitted to included."""
        fit, judged = self._samples.fit, self._samples.judged_on
        both = () if fit is None else (fit,) if judged is fit else (fit, judged)
        return sum(data.samples for data in both if data is not None)

    def _announce(self, sentence: str) -> None:
        for hook in self._hooks:
            hook.announce(sentence)

    def _try_out(self) -> Feeds | None:
        if self._large:
            check_domains(self.original)
            self.remarks.append("the model is too large to be timed here; use ocompress profile")
            return None
        feeds, why = try_out(self.original, self._samples.fit, threads=self.request.threads)
        if feeds is None:
            self.remarks.append(f"latency was not measured: {why}")
        return feeds

    def _timed_call(self) -> Dataset | None:
        """Return the feed that is timed as data of one call, None if nothing can be run."""
        if self._sample is None:
            return None
        batch = self.request.batch
        if batch == 1:
            return as_dataset([self._sample], self.original)
        fit = self._samples.fit
        data = fit if fit is not None else synthetic_data(self.original, batch)
        return one_call(self.original, data, batch, threads=self.request.threads)

    def _guards(self) -> list[Guard]:
        if not self._lossy:
            return []
        timed = self.request.device.is_host and self.request.measure
        guards = self.request.limits.guards(
            self.original,
            None if self.request.synthetic else self._samples.judged_on,
            next(iter(self._call)) if timed and self._call is not None else None,
            self.request.pipeline.passes,
            fitted=self._samples.fit,
            threads=self.request.threads,
            seed=self.request.seed,
        )
        for guard in guards:
            if isinstance(guard, AccuracyGuard):
                self.limit, self._measures = guard.meaning, guard.measures
                self._announce(f"limit: {guard.meaning}")
                if guard.too_few:
                    self.remarks.append(guard.too_few)
        return guards

    def _measure(self, written: Model, staged: Path) -> ProfileResult | None:
        request = self.request
        if self._call is None or not request.measure or not request.device.is_host:
            return None
        found = self._profile(written, staged, _SECONDS)
        if too_slow(self.request.limits, found):  # a longer look, as the guards take one
            found = self._profile(written, staged, _SECONDS * profiling.SECOND_LOOK)
        self.broken.extend(too_slow(self.request.limits, found))
        return found

    def _profile(self, written: Model, staged: Path, seconds: float) -> ProfileResult:
        return profiling.profile(
            written,
            against=self.original,
            data=self._call,
            threads=self.request.threads,
            seconds=seconds,
            memory=False,
            path=staged,
            against_path=self.path,
            seed=self.request.seed,
        )

    def _bytes(self) -> int:
        if self.path is not None:
            return file_bytes(self.path)
        return self.original.weight_bytes if self._large else to_proto(self.original).ByteSize()

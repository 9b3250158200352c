"""Runs a pipeline: clones, judges, rolls back, records."""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ocompress.analysis.manager import AnalysisManager
from ocompress.analysis.store import MeasurementStore
from ocompress.diagnostics import Diagnostics, Severity
from ocompress.errors import OcompressError, PassError, UsageError
from ocompress.io.dataset import Dataset
from ocompress.ir import Facet, Model
from ocompress.pipeline.allowance import Allowance
from ocompress.pipeline.aside import put_aside
from ocompress.pipeline.base import Numerics, Outcome, Pass
from ocompress.pipeline.clock import Clock
from ocompress.pipeline.context import Context
from ocompress.pipeline.faithful import CheckedStep, find_lie
from ocompress.pipeline.guard import Equivalence, Guard, Purse, Verdict
from ocompress.pipeline.instruments import Instrument
from ocompress.pipeline.memo import ProposalMemo
from ocompress.pipeline.pipeline import Pipeline
from ocompress.pipeline.records import PassRecord, PipelineResult, Status, record_of
from ocompress.pipeline.recovery import Unjudged, is_made_good
from ocompress.pipeline.rerun import run_or_repeat
from ocompress.pipeline.storage import keep_form, keep_narrow
from ocompress.targets.target import Target


@dataclass(kw_only=True)
class PassManager:
    """Runs pipelines for one target on one set of calibration data.

    Attributes:
        target: What the result will run on.
        data: Calibration data, None if there are none. A part of them is put aside where a pass
            of the pipeline chooses by samples that none is fitted to.
        seed: Makes everything random repeatable.
        guards: Judge the model after every pass that is not exact; the first that refuses rolls
            the pass back.
        clock: Measures layers on the machine that the result is for, None if it is another one.
        instruments: Hooks around passes.
        equivalence: Looks at what passes made that should keep the outputs; one that did not is
            left out. None takes their word for it.
        previewing: Whether passes only say what they would do, see `Pass.preview`.
        tells: Whether passes measure what is for people only, see `Context.tells`.
        allow_slower: Whether the user takes results that are slower.
        store: What was measured on the data; given to several managers, they share it.
        proposals: What passes of fixed pipelines proposed; shared in the same way.
    """

    target: Target
    data: Dataset | None = None
    seed: int = 0
    guards: Sequence[Guard] = ()
    clock: Clock | None = None
    instruments: Sequence[Instrument] = ()
    equivalence: Equivalence | None = None
    diagnostics: Diagnostics = field(default_factory=Diagnostics)
    previewing: bool = False
    tells: bool = True
    allow_slower: bool = False
    store: MeasurementStore = field(default_factory=MeasurementStore)
    proposals: ProposalMemo | None = None

    def run(
        self, pipeline: Pipeline, model: Model, begun: Sequence[tuple[PassRecord, Model]] = ()
    ) -> PipelineResult:
        """Run every pass in order on a clone of `model`.

        Args:
            pipeline: The passes.
            model: The original.
            begun: What another run made of the first passes of the pipeline, which are not run
                again: their records, and the model after each. None of the last waits to be
                judged with a pass that is still to run.

        Raises:
            PassError: If a pass breaks; the message names it and those that ran before.
            UsageError: If a pass needs a package that is not installed.
            OcompressError: Whatever a pass raises on purpose.
        """
        if not self.previewing:
            _check_packages(pipeline)
        fit, aside, store = self._parts(pipeline)
        context = Context(
            target=self.target,
            analyses=AnalysisManager(fit, store),
            aside=aside,
            diagnostics=self.diagnostics,
            seed=self.seed,
            allowance=Allowance(self.guards),
            clock=None if pipeline.fixed else self.clock,
            proposals=self.proposals if pipeline.fixed else None,
            fixed=pipeline.fixed,
            previewing=self.previewing,
            tells=self.tells,
            allow_slower=self.allow_slower,
            progress=self._progress,
            original=model,
        )
        views = [
            context.for_pass(item, pipeline.passes[position + 1 :])
            for position, item in enumerate(pipeline.passes)
        ]
        for guard in self.guards:
            if isinstance(guard, Purse):
                guard.restart()
        for item, (record, kept) in zip(pipeline.passes, begun, strict=False):
            self._close(item, kept, record)
        best = begun[-1][1] if begun else model.clone()
        if any(item.recovers for item in pipeline.passes):
            context.earlier.extend(kept for _, kept in begun)
        records = [record for record, _ in begun]
        unjudged = Unjudged()
        for lossy, group in itertools.groupby(views[len(begun) :], _is_lossy):
            if lossy:
                for view in group:
                    best = self._advance(view, best, records, unjudged=unjudged)
            else:
                best = self._run_faithful(list(group), best, records)
        return PipelineResult(model=best, records=tuple(records), diagnostics=self.diagnostics)

    def _parts(self, pipeline: Pipeline) -> tuple[Dataset | None, Dataset | None, MeasurementStore]:
        """Return what passes are fitted to, what some choose by, and what is known of it."""
        if self.data is None or self.previewing:
            return self.data, None, self.store
        parts = put_aside(self.data, pipeline.passes, self.seed)
        if not parts.is_apart:
            return self.data, None, self.store
        store = self.store.part(f"{parts.fit.samples} of seed {self.seed}")
        return parts.fit, parts.held_out, store

    def _run_faithful(
        self, views: Sequence[Context], start: Model, records: list[PassRecord]
    ) -> Model:
        """Run passes that keep the outputs; without those of them that do not."""
        done, said = len(records), len(self.diagnostics.remarks)
        refused: list[dict[str, Verdict]] = [{} for _ in views]
        while True:
            best, steps = start, []
            for place, asked in enumerate(views):
                view = replace(asked, barred=frozenset(refused[place]), left_alone=[])
                before = best
                best = self._advance(view, best, records, tuple(refused[place].values()))
                if best is not before and view.item is not None:
                    steps.append(CheckedStep(place, view.item, before, best, view))
            lie = find_lie(steps, self.equivalence) if self.equivalence is not None else None
            if lie is None:
                return best
            refused[lie.place][lie.name] = lie.verdict
            del records[done:]
            self.diagnostics.forget(said)
            views[0].analyses.invalidate(Facet.ALL)

    def _advance(
        self,
        view: Context,
        best: Model,
        records: list[PassRecord],
        refused: tuple[Verdict, ...] = (),
        unjudged: Unjudged | None = None,
    ) -> Model:
        """Run one pass, record it, and return the model that the next one begins with."""
        item, unjudged = view.item, unjudged or Unjudged()
        assert item is not None  # every view here is of a pass
        for verdict in refused:
            view.remark(Severity.WARNING, "outputs-changed", verdict.message)
        if item.name in view.barred:
            record = record_of(item, Outcome(), refused, 0.0, best, best)
        else:
            view = replace(view, allowance=self._open(item, best, view.following, unjudged))
            candidate, record = self._run_one(item, best, view, records, unjudged)
            record = replace(record, verdicts=(*refused, *record.verdicts))
            if record.status is Status.ROLLED_BACK:
                view.analyses.invalidate(Facet.ALL)
                if unjudged.model is not None and not record.waits:
                    best = unjudged.roll_back(records)
            elif record.status is Status.APPLIED:
                if record.waits:
                    unjudged.add(best, len(records))
                best = candidate
                if any(later.recovers for later in view.following):
                    view.earlier.append(best)
            if item.numerics is Numerics.LOSSY and not record.waits:
                unjudged.model = None
            self._close(item, best, record)
        records.append(record)
        for instrument in self.instruments:
            instrument.after_pass(item, best, record)
        return best

    def _open(
        self, item: Pass, best: Model, later: Sequence[Pass], unjudged: Unjudged
    ) -> Allowance:
        """Return the allowance of a pass, its share of what the guards allow set apart.

        One that is judged with a later pass spends from what both may, and is not limited itself.
        """
        applying = [g for g in self.guards if not isinstance(g, Purse) or g.applies_to(item)]
        for guard in applying:
            if isinstance(guard, Purse) and unjudged.model is None:
                guard.open(item, best, later)
        if is_made_good(item, later):
            applying = [g for g in applying if not isinstance(g, Purse)]
        return Allowance(applying)

    def _close(self, item: Pass, kept: Model, record: PassRecord) -> None:
        for guard in self.guards:
            if isinstance(guard, Purse):
                found = [v for v in record.verdicts if v.guard == guard.kind]
                held = record.status is Status.APPLIED and bool(found)
                guard.close(item, kept, found[0] if held else None)

    def _run_one(
        self,
        item: Pass,
        best: Model,
        context: Context,
        done: Sequence[PassRecord],
        unjudged: Unjudged,
    ) -> tuple[Model, PassRecord]:
        for instrument in self.instruments:
            instrument.before_pass(item, best)
        candidate = best.clone()
        start = time.perf_counter()
        try:
            seen = replace(context, allowance=Allowance()) if context.fixed else context
            outcome = run_or_repeat(item, candidate, seen)
            if outcome and item.numerics is Numerics.LOSSY:
                _keep_storage(best, candidate, context)
        except Exception as error:
            for instrument in self.instruments:
                instrument.on_failure(item, best, error)
            if isinstance(error, OcompressError):
                raise
            ran = ", ".join(r.name for r in done) or "none"
            msg = (
                f"pass {item.name!r} failed ({type(error).__name__}: {error}); passes before: {ran}"
            )
            raise PassError(msg) from error
        seconds = time.perf_counter() - start
        limited = [g for g in self.guards if isinstance(g, Purse) and g.applies_to(item)]
        waits = bool(limited) and is_made_good(item, context.following)
        judged = bool(outcome) or (unjudged.model is not None and not waits)
        verdicts = self._judge(item, candidate, best, context) if judged else ()
        record = record_of(item, outcome, verdicts, seconds, best, candidate)
        return candidate, replace(record, waits=waits)

    def _judge(
        self, item: Pass, candidate: Model, best: Model, context: Context
    ) -> tuple[Verdict, ...]:
        if item.numerics is not Numerics.LOSSY:
            return ()
        verdicts = []
        for guard in context.allowance.guards:
            verdicts.append(guard.judge(candidate, best))
            if not verdicts[-1].held:
                context.remark(Severity.WARNING, "rolled-back", verdicts[-1].message)
                break
        return tuple(verdicts)

    def _progress(self, stage: str, done: int, total: int) -> None:
        for instrument in self.instruments:
            instrument.progress(stage, done, total)


def _check_packages(pipeline: Pipeline) -> None:
    """Check that what passes import is there, before the first of them runs."""
    for item in pipeline.passes:
        for package, how in item.missing_packages().items():
            msg = f"pass {item.name!r} needs the package {package!r}, which is not installed: {how}"
            raise UsageError(msg)


def _is_lossy(view: Context) -> bool:
    return view.item is not None and view.item.numerics is Numerics.LOSSY


def _keep_storage(before: Model, after: Model, context: Context) -> None:
    keep_form(before, after)
    narrow = keep_narrow(before, after)
    if narrow:
        what = f"{narrow} new weights are stored in 16 bits, as they or most of all weights were"
        context.remark(Severity.NOTE, "stored-narrow", what)

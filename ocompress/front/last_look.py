"""The last look at a result: the file as it was written, beside the original."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ocompress import profiling
from ocompress.analysis.cost import Cost
from ocompress.errors import PassError
from ocompress.front.bench import Bench
from ocompress.front.branches import never_taken
from ocompress.front.files import file_bytes
from ocompress.front.judging import (
    far_off,
    judge,
    kept_open,
    mostly_text,
    short_of_goals,
    too_large,
    too_slow,
)
from ocompress.front.large import count_and_let_go, judge_large, let_go
from ocompress.front.request import Request
from ocompress.front.sizing import bytes_of
from ocompress.io import load_model
from ocompress.ir import Model
from ocompress.pipeline import Numerics, PipelineResult, Status
from ocompress.profiling import ProfileResult
from ocompress.validation import Measure, ValidationResult

_SECONDS = 1.0
"""Time for each model when the result is measured."""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What was found of a file.

    Attributes:
        validation: It against the original.
        profile: Latency and memory beside the original's, None if they were not measured.
        cost: Parameters and multiply-accumulates, before and after.
        bytes: Size on disk with external data, before and after.
        broken: The budgets that did not hold, one sentence each.
        remarks: What else a reader must know, one sentence each.
    """

    validation: ValidationResult
    profile: ProfileResult | None
    cost: tuple[Cost, Cost]
    bytes: tuple[int, int]
    broken: list[str]
    remarks: list[str]


@dataclass
class LastLook:
    """Validates and measures a file.

    Attributes:
        bench: The original and what judges look at.
        request: What was asked.
        measures: How losses of outputs are counted, as far as a limit decided that.
        noun: What a limit by default counted, empty where there was none.
    """

    bench: Bench
    request: Request
    measures: Mapping[str, Measure]
    noun: str
    _broken: list[str] = field(default_factory=list)
    _remarks: list[str] = field(default_factory=list)

    def judge(self, result: PipelineResult, staged: Path) -> Judged:
        """Look at a file.

        Args:
            result: The passes that made it.
            staged: The file.

        Raises:
            PassError: If it is no valid model.
        """
        written, original = load_model(staged), self.bench.original
        found = self._validated(result, written, staged)
        if wrong := next((c.message for c in found.structure if not c.passed), ""):
            msg = f"the optimized model is invalid, so it was not written: {wrong}"
            raise PassError(msg)
        self._broken.extend(c.message for c in found.related if not c.passed)
        self._remarks.extend(found.remarks)
        sizes = (bytes_of(original, self.bench.path), file_bytes(staged))
        self._broken.extend(too_large(self.request.budget, sizes))
        let_go(written)
        # of the file, packed weights would count as the parts they are made of
        before, after = (count_and_let_go(m, self.bench.sample) for m in (original, result.model))
        self._remarks.extend(far_off(self.request.budget, found, self.noun))
        self._remarks.extend([*kept_open(result.model), *short_of_goals(result)])
        self._remarks.extend(mostly_text(result.model, sizes[1]))
        return Judged(
            validation=found,
            profile=self._measure(written, staged),
            cost=(before, after),
            bytes=sizes,
            broken=self._broken,
            remarks=self._remarks,
        )

    def _validated(self, result: PipelineResult, written: Model, staged: Path) -> ValidationResult:
        request, original, samples = self.request, self.bench.original, self.bench.samples
        if self.bench.large and samples.judged_on is None:
            return judge_large(original, written, staged, request.pipeline.domains())
        found, notes = judge(request, original, written, samples, self.measures)
        self._remarks.extend(notes)
        lossy = any(p.numerics is Numerics.LOSSY for p in request.pipeline.passes)
        if lossy and any(r.status is Status.APPLIED for r in result.records[1:]):
            self._remarks.extend(never_taken(original, samples.judged_on))
        return found

    def _measure(self, written: Model, staged: Path) -> ProfileResult | None:
        if self.bench.timed is None:
            return None
        found = self._profile(written, staged, _SECONDS)
        if profiling.seems_slower(found.ratio):  # or is only loaded so
            found = self._profile(written, staged, _SECONDS)
        if too_slow(self.request.limits, found):  # a longer look, as the guards take one
            found = self._profile(written, staged, _SECONDS * profiling.SECOND_LOOK)
        self._broken.extend(too_slow(self.request.limits, found))
        return found

    def _profile(self, written: Model, staged: Path, seconds: float) -> ProfileResult:
        return profiling.profile(
            written,
            against=self.bench.original,
            data=self.bench.call,
            threads=self.request.threads,
            seconds=seconds,
            memory=False,
            path=staged,
            against_path=self.bench.path,
            seed=self.request.seed,
        )

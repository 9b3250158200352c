"""Shorter pipelines: a pass that spends what the budget allows may leave the next ones too little.

Passes that go as far as a limit lets share it, and still a chain of them can end slower and larger
than its last pass alone would. So what came before each pass is kept in mind, and a chain that was
limited is also tried without its first passes, and without each of those in the middle, from the
model before it on. What was asked for stays unless something shorter is faster and smaller at once.
Where every pass is told how far to go or trains what others made, nothing is run anew: none would
take more because another took less, and training takes long.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

from ocompress.diagnostics import Diagnostics
from ocompress.ir import Model
from ocompress.ir.records import written_bytes
from ocompress.ir.serialized_size import serialized_bytes
from ocompress.pipeline import (
    Allowance,
    Limit,
    Numerics,
    Pass,
    PassRecord,
    Pipeline,
    PipelineResult,
    Prefixes,
    Status,
)
from ocompress.pipeline.bearing import bearing
from ocompress.report import Tried

Begun = Sequence[tuple[PassRecord, Model]]
"""Records of the first passes of a pipeline, each with the model after it."""
SLOWER, LARGER = 1.03, 1.01
"""Factors of time and bytes by which one model has to be worse than another, both at once."""


@dataclass
class Contest:
    """Finds the best of a pipeline and of shorter ones.

    Attributes:
        original: The model that came in.
        allowance: Without limits on drop and latency nothing is tried.
        run: Runs a pipeline on the original, but for the first passes that another run has made.
    """

    original: Model
    allowance: Allowance
    run: Callable[[Pipeline, Begun], PipelineResult]

    def best(
        self, pipeline: Pipeline, asked: PipelineResult, prefixes: Prefixes
    ) -> tuple[PipelineResult, list[Tried]]:
        """Return the result that is kept, and what was tried.

        Args:
            pipeline: What was asked for.
            asked: What became of it.
            prefixes: The models on the way.
        """
        limited = self.allowance.has(Limit.DROP) and not pipeline.fixed
        done = _that_did_anything(pipeline, asked)
        if not limited or len(done) < 2:
            return asked, []
        after = prefixes.of(asked)
        ends = [at for at in done[:-1] if not asked.records[at].waits]
        others = [_cut(asked, at + 1, after[at][1]) for at in ends]
        if any(_goes_as_far_as_it_may(pipeline.passes[at]) for at in done):
            others += [self._run(pipeline, asked, after, out) for out in _left_out(done)]
        others = [o for o in others if _ran(o) and o.held]
        worse = [other for other in others if self._is_worse(asked.model, other.model)]
        kept = min(worse, key=lambda o: self._bytes(o.model), default=asked)
        told = [self._tried(result, kept) for result in (asked, *others)]
        return kept, told

    def _run(
        self, pipeline: Pipeline, asked: PipelineResult, after: Begun, out: Sequence[int]
    ) -> PipelineResult:
        """Run a pipeline without some passes, from the model before the first of them on."""
        shorter = Pipeline.of([p for at, p in enumerate(pipeline.passes) if at not in out])
        begun = after[: out[0]]
        while begun and begun[-1][0].waits:  # for a pass that may be left out
            begun = begun[:-1]
        return continued(asked, begun, self.run(shorter, begun))

    def _is_worse(self, model: Model, other: Model) -> bool:
        """Whether a model is slower and larger than another, as far as a clock tells."""
        if self._bytes(model) <= LARGER * self._bytes(other):
            return False
        ratio = self._ratio(model, other)
        return ratio is not None and ratio > SLOWER

    def _bytes(self, model: Model) -> int:
        return written_bytes(model, self.original)

    def _ratio(self, model: Model, other: Model) -> float | None:
        verdict = self.allowance.judged(Limit.LATENCY, model, other)
        return None if verdict is None else verdict.figures.get("ratio")

    def _tried(self, result: PipelineResult, kept: PipelineResult) -> Tried:
        size = self._bytes(result.model) / max(serialized_bytes(self.original), 1)
        ratio = self._ratio(result.model, self.original)
        return Tried(_named(result), ratio, size, result is kept)


def continued(asked: PipelineResult, begun: Begun, found: PipelineResult) -> PipelineResult:
    """Return a result that began with passes of another one, with what these said."""
    said = Diagnostics()
    for name in dict.fromkeys(record.name for record, _ in begun):
        said.remarks.extend(asked.diagnostics.of(name))
    said.remarks.extend(found.diagnostics.remarks)
    return replace(found, diagnostics=said)


def without_idle(
    pipeline: Pipeline, result: PipelineResult, names: Collection[str]
) -> tuple[Pipeline, PipelineResult]:
    """Return a pipeline and what became of it, as if passes that changed nothing were not in it.

    A pass stays if the verdict on others hangs on it, if others would have been made in another way
    without it, or the first pass begins as it needs.

    Args:
        pipeline: The passes.
        result: What became of them.
        names: Passes that may be left out.
    """
    if not names:
        return pipeline, result
    passes, idle = pipeline.passes, list[int]()
    for at, record in enumerate(result.records):
        rest = [item for i, item in enumerate(passes) if i not in (*idle, at)]
        idles = record.name in names and record.status is Status.UNCHANGED and not record.verdicts
        if idles and bearing(rest) == bearing(passes):
            idle.append(at)
    kept = [item for at, item in enumerate(pipeline.passes) if at not in idle]
    shorter = Pipeline.of(kept, fixed=pipeline.fixed)
    if not idle or shorter.passes[0] != pipeline.passes[0]:
        return pipeline, result
    silent = {result.records[at].name for at in idle} - {item.name for item in kept}
    said = Diagnostics([r for r in result.diagnostics if r.source not in silent])
    records = tuple(r for at, r in enumerate(result.records) if at not in idle)
    return shorter, replace(result, records=records, diagnostics=said)


def _cut(asked: PipelineResult, count: int, model: Model) -> PipelineResult:
    """Return the first passes of a result, as if no others had been asked for."""
    return PipelineResult(model=model, records=asked.records[:count], diagnostics=asked.diagnostics)


def _that_did_anything(pipeline: Pipeline, asked: PipelineResult) -> list[int]:
    """Return the positions of the lossy passes that changed the model."""
    return [
        at
        for at, (item, record) in enumerate(zip(pipeline.passes, asked.records, strict=True))
        if item.numerics is Numerics.LOSSY and record.status is Status.APPLIED
    ]


def _goes_as_far_as_it_may(item: Pass) -> bool:
    """Whether a limit says how far a pass goes: it is not told, nor does it make up for others."""
    return not item.has_goal and not item.recovers


def _left_out(done: Sequence[int]) -> list[list[int]]:
    """Return what to leave out: each pass in the middle, and the first one, two, ...

    That comes first which leaves least to run again.
    """
    every = [[at] for at in done[1:-1]] + [list(done[:count]) for count in range(1, len(done))]
    return sorted(every, key=lambda out: sum(at > out[0] and at not in out for at in done))


def _ran(result: PipelineResult) -> bool:
    return any(r.status is Status.APPLIED for r in result.records[1:])


def _named(result: PipelineResult) -> str:
    return ",".join(r.text for r in result.records[1:] if r.status is not Status.ROLLED_BACK)

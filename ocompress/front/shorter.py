"""Shorter pipelines: a pass that spends what the budget allows may leave the next ones too little.

Passes that go as far as a limit lets share it, and still a chain of them can end slower and larger
than its last pass alone would. So what came before each pass is kept in mind, and a chain that was
limited is also tried without its first passes. What was asked for stays unless something shorter
is faster and smaller at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ocompress.ir import Model
from ocompress.ir.serialized_size import serialized_bytes
from ocompress.pipeline import (
    Guard,
    Instrument,
    Numerics,
    Pass,
    PassRecord,
    Pipeline,
    PipelineResult,
    Status,
)
from ocompress.report import Tried

SLOWER, LARGER = 1.03, 1.01
"""Factors of time and bytes by which one model has to be worse than another, both at once."""


@dataclass
class Prefixes(Instrument):
    """Keeps the model after every lossy pass that changed it."""

    kept: list[tuple[int, Model]] = field(default_factory=list)
    _count: int = 0

    def after_pass(self, item: Pass, model: Model, record: PassRecord) -> None:
        """Keep it, with how many passes have run."""
        self._count += 1
        if item.numerics is Numerics.LOSSY and record.status is Status.APPLIED:
            self.kept.append((self._count, model))


@dataclass
class Contest:
    """Finds the best of a pipeline and of shorter ones.

    Attributes:
        original: The model that came in.
        guards: Those of the budget; without a limit on the drop and a clock nothing is tried.
        run: Runs a pipeline on the original.
    """

    original: Model
    guards: Sequence[Guard]
    run: Callable[[Pipeline], PipelineResult]

    def best(
        self, pipeline: Pipeline, asked: PipelineResult, prefixes: Prefixes
    ) -> tuple[PipelineResult, list[Tried]]:
        """Return the result that is kept, and what was tried.

        Args:
            pipeline: What was asked for.
            asked: What became of it.
            prefixes: The models on the way.
        """
        limited = any(g.kind == "max-drop" for g in self.guards)
        if not limited or len(prefixes.kept) < 2:
            return asked, []
        others = [_cut(asked, count, model) for count, model in prefixes.kept[:-1]]
        others += [self.run(shorter) for shorter in _without_first(pipeline, asked)]
        others = [o for o in others if _ran(o) and o.held]
        worse = [other for other in others if self._is_worse(asked.model, other.model)]
        kept = min(worse, key=lambda o: serialized_bytes(o.model), default=asked)
        told = [self._tried(result, kept) for result in (asked, *others)]
        return kept, told

    def _is_worse(self, model: Model, other: Model) -> bool:
        """Whether a model is slower and larger than another, as far as a clock tells."""
        if serialized_bytes(model) <= LARGER * serialized_bytes(other):
            return False
        ratio = self._ratio(model, other)
        return ratio is not None and ratio > SLOWER

    def _ratio(self, model: Model, other: Model) -> float | None:
        clock = next((g for g in self.guards if g.kind == "latency"), None)
        found = clock.judge(model, other).figures if clock is not None else {}
        return found.get("ratio")

    def _tried(self, result: PipelineResult, kept: PipelineResult) -> Tried:
        size = serialized_bytes(result.model) / max(serialized_bytes(self.original), 1)
        ratio = self._ratio(result.model, self.original)
        return Tried(_named(result), ratio, size, result is kept)


def _cut(asked: PipelineResult, count: int, model: Model) -> PipelineResult:
    """Return the first passes of a result, as if no others had been asked for."""
    return PipelineResult(model=model, records=asked.records[:count], diagnostics=asked.diagnostics)


def _without_first(pipeline: Pipeline, asked: PipelineResult) -> list[Pipeline]:
    """Return the pipeline without the first one, two, ... of the lossy passes that did anything."""
    done = [
        item
        for item, record in zip(pipeline.passes, asked.records, strict=True)
        if item.numerics is Numerics.LOSSY and record.status is Status.APPLIED
    ]
    return [
        Pipeline.of([item for item in pipeline.passes if item not in done[:left_out]])
        for left_out in range(1, len(done))
    ]


def _ran(result: PipelineResult) -> bool:
    return any(r.status is Status.APPLIED for r in result.records[1:])


def _named(result: PipelineResult) -> str:
    return ",".join(r.text for r in result.records[1:] if r.status is not Status.ROLLED_BACK)

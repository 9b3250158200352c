"""Running passes on all samples, under the guards of a budget."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ocompress.analysis import MeasurementStore
from ocompress.auto import OutOfTimeError
from ocompress.front.bench import Bench
from ocompress.front.large import Release
from ocompress.front.remembered import proposals
from ocompress.front.request import Request
from ocompress.ir import Model
from ocompress.pipeline import (
    Guard,
    Instrument,
    PassManager,
    PassRecord,
    Pipeline,
    PipelineResult,
)
from ocompress.profiling import LatencyGuard, LayerClock


@dataclass
class Ending(Instrument):
    """Ends the search for a plan in the middle of a pass.

    Attributes:
        is_over: Says whether to end it.
    """

    is_over: Callable[[], bool] = lambda: False

    def progress(self, stage: str, done: int, total: int) -> None:
        """Ask whether it is over."""
        if self.is_over():
            msg = "the search for a plan is over"
            raise OutOfTimeError(msg)


def at(until: float) -> Callable[[], bool]:
    """Return what says whether a moment has passed, in seconds of `time.monotonic`."""
    return lambda: time.monotonic() > until


class Runner:
    """Runs pipelines on a model, all on the same measurements."""

    def __init__(self, bench: Bench, request: Request, guards: Sequence[Guard]) -> None:
        """Prepare.

        Args:
            bench: The original, and what judges look at.
            request: What was asked; its own pipeline says only whether it is fixed.
            guards: Judge what passes make.
        """
        self._original, self._guards = bench.original, guards
        self._hooks = bench.hooks
        if bench.large:
            self._hooks = (*self._hooks, Release(bench.original))
        self._clock = None
        if any(isinstance(g, LatencyGuard) for g in guards) and bench.call is not None:
            self._clock = LayerClock(next(iter(bench.call)), threads=request.threads)
        fit = bench.samples.fit
        self._request, self._fit, self._look = request, fit, bench.witness()
        self._store = MeasurementStore(folder=request.cache, data=fit)
        self._memo = proposals(request, fit) if request.pipeline.fixed else None

    def run(
        self,
        pipeline: Pipeline,
        begun: Sequence[tuple[PassRecord, Model]] = (),
        *hooks: Instrument,
        also: Sequence[Guard] = (),
    ) -> PipelineResult:
        """Run a pipeline.

        Args:
            pipeline: The passes.
            begun: Records of the first of them, if they were run before, each with the model after
                it.
            hooks: Further hooks around passes.
            also: Further guards.
        """
        manager = PassManager(
            target=self._request.device,
            data=self._fit,
            seed=self._request.seed,
            guards=(*self._guards, *also),
            clock=self._clock,
            instruments=(*self._hooks, *hooks),
            equivalence=self._look,
            allow_slower=self._request.allow_slower,
            store=self._store,
            proposals=self._memo,
        )
        return manager.run(pipeline, self._original, begun)

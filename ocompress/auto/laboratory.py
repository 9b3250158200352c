"""Building and measuring chains: every figure of a trial is one of a real model."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from ocompress.analysis.store import MeasurementStore
from ocompress.auto.chain import Chain
from ocompress.auto.goal import PlanBounds
from ocompress.auto.ledger import Ledger
from ocompress.auto.trial import PlanTrial
from ocompress.errors import OcompressError
from ocompress.io.dataset import Dataset
from ocompress.ir import Model, fingerprint
from ocompress.ir.serialized_size import serialized_bytes
from ocompress.pipeline import (
    Instrument,
    PassManager,
    PassRecord,
    Pipeline,
    PipelineResult,
    Prefixes,
    ProposalMemo,
    Status,
)
from ocompress.pipeline.guard import Equivalence, Guard, Verdict
from ocompress.pipeline.pipeline import FIRST
from ocompress.targets import Target

_MOST_KEPT = 40
"""Models after some first passes that are kept, so that longer chains begin with them."""
_MOST_BYTES = 1 << 30
"""Bytes of weights of those, at most."""


class OutOfTimeError(OcompressError):
    """There is no time for another trial."""


@dataclass(frozen=True)
class Meters:
    """What measures models, beside the size of their file.

    Attributes:
        drop: Judges what a model lost on samples that nothing else sees; None without a limit.
        latency: Times models, None where that is not wanted or cannot be done.
        predicted: Predicts the time of a run over the original's where nothing is timed.
        archive: Returns the bytes of a model's archive; None leaves that out.
        memory: Returns the bytes of memory that a run takes, None if it is not known.
    """

    drop: Guard
    latency: Guard | None = None
    predicted: Callable[[Model], float | None] | None = None
    archive: Callable[[Model], int | None] | None = None
    memory: Callable[[Model], int | None] | None = None


@dataclass
class Laboratory:
    """Builds chains on a model and measures them; what they have in common is done once.

    Attributes:
        original: The model that came in.
        target: What the result is for.
        data: What passes see.
        seed: Makes everything random repeatable.
        meters: Measure the models.
        bounds: Limits beside that on the drop.
        equivalence: Looks at what exact passes made.
        store: What was measured of models on the data.
        instruments: Hooks around passes.
        deadline: When no further trial begins, in seconds of `time.monotonic`.
        asked: Says whether somebody asked for an early end.
        ledger: Trials of earlier searches.
    """

    original: Model
    target: Target
    data: Dataset
    meters: Meters
    bounds: PlanBounds = field(default_factory=PlanBounds)
    seed: int = 0
    equivalence: Equivalence | None = None
    store: MeasurementStore = field(default_factory=MeasurementStore)
    instruments: Sequence[Instrument] = ()
    deadline: float = float("inf")
    asked: Callable[[], bool] = lambda: False
    ledger: Ledger = field(default_factory=lambda: Ledger(None))
    trials: dict[str, PlanTrial] = field(default_factory=dict)
    """All that were made, by text of the chain."""
    _measured: dict[str, PlanTrial] = field(default_factory=dict)
    _begun: OrderedDict[tuple[str, ...], tuple[PassRecord, Model]] = field(
        default_factory=OrderedDict
    )
    _slowest: dict[str, float] = field(default_factory=dict)
    _proposals: ProposalMemo = field(default_factory=ProposalMemo)

    @property
    def original_bytes(self) -> int:
        """Bytes of the original's file."""
        return serialized_bytes(self.original)

    @property
    def is_over(self) -> bool:
        """Whether the search shall end; never before there is a first trial."""
        return bool(self.trials) and (time.monotonic() > self.deadline or self.asked())

    def evaluate(self, chains: Sequence[Chain]) -> list[PlanTrial]:
        """Build and measure chains.

        Raises:
            OutOfTimeError: If the deadline is over.
        """
        return [self._known(chain) for chain in chains]

    def _known(self, chain: Chain) -> PlanTrial:
        text = str(chain)  # levels are rounded there
        if text not in self.trials:
            self.trials[text] = self._remembered(chain) or self._try(chain)
        return self.trials[text]

    def _remembered(self, chain: Chain) -> PlanTrial | None:
        """Return the trial of an earlier search, as today's limits judge it."""
        figures = self.ledger.get(str(chain))
        if figures is None:
            return None
        found = PlanTrial.of_figures(chain, figures)
        for meter, figure in (
            (self.meters.archive, found.archive),
            (self.meters.memory, found.memory),
            (self.meters.latency or self.meters.predicted, found.latency),
        ):
            if meter is not None and figure is None:
                return None
        return self._limited(found)

    def _try(self, chain: Chain) -> PlanTrial:
        if self.is_over:
            msg = "the search for a plan is over"
            raise OutOfTimeError(msg)
        try:
            result = self._run(chain.pipeline())
        except OutOfTimeError:
            raise
        except OcompressError as error:
            return PlanTrial(chain=chain, held=False, why=str(error))
        records = [r for r in result.records if r.name != FIRST]
        idle = tuple(r.name for r in records if r.status is not Status.APPLIED)
        seconds = self._spent(result.records)
        key = fingerprint(result.model)
        if key not in self._measured:
            self._measured[key] = self._measure(chain, result.model)
        found = replace(self._measured[key], chain=chain, idle=idle, seconds=seconds)
        if found.drop is not None:
            self.ledger.put(str(chain), found.figures())
        return self._limited(found)

    def _run(self, pipeline: Pipeline) -> PipelineResult:
        """Run a pipeline, from the longest known beginning of it on."""
        texts = tuple(map(str, pipeline.passes))
        begun: list[tuple[PassRecord, Model]] = []
        for count in range(1, len(texts) + 1):
            known = self._begun.get(texts[:count])
            if known is None:
                break
            begun.append(known)
        after = Prefixes()
        manager = PassManager(
            target=self.target,
            data=self.data,
            seed=self.seed,
            instruments=(*self.instruments, after),
            equivalence=self.equivalence,
            store=self.store,
            proposals=self._proposals,
        )
        result = manager.run(pipeline, self.original, begun)
        for count, found in enumerate(after.of(result, begun), 1):
            self._keep(texts[:count], found)
        return result

    def _spent(self, records: Sequence[PassRecord]) -> float:
        """Return how long passes take where nothing about the model is known yet."""
        for record in records:
            slowest = self._slowest.get(record.name, 0.0)
            self._slowest[record.name] = max(slowest, record.seconds)
        return sum(self._slowest[record.name] for record in records)

    def _keep(self, key: tuple[str, ...], found: tuple[PassRecord, Model]) -> None:
        self._begun[key] = found
        self._begun.move_to_end(key)
        while len(self._begun) > 1 and (
            len(self._begun) > _MOST_KEPT
            or sum(m.weight_bytes for _, m in self._begun.values()) > _MOST_BYTES
        ):
            self._begun.popitem(last=False)

    def _measure(self, chain: Chain, model: Model) -> PlanTrial:
        meters, size = self.meters, serialized_bytes(model)
        verdict = meters.drop.judge(model, self.original)
        if "drop" not in verdict.figures:
            return PlanTrial(chain=chain, held=False, size=size, why=verdict.message)
        return PlanTrial(
            chain=chain,
            held=verdict.held,
            drop=verdict.figures["drop"],
            strain=_strain(verdict),
            latency=self._latency(model),
            size=size,
            archive=None if meters.archive is None else meters.archive(model),
            memory=None if meters.memory is None else meters.memory(model),
            why="" if verdict.held else verdict.message,
        )

    def _limited(self, found: PlanTrial) -> PlanTrial:
        """Hold a trial against the other limits."""
        over = self._beyond(found)
        return replace(found, held=False, over=over, why=found.why or over) if over else found

    def _latency(self, model: Model) -> float | None:
        if self.meters.latency is not None:
            verdict = self.meters.latency.judge(model, self.original)
            return verdict.figures.get("ratio_to_original")
        return None if self.meters.predicted is None else self.meters.predicted(model)

    def _beyond(self, found: PlanTrial) -> str:
        """Say which other limit a trial is beyond; empty if none."""
        limits = (
            ("times the original's latency", found.latency, self.bounds.latency),
            ("times the original's bytes", found.size / self.original_bytes, self.bounds.size),
            ("bytes of memory", found.memory, self.bounds.memory),
        )
        for what, value, limit in limits:
            if limit is not None and value is not None and value > limit:
                return f"{value:.4g} {what}, more than the {limit:.4g} allowed"
        return ""


def _strain(verdict: Verdict) -> float:
    """Return what was lost over what is allowed; the upper end over its own limit if that is more.

    Where nothing may be lost, it is 0 or infinite.
    """
    figures, found = verdict.figures, 0.0
    for value, limit in (("drop", "limit"), ("high", "bound")):
        lost, allowed = figures[value], figures[limit]
        if lost > 0:
            found = max(found, lost / allowed if allowed > 0 else float("inf"))
    return found

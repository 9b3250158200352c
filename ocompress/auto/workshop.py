"""Building chains: every figure of a trial is one of a real model."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from ocompress.analysis.store import MeasurementStore
from ocompress.auto.chain import Chain
from ocompress.auto.trial import PlanTrial
from ocompress.errors import OcompressError
from ocompress.io.dataset import Dataset
from ocompress.ir import Model, fingerprint
from ocompress.ir.records import as_recorded
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
from ocompress.pipeline.bearing import bearing
from ocompress.pipeline.guard import Equivalence, Guard
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
        predicted: Predicts the time of a run over the original's; None where it is measured.
        archive: Returns the bytes of a model's archive; None leaves that out.
        memory: Returns the bytes of memory that a run takes, None if it is not known.
    """

    drop: Guard
    predicted: Callable[[Model], float | None] | None = None
    archive: Callable[[Model], int | None] | None = None
    memory: Callable[[Model], int | None] | None = None


@dataclass(frozen=True, kw_only=True)
class Made:
    """What became of a chain where it was built.

    Attributes:
        trial: All that is known of it but a measured time and other limits than on the drop.
        key: Fingerprint of the model; empty if there is none.
        spent: Names of passes, and the seconds that each took.
        settled: By name of a pass, options with which it chooses the same without a clock.
        model: The model, in whatever form `Builders` bring it, where its time is still to be
            measured.
    """

    trial: PlanTrial
    key: str = ""
    spent: tuple[tuple[str, float], ...] = ()
    settled: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    model: Any = None


class Builders(Protocol):
    """Who builds chains.

    Attributes:
        count: How many are built side by side; 0 builds each where it is begun.
    """

    count: int

    def begin(self, chain: Chain, seconds: float) -> Future[Made]:
        """Begin to build a chain, for which there is some time; `OutOfTimeError` if it is over."""
        ...


@dataclass
class Workshop:
    """Builds chains on a model and measures them, but for time; what they share is done once.

    Attributes:
        original: The model that came in.
        target: What the result is for.
        data: What passes see.
        meters: Measure the models.
        seed: Makes everything random repeatable.
        equivalence: Looks at what exact passes made.
        store: What was measured of models on the data.
        instruments: Hooks around passes.
    """

    original: Model
    target: Target
    data: Dataset
    meters: Meters
    seed: int = 0
    equivalence: Equivalence | None = None
    store: MeasurementStore = field(default_factory=MeasurementStore)
    instruments: Sequence[Instrument] = ()
    proposals: ProposalMemo = field(default_factory=ProposalMemo)
    count: int = 0
    _measured: dict[str, PlanTrial] = field(default_factory=dict)
    _begun: OrderedDict[tuple[str, ...], tuple[PassRecord, Model]] = field(
        default_factory=OrderedDict
    )

    def begin(self, chain: Chain, seconds: float) -> Future[Made]:
        """Build a chain at once, as the only one of `Builders`; a hook looks at the clock."""
        del seconds
        future: Future[Made] = Future()
        try:
            future.set_result(self.build(chain))
        except OcompressError as error:
            future.set_exception(error)
        return future

    def build(self, chain: Chain) -> Made:
        """Build and measure a chain.

        Raises:
            OutOfTimeError: If a hook says so.
        """
        try:
            result = self._run(chain.pipeline())
        except OutOfTimeError:
            raise
        except OcompressError as error:
            return Made(trial=PlanTrial(chain=chain, held=False, why=str(error)))
        records = [r for r in result.records if r.name != FIRST]
        idle = tuple(r.name for r in records if r.status is not Status.APPLIED)
        key = fingerprint(result.model)
        if key not in self._measured:
            self._measured[key] = self._measure(chain, result.model)
        return Made(
            trial=replace(self._measured[key], chain=chain, idle=idle),
            key=key,
            spent=tuple((r.name, r.seconds) for r in result.records),
            settled={r.name: s for r in records if (s := r.details.get("settled"))},
            model=result.model,
        )

    def _run(self, pipeline: Pipeline) -> PipelineResult:
        """Run a pipeline, from the longest known beginning of it on."""
        # what is fitted to fewer samples is no beginning of what is fitted to all of them, say
        texts = (str(bearing(pipeline.passes)), *map(str, pipeline.passes))
        begun: list[tuple[PassRecord, Model]] = []
        for count in range(1, len(texts)):
            known = self._begun.get(texts[: count + 1])
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
            proposals=self.proposals,
            tells=False,
        )
        result = manager.run(pipeline, self.original, begun)
        for count, found in enumerate(after.of(result, begun), 1):
            self._keep(texts[: count + 1], found)
        return result

    def _keep(self, key: tuple[str, ...], found: tuple[PassRecord, Model]) -> None:
        self._begun[key] = found
        self._begun.move_to_end(key)
        while len(self._begun) > 1 and (
            len(self._begun) > _MOST_KEPT
            or sum(m.weight_bytes for _, m in self._begun.values()) > _MOST_BYTES
        ):
            self._begun.popitem(last=False)

    def _measure(self, chain: Chain, model: Model) -> PlanTrial:
        meters, written = self.meters, as_recorded(model, self.original)
        size = serialized_bytes(written)
        verdict = meters.drop.judge(model, self.original)
        if "drop" not in verdict.figures:
            return PlanTrial(chain=chain, held=False, size=size, why=verdict.message)
        found = PlanTrial(
            chain=chain,
            held=False,
            latency=None if meters.predicted is None else meters.predicted(model),
            size=size,
            archive=None if meters.archive is None else meters.archive(written),
            memory=None if meters.memory is None else meters.memory(written),
        )
        return found.judged(verdict)

"""Validation on another machine, and the same model on two machines."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from ocompress.errors import DataError, RuntimeFailureError
from ocompress.io.dataset import Dataset, Feeds, samples_in
from ocompress.ir import Model
from ocompress.runtime import VERSION, Level
from ocompress.targets.device import DeviceRun, ModelRun, Planned, run_on
from ocompress.targets.transport import Progress, Transport, silent
from ocompress.validation.comparison import Comparer
from ocompress.validation.decisions import DecisionRule, agree
from ocompress.validation.device_result import DeviceValidation, Flips, MachineComparison
from ocompress.validation.footprint import Footprint
from ocompress.validation.gate import Gate
from ocompress.validation.metric import Metric
from ocompress.validation.naming import Wanted
from ocompress.validation.sources import LiveSource
from ocompress.validation.validate import validate

_REFERENCE, _CANDIDATE = "reference", "candidate"


def validate_on(
    transport: Transport,
    reference: Model,
    candidate: Model,
    data: Dataset,
    *,
    metric: Metric | Wanted | None = None,
    gate: Gate | None = None,
    footprint: Footprint | None = None,
    threads: int = 1,
    progress: Progress = silent,
) -> DeviceValidation:
    """Validate on a device, and compare the device with this machine.

    The candidate runs there as ONNX Runtime optimizes it, and unoptimized too if the gate limits
    the difference between the two.

    Args:
        transport: The way to the device.
        reference: The original.
        candidate: What became of it.
        data: Evaluation data.
        metric: As for `validate`.
        gate: Limits to judge by.
        footprint: As for `validate`; of the host, not of the device.
        threads: Threads within an operator, on both machines.
        progress: Told after each run on the device.

    Raises:
        DataError: If the data do not fit the reference, or the metric fails.
        RuntimeFailureError: If the device cannot be used, or the reference cannot run.
    """
    levels = _levels(gate, candidate)
    planned = [Planned(_REFERENCE, reference)]
    planned += [Planned(_name(level), candidate, level) for level in levels]
    with run_on(transport, planned, data, threads=threads, progress=progress) as run:
        found = validate(
            reference,
            candidate,
            data,
            metric=metric,
            levels=levels,
            gate=gate,
            footprint=footprint,
            threads=threads,
            opener=_Opener(run, reference),
        )
        machines = tuple(
            _compare(run.models[name], model, data, threads)
            for name, model in ((_CANDIDATE, candidate), (_REFERENCE, reference))
        )
    return DeviceValidation(
        device=run.device,
        facts=run.facts,
        host=platform.machine(),
        host_onnxruntime=VERSION,
        validation=found,
        machines=machines,
        times_valid=run.timed,
        remarks=tuple(_remarks(run, footprint)),
    )


def _levels(gate: Gate | None, candidate: Model) -> Sequence[Level]:
    names = [v.name for v in candidate.graph.outputs]
    if gate is not None and any(gate.limit("min_level_sqnr_db", n) is not None for n in names):
        return Level.ALL, Level.DISABLED
    return (Level.ALL,)


def _name(level: Level) -> str:
    return _CANDIDATE if level is Level.ALL else f"{_CANDIDATE}-{level.value}"


def _remarks(run: DeviceRun, footprint: Footprint | None) -> Iterator[str]:
    if not run.timed:
        yield f"{run.device} is emulated: its results are valid, its times mean nothing"
    if run.facts.onnxruntime != VERSION:
        yield (
            f"ONNX Runtime is {run.facts.onnxruntime} there and {VERSION} here, so not all that "
            "differs comes from the machine"
        )
    if footprint is not None and footprint.latency_ms is not None:
        yield f"latency was measured on this machine, not on {run.device}"
    if footprint is not None and footprint.memory is not None:
        yield f"memory was measured on this machine, not on {run.device}"


class _DeviceSource:
    """Gives what a model gave on the device, feed by feed."""

    def __init__(self, run: ModelRun) -> None:
        run.require()
        self._outputs = run.outputs()

    def outputs(self, feeds: Feeds) -> dict[str, np.ndarray]:
        """Return what the next feed gave."""
        return next(self._outputs)


class _Opener:
    """Finds what the device made of a model; the reference is opened first."""

    def __init__(self, run: DeviceRun, reference: Model) -> None:
        self._run, self._reference = run, reference

    def __call__(self, model: Model, level: Level) -> _DeviceSource:
        name = _REFERENCE if model is self._reference else _name(level)
        return _DeviceSource(self._run.models[name])


@dataclass(slots=True)
class _FlipSum:
    """Running list of the samples whose decision differs."""

    rule: DecisionRule
    counted: int = 0
    flipped: list[int] = field(default_factory=list)

    def update(self, host: np.ndarray, device: np.ndarray, first: int, samples: int) -> None:
        """Take in one feed's output."""
        left, right = (self.rule.labels_of(self.rule.decide(a), True) for a in (host, device))
        shares = agree(left, right, samples)
        self.flipped.extend(int(i) for i in first + np.flatnonzero(shares < 1.0))
        self.counted += len(shares)

    def result(self, output: str) -> Flips:
        """Return what was found."""
        fraction = len(self.flipped) / max(self.counted, 1)
        decision = self.rule.describe(True)
        return Flips(output, decision, len(self.flipped), fraction, tuple(self.flipped))


def _compare(run: ModelRun, model: Model, data: Dataset, threads: int) -> MachineComparison:
    """Run a model here and compare with what it gave on the device."""
    comparer = Comparer(model)
    flips: dict[str, _FlipSum] = {}
    try:
        host = LiveSource(model, Level.ALL, threads)
        first = 0
        for feeds, there in zip(data, run.outputs(), strict=True):
            here = host.outputs(feeds)
            samples = samples_in(data, feeds)
            comparer.update(here, there, first, samples)
            for name in (n for n in here if n in there):
                rule = comparer.rule_of(name)
                if rule is not None:
                    total = flips.setdefault(name, _FlipSum(rule))
                    total.update(here[name], there[name], first, samples)
            first += samples
    except (RuntimeFailureError, DataError) as error:
        return MachineComparison(run.name, str(error))
    found = tuple(total.result(name) for name, total in flips.items())
    return MachineComparison(run.name, "", comparer.outputs(), found)

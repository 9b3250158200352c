"""Profiling from end to end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ocompress.analysis.cost import Cost, count
from ocompress.io import model_files
from ocompress.io.batch_axes import batch_axes
from ocompress.io.dataset import Dataset, Feeds, axes_of, cut_at, samples_in
from ocompress.io.feeds import samples_of
from ocompress.ir import Model
from ocompress.ir.serialized_size import serialized_bytes
from ocompress.profiling.environment import environment
from ocompress.profiling.inputs import choose
from ocompress.profiling.latency import WallTimes, interleave
from ocompress.profiling.memory import measure
from ocompress.profiling.result import InputChoice, Memory, ModelProfile, ProfileResult, TimeShare
from ocompress.profiling.statistics import ratio_of_medians, summarize
from ocompress.profiling.trace import parting, shares, trace
from ocompress.runtime import Session

_TRACE_MS = 1000.0
_MOST_TRACED, _FEWEST_TRACED = 50, 3


def profile(
    model: Model,
    *,
    against: Model | None = None,
    data: Dataset | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    threads: int = 1,
    warmup: int = 5,
    runs: int | None = None,
    seconds: float = 2.5,
    per_node: bool = False,
    memory: bool = True,
    path: Path | None = None,
    against_path: Path | None = None,
    seed: int = 0,
) -> ProfileResult:
    """Measure a model, and a reference beside it.

    Args:
        model: The model.
        against: A reference, run interleaved with the model so that both see the same machine.
        data: Its first feed is what both are run with; random numbers otherwise.
        shapes: Shapes of inputs by name, for random numbers.
        threads: Threads within an operator; 0 takes all cores.
        warmup: Runs of each model that are not counted.
        runs: Timed runs of each model; as many as fit in `seconds` when None.
        seconds: Time to spend on each model.
        per_node: Whether to measure operators and layers with ONNX Runtime's profiler.
        memory: Whether to measure memory in fresh processes.
        path: The model's file, for its size on disk and its memory; written to a temporary file
            for the latter when None.
        against_path: The reference's file.
        seed: Seeds random inputs, the order of runs and the interval.

    Raises:
        DataError: If the inputs cannot be made up or do not fit.
        RuntimeFailureError: If a model cannot be loaded or run.
    """
    feeds, inputs = choose(model, data, shapes or {}, seed)
    subjects = [_Subject(model, path, feeds, threads)]
    if against is not None:
        subjects.append(_Subject(against, against_path, feeds, threads))
    times = interleave(
        [s.caller() for s in subjects], seconds=seconds, warmup=warmup, runs=runs, seed=seed
    )
    remarks = _guesses(inputs)
    samples, rows = _samples(model, data, feeds, inputs), _rows(data, shapes)
    profiles = []
    for subject, own in zip(subjects, times, strict=True):
        latency = summarize(own.runs, samples)
        by_op, by_layer = subject.per_node(own) if per_node else ((), ())
        used = subject.memory() if memory else None
        cost = count(subject.model, _extents(subject.model, inputs, rows), run=True)
        apart = parting(by_layer, latency.p50_ms) if subject is subjects[0] else ""
        remarks += _remarks(used, apart, cost)
        held = used if isinstance(used, Memory) else None
        profiles.append(ModelProfile(latency, cost, subject.bytes(), held, by_op, by_layer))
    return ProfileResult(
        model=profiles[0],
        inputs=inputs,
        environment=environment(threads),
        against=profiles[1] if against is not None else None,
        ratio=ratio_of_medians(times[0].turns, times[1].turns, seed) if against else None,
        remarks=tuple(remarks),
    )


def _rows(data: Dataset | None, shapes: Mapping[str, Sequence[int]] | None) -> int:
    """Return how many rows are a unit of the first axis, 0 if nothing says so."""
    if data is not None and any(axes_of(data).values()):
        return 1  # nothing but this cuts along another axis than the first
    return cut_at(data) if data is not None else int(bool(shapes))


def _guesses(inputs: Sequence[InputChoice]) -> list[str]:
    return [
        f"input {i.name!r}: guessed {', '.join(i.guessed)}; give --shape or --data for others"
        for i in inputs
        if i.guessed
    ]


def _remarks(used: Memory | str | None, apart: str, cost: Cost) -> list[str]:
    """Return what could not be measured or told of one model, a sentence each."""
    found = [used] if isinstance(used, str) else []
    if apart:
        found.append(apart)
    if cost.unknown:
        found.append(f"multiply-accumulates of {len(cost.unknown)} nodes are not known")
    return found


@dataclass(frozen=True)
class _Subject:
    """One model that is being profiled."""

    model: Model
    path: Path | None
    feeds: Feeds
    threads: int

    def caller(self) -> Callable[[], object]:
        """Load the model and return a call that runs it once."""
        wanted = {v.name for v in self.model.graph.inputs}
        given = {n: a for n, a in self.feeds.items() if n in wanted}
        session = Session(self.model, threads=self.threads, as_deployed=True)
        return lambda: session.run(given)

    def memory(self) -> Memory | str:
        return measure(self.model, self.feeds, self.threads, self.path)

    def per_node(self, times: WallTimes) -> tuple[tuple[TimeShare, ...], tuple[TimeShare, ...]]:
        """Trace about as many runs as fit in a second."""
        each = max(float(times.runs.min()), 1e-3)
        runs = int(max(_FEWEST_TRACED, min(_MOST_TRACED, _TRACE_MS / each)))
        return shares(trace(self.model, self.feeds, self.threads, runs), self.model)

    def bytes(self) -> int:
        if self.path is None:
            return serialized_bytes(self.model)
        return sum(file.stat().st_size for file in model_files(self.path))


def _samples(
    model: Model, data: Dataset | None, feeds: Feeds, inputs: Sequence[InputChoice]
) -> int:
    """Return the samples in the feed: the extent all inputs share on their batch axis, else 1."""
    if data is not None:
        return samples_in(data, feeds)
    used = {i.name for i in inputs}
    return max(samples_of({n: a for n, a in feeds.items() if n in used}, batch_axes(model)), 1)


def _extents(model: Model, inputs: Sequence[InputChoice], rows: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes to count with: those of the feed, but of one sample where that is free.

    Args:
        model: Says what is free.
        inputs: What is fed.
        rows: Rows that stay together; 0 leaves the feed whole.
    """
    declared, axes = {v.name: v.shape for v in model.graph.inputs}, batch_axes(model)
    found = {}
    for choice in inputs:
        if choice.name not in declared:
            continue
        extents, shape = list(choice.shape), declared[choice.name] or ()
        axis = axes.get(choice.name, 0)
        if axis is not None and axis < min(len(shape), len(extents)):
            free = bool(rows) and not isinstance(shape[axis], int)
            extents[axis] = min(rows, extents[axis]) if free else extents[axis]
        found[choice.name] = tuple(extents)
    return found

"""What the user names when two models are compared, opened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ocompress import profiling
from ocompress.errors import OptionError, UsageError
from ocompress.front import kinds
from ocompress.front.files import ModelLike, as_model, file_bytes
from ocompress.front.limits import read_drop
from ocompress.front.request import Data
from ocompress.io import Dataset, as_dataset
from ocompress.ir import Model
from ocompress.validation import Footprint, Gate, Metric, Wanted, is_own, wanted_by
from ocompress.validation.footprint import serialized_footprint

_SECONDS = 2.5
"""Time for each model that a gate limits the latency of."""


@dataclass(frozen=True)
class Case:
    """Two models, data to run them on, and limits.

    Attributes:
        reference: The original.
        candidate: What became of it.
        data: Evaluation data, None for structure only.
        metric: The user's own metric, or units of outputs that somebody asked for.
        gate: Limits to judge by.
        footprint: What the candidate takes, as far as the gate limits it.
    """

    reference: Model
    candidate: Model
    data: Dataset | None
    metric: Metric | Wanted | None
    max_drop: float | None
    gate: Gate | None
    footprint: Footprint | None


def open_case(
    reference: ModelLike,
    candidate: ModelLike,
    data: Data | None,
    *,
    labels: object,
    samples: int | None,
    preprocess: str | Path | None,
    metric: str | Metric | Callable[..., Any] | None,
    max_drop: float | str | None,
    gate: Gate | str | Path | None,
    threads: int,
) -> Case:
    """Load what a user names; measure here what the gate limits.

    Raises:
        UsageError: If the request or the data do not fit.
        ModelError: If a file is not a model.
        RuntimeFailureError: If the reference cannot be run.
    """
    if data is None and any(x is not None for x in (labels, metric, samples, preprocess, max_drop)):
        msg = (
            "labels, a metric, a limit on the drop, a number of samples and a preprocessing table "
            "need data; give some with --data"
        )
        raise OptionError(msg)
    kinds.whole("threads", threads)
    kinds.whole("samples", samples, optional=True)
    limits = gate
    if not isinstance(limits, Gate | None):
        limits = Gate.load(kinds.file("gate", limits))
    own = as_metric(metric)
    most = None if max_drop is None else read_drop(max_drop, own=isinstance(own, Metric))
    (before, before_path), (after, after_path) = as_model(reference), as_model(candidate)
    opened = None
    if data is not None:
        opened = as_dataset(data, before, labels=labels, samples=samples, preprocess=preprocess)
    taken = None
    if limits is not None:
        one = opened.take(1) if opened is not None else None
        files = ModelPair(before, after, before_path, after_path)
        taken = footprint(limits, files, one, threads=threads)
    return Case(before, after, opened, own, most, limits, taken)


def as_metric(metric: object) -> Metric | Wanted | None:
    """Return the user's own metric, or units of outputs by name; None if there is neither.

    Raises:
        UsageError: If it cannot be imported, or is no function and no name.
    """
    if metric is None or isinstance(metric, Metric):
        return metric
    if isinstance(metric, str):
        return Metric.load(metric) if is_own(metric) else wanted_by(metric)
    if not callable(metric):
        msg = f"metric must be module:function or a function, not {metric!r:.60}"
        raise UsageError(msg)
    return Metric(getattr(metric, "__qualname__", type(metric).__name__), metric)


@dataclass(frozen=True)
class ModelPair:
    """Two models and their files; None for one that is in memory only."""

    reference: Model
    candidate: Model
    reference_path: Path | None
    candidate_path: Path | None


def footprint(
    gate: Gate, pair: ModelPair, one: Dataset | None, *, threads: int, seconds: float = _SECONDS
) -> Footprint:
    """Measure what a gate limits, and nothing else.

    Args:
        gate: The limits.
        pair: The models.
        one: A single sample to run them on; random numbers if None.
        threads: Threads within an operator.
        seconds: Time for each model, if the gate limits latency.

    Raises:
        RuntimeFailureError: If a model that has to be timed cannot be run.
    """
    found = serialized_footprint(pair.reference, pair.candidate)
    if pair.candidate_path is not None:
        found = replace(found, bytes=file_bytes(pair.candidate_path))
        if pair.reference_path is not None:
            ratio = file_bytes(pair.candidate_path) / file_bytes(pair.reference_path)
            found = replace(found, size_ratio=ratio)
    if not gate.needs_latency and not gate.needs_memory:
        return found
    timed = profiling.profile(
        pair.candidate,
        against=pair.reference if gate.max_latency_ratio is not None else None,
        data=one,
        threads=threads,
        seconds=seconds if gate.needs_latency else 0.0,
        memory=gate.needs_memory,
        path=pair.candidate_path,
        against_path=pair.reference_path,
    )
    memory = timed.model.memory.peak if timed.model.memory is not None else None
    if gate.needs_latency:
        slower = timed.ratio.value if timed.ratio is not None else None
        found = replace(found, latency_ms=timed.model.latency.p50_ms, latency_ratio=slower)
    return replace(found, memory=memory)

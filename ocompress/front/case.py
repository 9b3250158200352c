"""What the user names when two models are compared, opened."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ocompress import profiling
from ocompress.errors import OptionError
from ocompress.front.files import as_model, file_bytes
from ocompress.front.request import Data
from ocompress.io import Dataset, as_dataset
from ocompress.ir import Model
from ocompress.validation import Gate, Metric


@dataclass(frozen=True)
class Case:
    """Two models, data to run them on, and limits.

    Attributes:
        reference: The original.
        candidate: What became of it.
        data: Evaluation data, None for structure only.
        metric: The user's own metric.
        gate: Limits to judge by.
        size_ratio: Bytes of the candidate's file over the reference's, None without files.
        latency_ratio: Measured if the gate limits it.
    """

    reference: Model
    candidate: Model
    data: Dataset | None
    metric: Metric | None
    gate: Gate | None
    size_ratio: float | None
    latency_ratio: float | None


def open_case(
    reference: Model | str | Path,
    candidate: Model | str | Path,
    data: Data | None,
    *,
    labels: object,
    samples: int | None,
    preprocess: str | Path | None,
    metric: str | Metric | None,
    gate: Gate | str | Path | None,
    threads: int,
) -> Case:
    """Load what a user names; measure latency here if the gate limits it.

    Raises:
        UsageError: If the request or the data do not fit.
        ModelError: If a file is not a model.
        RuntimeFailureError: If the reference cannot be run.
    """
    if data is None and any(x is not None for x in (labels, metric, samples, preprocess)):
        msg = (
            "labels, a metric, a number of samples and a preprocessing table need data; give some "
            "with --data"
        )
        raise OptionError(msg)
    limits = gate if isinstance(gate, Gate) or gate is None else Gate.load(Path(gate))
    own = Metric.load(metric) if isinstance(metric, str) else metric
    (before, before_path), (after, after_path) = as_model(reference), as_model(candidate)
    opened = None
    if data is not None:
        opened = as_dataset(data, before, labels=labels, samples=samples, preprocess=preprocess)
    latency = None
    if limits is not None and limits.needs_latency:
        one = opened.take(1) if opened is not None else None
        timed = profiling.profile(after, against=before, data=one, threads=threads, memory=False)
        latency = timed.ratio.value if timed.ratio is not None else None
    size = None
    if before_path is not None and after_path is not None:
        size = file_bytes(after_path) / file_bytes(before_path)
    return Case(before, after, opened, own, limits, size, latency)

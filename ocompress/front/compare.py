"""Validate and profile, for models in memory or in files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ocompress import profiling, validation
from ocompress.errors import OptionError
from ocompress.front.files import as_model, file_bytes
from ocompress.front.request import Data
from ocompress.io import as_dataset
from ocompress.ir import Model
from ocompress.profiling import ProfileResult
from ocompress.validation import Gate, Metric, ValidationResult


def validate(
    reference: Model | str | Path,
    candidate: Model | str | Path,
    data: Data | None = None,
    *,
    labels: object = None,
    samples: int | None = None,
    preprocess: str | Path | None = None,
    metric: str | Metric | None = None,
    gate: Gate | str | Path | None = None,
    threads: int = 1,
) -> ValidationResult:
    """Compare a candidate with the model it was made from.

    Args:
        reference: The original.
        candidate: What became of it.
        data: Evaluation data; None checks the structure only.
        labels: A file of labels, or an array with one label a sample.
        samples: Use only the first so many samples.
        preprocess: The table for a folder of images.
        metric: The user's own metric, `module:function`.
        gate: Limits to judge by; one on latency makes this measure it.
        threads: Threads within an operator; 0 takes all cores.

    Raises:
        UsageError: If the request or the data do not fit.
        ModelError: If a file is not a model.
        RuntimeFailureError: If the reference cannot be run.
    """
    if data is None and (labels is not None or metric is not None or samples is not None):
        msg = "labels, a metric and a number of samples need data; give some with --data"
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
    return validation.validate(
        before,
        after,
        opened,
        metric=own,
        gate=limits,
        size_ratio=size,
        latency_ratio=latency,
        threads=threads,
    )


def profile(
    model: Model | str | Path,
    *,
    against: Model | str | Path | None = None,
    data: Data | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    threads: int = 1,
    per_node: bool = False,
    seconds: float = 2.5,
    preprocess: str | Path | None = None,
) -> ProfileResult:
    """Measure latency, memory and size of a model, interleaved with a reference if one is given.

    Args:
        model: The model.
        against: A reference.
        data: Its first sample is what both are run on; random numbers otherwise.
        shapes: Shapes of inputs by name, for random numbers.
        threads: Threads within an operator; 0 takes all cores.
        per_node: Whether to measure operators and layers.
        seconds: Time to spend on each model.
        preprocess: The table for a folder of images.

    Raises:
        UsageError: If the inputs cannot be made up or do not fit.
        ModelError: If a file is not a model.
        RuntimeFailureError: If a model cannot be run.
    """
    this, path = as_model(model)
    other, other_path = as_model(against) if against is not None else (None, None)
    opened = as_dataset(data, this, preprocess=preprocess) if data is not None else None
    return profiling.profile(
        this,
        against=other,
        data=opened.take(1) if opened is not None else None,
        shapes=shapes,
        threads=threads,
        seconds=seconds,
        per_node=per_node,
        path=path,
        against_path=other_path,
    )

"""Validate and profile, for models in memory or in files."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ocompress import profiling, validation
from ocompress.errors import OptionError
from ocompress.front import kinds
from ocompress.front.case import Case, open_case
from ocompress.front.files import ModelLike, as_model
from ocompress.front.reference import blamed_on_the_model
from ocompress.front.request import Data
from ocompress.front.watching import Watched
from ocompress.io import Dataset, as_dataset, one_call, synthetic_data
from ocompress.io.dataset import notes_of
from ocompress.profiling import ProfileResult
from ocompress.targets.transport import Progress, silent
from ocompress.targets.transports import find_transport
from ocompress.validation import DeviceValidation, Gate, Metric, ValidationResult
from ocompress.validation.gating import loss_check


@blamed_on_the_model()
def validate(
    reference: ModelLike,
    candidate: ModelLike,
    data: Data | None = None,
    *,
    labels: object = None,
    samples: int | None = None,
    preprocess: str | Path | None = None,
    metric: str | Metric | Callable[..., Any] | None = None,
    max_drop: float | str | None = None,
    gate: Gate | str | Path | None = None,
    threads: int = 1,
    progress: Progress = silent,
) -> ValidationResult:
    """Compare a candidate with the model it was made from.

    Args:
        reference: The original.
        candidate: What became of it.
        data: Evaluation data; None checks the structure only.
        labels: A file of labels, or an array with one label a sample.
        samples: Use only the first so many samples.
        preprocess: The table for a folder of images.
        metric: A unit (`iou`), units of single outputs (`boxes=boxes`), or the user's own metric,
            `module:function` or the function.
        max_drop: Loss that is allowed, as for `optimize`; None allows one point (five of what
            counts every difference) where there is no gate.
        gate: Limits to judge by; one on latency makes this measure it.
        threads: Threads within an operator; 0 takes all cores.
        progress: Told after each feed, for each optimization level.

    Raises:
        UsageError: If the request or the data do not fit.
        ModelError: If a file is not a model, or the reference cannot be run.
    """
    kinds.function("progress", progress)
    case = open_case(
        reference,
        candidate,
        data,
        labels=labels,
        samples=samples,
        preprocess=preprocess,
        metric=metric,
        max_drop=max_drop,
        gate=gate,
        threads=threads,
    )
    found = validation.validate(
        case.reference,
        case.candidate,
        Watched(case.data, progress) if case.data is not None else None,
        metric=case.metric,
        gate=case.gate,
        footprint=case.footprint,
        threads=threads,
    )
    return _with_notes(_limited(found, case), case.data)


def validate_on(
    target: str,
    reference: ModelLike,
    candidate: ModelLike,
    data: Data | None,
    *,
    labels: object = None,
    samples: int | None = None,
    preprocess: str | Path | None = None,
    metric: str | Metric | Callable[..., Any] | None = None,
    max_drop: float | str | None = None,
    gate: Gate | str | Path | None = None,
    threads: int = 1,
    progress: Progress = silent,
) -> DeviceValidation:
    """Validate on a device, and compare the device with this machine.

    Args:
        target: The device: `qemu-aarch64`, `qemu-aarch64:cortex-a72`, `local`.
        reference: The original.
        candidate: What became of it.
        data: Evaluation data.
        labels: As for `validate`.
        samples: As for `validate`.
        preprocess: As for `validate`.
        metric: As for `validate`.
        max_drop: As for `validate`.
        gate: As for `validate`; one on latency is measured here.
        threads: Threads within an operator, on both machines.
        progress: Told after each run on the device.

    Raises:
        UsageError: If the request or the data do not fit, or the device is not set up.
        ModelError: If a file is not a model.
        RuntimeFailureError: If the device fails, or the reference cannot be run.
    """
    kinds.function("progress", progress)
    transport = find_transport(target)
    if data is None:
        msg = f"to validate on {target!r}, give data to run the models on with --data"
        raise OptionError(msg)
    case = open_case(
        reference,
        candidate,
        data,
        labels=labels,
        samples=samples,
        preprocess=preprocess,
        metric=metric,
        max_drop=max_drop,
        gate=gate,
        threads=threads,
    )
    assert case.data is not None  # there are data
    found = validation.validate_on(
        transport,
        case.reference,
        case.candidate,
        case.data,
        metric=case.metric,
        gate=case.gate,
        footprint=case.footprint,
        threads=threads,
        progress=progress,
    )
    checked = _limited(found.validation, case)
    return replace(found, validation=_with_notes(checked, case.data))


def _limited(found: ValidationResult, case: Case) -> ValidationResult:
    """Check what was lost; a gate decides alone where nobody names a limit beside it."""
    if case.gate is not None and case.max_drop is None:
        return found
    lost = loss_check(found.levels, case.max_drop)
    return found if lost is None else replace(found, related=(*found.related, lost))


def _with_notes(found: ValidationResult, data: Dataset | None) -> ValidationResult:
    """Say what there is to say about the data before all else."""
    notes = notes_of(data) if data is not None else []
    return replace(found, remarks=(*notes, *found.remarks))


@blamed_on_the_model()
def profile(
    model: ModelLike,
    *,
    against: ModelLike | None = None,
    data: Data | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    threads: int = 1,
    batch: int = 1,
    per_node: bool = False,
    seconds: float = 2.5,
    preprocess: str | Path | None = None,
) -> ProfileResult:
    """Measure latency, memory and size of a model, interleaved with a reference if one is given.

    Args:
        model: The model.
        against: A reference.
        data: Its first samples are what both are run on; random numbers otherwise.
        shapes: Shapes of inputs by name, for random numbers.
        threads: Threads within an operator; 0 takes all cores.
        batch: Samples in a call, if the models leave their batch free.
        per_node: Whether to measure operators and layers.
        seconds: Time to spend on each model.
        preprocess: The table for a folder of images.

    Raises:
        UsageError: If the inputs cannot be made up or do not fit.
        ModelError: If a file is not a model, or cannot be run.
    """
    if data is None and preprocess is not None:
        msg = "a preprocessing table needs a folder of images; give it with --data"
        raise OptionError(msg)
    kinds.whole("threads", threads)
    if kinds.whole("batch", batch) < 1:
        msg = f"batch {batch} must be at least 1"
        raise OptionError(msg)
    kinds.truth("per_node", per_node)
    shapes = _shapes(shapes)
    if shapes and batch > 1:
        msg = "a batch and shapes are mutually exclusive; a shape includes the batch"
        raise OptionError(msg)
    if not 0 < kinds.number("seconds", seconds) < math.inf:
        msg = f"seconds {seconds} must be above 0; give some such as 1 or 0.5"
        raise OptionError(msg)
    this, path = as_model(model)
    other, other_path = as_model(against) if against is not None else (None, None)
    opened = as_dataset(data, this, preprocess=preprocess) if data is not None else None
    fed = opened.take(1) if opened is not None else None
    if batch > 1:
        source = opened if opened is not None else synthetic_data(this, batch)
        fed = one_call(this, source, batch, threads=threads)
        if other is not None:
            one_call(other, source, batch, threads=threads)
        if opened is None:  # random numbers are no data; their shapes are as asked for
            shapes, fed = {name: array.shape for name, array in fed.feed.items()}, None
    return profiling.profile(
        this,
        against=other,
        data=fed,
        shapes=shapes,
        threads=threads,
        seconds=seconds,
        per_node=per_node,
        path=path,
        against_path=other_path,
    )


def _shapes(given: Mapping[str, Sequence[int]] | None) -> Mapping[str, Sequence[int]] | None:
    """Check the types of shapes that a caller gives.

    Raises:
        UsageError: If they are no lists of whole numbers by name.
    """
    if given is None:
        return None
    kinds.instance("shapes", given, "a dict from names of inputs to shapes", Mapping)
    for name, shape in given.items():
        kinds.instance(f"the shape of {name!r}", shape, "a list of whole numbers", list, tuple)
        for extent in shape:
            kinds.whole(f"each extent of {name!r}", extent)
    return given

"""What plans measure of models beside their drop and their time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ocompress.coding.engine import can_compile
from ocompress.errors import OcompressError
from ocompress.io import Feeds, pack_model, save_model
from ocompress.io.archives import SUFFIX as ARCHIVE_SUFFIX
from ocompress.ir import Model
from ocompress.ir.serialized_size import serialized_bytes
from ocompress.profiling import memory
from ocompress.profiling.run_time import run_ns
from ocompress.stopping import temporary_folder
from ocompress.targets import Target

_QUICK = 1 << 18
"""Bytes of weights up to which an archive is made even where no kernel can be compiled."""
_MOST_VALUES = 1 << 16
"""Different values of a tensor from which on it is not coded."""
_PLAIN = 0.93
"""Part of its bytes that a tensor of floats takes in an archive."""


def archive_bytes(model: Model) -> int:
    """Return the bytes of a model's archive; an estimate where coding would take long."""
    if model.weight_bytes > _QUICK and not can_compile():
        return _estimated(model)
    with temporary_folder() as folder:
        file, archive = folder / "model.onnx", folder / f"model{ARCHIVE_SUFFIX}"
        save_model(model, file)
        pack_model(file, archive)
        return archive.stat().st_size


def memory_meter(feeds: Feeds, threads: int) -> Callable[[Model], int | None]:
    """Return what measures the bytes of memory that loading and running a model takes at most."""

    def measured(model: Model) -> int | None:
        found = memory.measure(model, feeds, threads, None)
        return None if isinstance(found, str) else found.peak

    return measured


def predicted_ratio(
    original: Model, target: Target, sample: Feeds | None
) -> Callable[[Model], float | None]:
    """Return what predicts the time of a run over the original's, from the target's table."""
    whole = _run_ns(original, target, sample)

    def predicted(model: Model) -> float | None:
        found = _run_ns(model, target, sample)
        return found / whole if found and whole else None

    return predicted


def _run_ns(model: Model, target: Target, sample: Feeds | None) -> float | None:
    try:
        return run_ns(model, target, sample)
    except OcompressError:  # shapes that do not follow from the inputs
        return None


def _estimated(model: Model) -> int:
    """Add up the entropy of every tensor's values."""
    arrays = list(model.weights())
    rest = serialized_bytes(model) - sum(array.nbytes for array in arrays)
    total = max(rest, 0) / 3
    for array in arrays:
        values, counts = np.unique(array, return_counts=True)
        if len(values) > min(_MOST_VALUES, array.size / 2):
            total += _PLAIN * array.nbytes
            continue
        shares = counts / array.size
        bits = -float(np.sum(shares * np.log2(shares))) * array.size
        total += bits / 8 + values.nbytes
    return round(total)

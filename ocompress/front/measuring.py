"""What plans measure of models beside their drop and their time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ocompress.auto import Meters, PlanBounds, PlanGoal
from ocompress.coding.engine import can_compile
from ocompress.errors import OcompressError
from ocompress.front.bench import Bench
from ocompress.front.budget import Budget
from ocompress.front.plans import Planning
from ocompress.io import Feeds, pack_model, save_model
from ocompress.io.archives import SUFFIX as ARCHIVE_SUFFIX
from ocompress.ir import Model
from ocompress.ir.serialized_size import serialized_bytes
from ocompress.profiling import NOISE, SECOND_LOOK, LatencyGuard, memory
from ocompress.profiling.run_time import run_ns
from ocompress.stopping import temporary_folder
from ocompress.targets import Target
from ocompress.validation import AccuracyGuard

_LOOK_SECONDS = 0.3
"""Time for each model in a trial's look at the clock."""
_WIDE = 1.1
"""Ends of an interval of ratios that are farther apart tell little."""
_ANY = 1e9
"""A ratio that nothing exceeds."""
_QUICK = 1 << 18
"""Bytes of weights up to which an archive is made even where no kernel can be compiled."""
_MOST_VALUES = 1 << 16
"""Different values of a tensor from which on it is not coded."""
_PLAIN = 0.93
"""Part of its bytes that a tensor of floats takes in an archive."""


def meters(bench: Bench, guard: AccuracyGuard, planning: Planning) -> Meters:
    """Return what measures the trials of a plan, but for their time where that is measured.

    Args:
        bench: The original and the call that is timed.
        guard: Judges what they lost.
        planning: What the plan is for.
    """
    predicted = predicted_ratio(bench.original, bench.request.device, bench.sample)
    weighs = planning.goal is PlanGoal.MEMORY or planning.max_memory is not None
    feeds = bench.sample if weighs else None
    return Meters(
        drop=guard,
        predicted=None if bench.timed is not None else predicted,
        archive=archive_bytes if planning.goal is PlanGoal.ARCHIVE else None,
        memory=None if feeds is None else memory_meter(feeds, bench.request.threads),
    )


def measured_figures(found: Meters) -> list[str]:
    """Return the names of the figures of trials that are measured beside drop and size."""
    optional = {"archive": found.archive, "memory": found.memory}
    return ["latency", *(name for name, meter in optional.items() if meter is not None)]


def clock(bench: Bench, limit: float | None = None) -> Callable[[Model], float | None] | None:
    """Return what measures the time of a model over the original's; None if nothing is timed.

    Args:
        bench: The original and the call that is timed.
        limit: What is above it as it seems, but may be below, is looked at again, for longer; and
            so is what other work on the machine hardly lets tell.
    """
    feeds = bench.timed
    if feeds is None:
        return None

    def look(times: float) -> LatencyGuard:
        return LatencyGuard(
            bench.original,
            feeds,
            _ANY,
            threads=bench.request.threads,
            seconds=times * _LOOK_SECONDS,
            seed=bench.request.seed + int(times),
        )

    first, second = look(1), look(SECOND_LOOK)

    def ratio(model: Model) -> float | None:
        figures = first.judge(model, bench.original).figures
        value, low = figures.get("ratio_to_original"), figures.get("low_to_original", 0.0)
        if value is None:
            return None
        may_hold = limit is not None and low <= limit < value
        if may_hold or figures.get("high_to_original", value) > _WIDE * low:
            return second.judge(model, bench.original).figures.get("ratio_to_original")
        return value

    return ratio


def bounds(bench: Bench, budget: Budget, planning: Planning) -> PlanBounds:
    """Return the limits on trials beside that on the drop."""
    size, timed = budget.size_limit(serialized_bytes(bench.original)), bench.timed
    latency = None
    if timed is not None:
        latency = budget.latency_ratio(bench.original, timed, bench.request.threads)
    return PlanBounds(
        latency=None if latency is None else latency * (1 + NOISE),
        size=size if size < _ANY else None,
        memory=planning.max_memory,
    )


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

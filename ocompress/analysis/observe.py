"""Sweeping over data: runs the model batch by batch and feeds accumulators."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from ocompress.analysis.expose import Probe, expose
from ocompress.analysis.staged import Staged, extents_in
from ocompress.analysis.statistics import Accumulator, Observer, Observers
from ocompress.io.dataset import Dataset, Feeds, cut_at
from ocompress.ir import Model, Value
from ocompress.runtime import host_cores

MOST_BYTES = 256 << 20
"""Bytes of activations that are held at once; wider models are swept in groups of values."""


def observe(
    model: Model, data: Dataset, observers: Observers, progress: Callable[[int, int], None]
) -> dict[tuple[str, Observer], Any]:
    """Run `model` over `data` once and return the finished summaries.

    Values inside bodies of control flow are threaded out where that is possible. A value that
    cannot be seen, or is not of a float type, has no summary. Memory does not grow with the
    number of samples. Each accumulator sees its batches in order from one thread at a time, so
    the result does not depend on timing.

    Args:
        model: Not changed.
        data: Feeds.
        observers: Which summaries of which values (of the main graph or of bodies).
        progress: Called with the number of feeds done and their total.

    Raises:
        DataError: If the feeds do not fit the model's inputs.
        RuntimeFailureError: If ONNX Runtime cannot run the model.
    """
    copy = model.clone()
    probes = expose(copy, sorted(n for n, wanted in observers.items() if wanted))
    copy.sort()
    makers = {p.name: sorted(observers[p.name], key=repr) for p in probes}
    running = {p.name: [w.start() for w in makers[p.name]] for p in probes}
    pieces, groups = plan_sweeps(copy, data, probes)
    total = len(groups) * len(data)
    done = 0
    with ThreadPoolExecutor(host_cores()) as pool:
        for group in groups:
            session = _session(copy, group)
            for feeds in data:
                for piece in pieces_of(feeds, pieces, cut_at(data)):
                    _sweep(session, piece, group, running, pool)
                done += 1
                progress(done, total)
    results: dict[tuple[str, Observer], Any] = {}
    for name, wanted in makers.items():
        for observer, accumulator in zip(wanted, running[name], strict=True):
            summary = accumulator.result()
            if summary is not None:
                results[name, observer] = summary
    return results


def _session(model: Model, probes: Sequence[Probe]) -> Staged | None:
    values = [p.value for p in probes if p.value is not None]
    if not values:
        return None
    extra = [v for v in values if not v.is_output]
    # Spinning workers would take the cores from the accumulators between two runs.
    return Staged(model, extra_outputs=extra)


def _sweep(
    session: Staged | None,
    feeds: Feeds,
    probes: Sequence[Probe],
    running: Mapping[str, list[Accumulator]],
    pool: ThreadPoolExecutor,
) -> None:
    names = [p.value.name for p in probes if p.value is not None]
    made = session.run(feeds, names) if session is not None else {}

    def update(probe: Probe) -> None:
        batch = feeds.get(probe.name) if probe.value is None else made[probe.value.name]
        if batch is None or not isinstance(batch, np.ndarray) or not _is_float(batch):
            return
        for accumulator in running[probe.name]:
            accumulator.update(batch)

    for _ in pool.map(update, probes):
        pass


def _is_float(batch: np.ndarray) -> bool:
    return batch.dtype.kind == "f" or batch.dtype.name == "bfloat16"


def plan_sweeps(
    model: Model, data: Dataset, probes: list[Probe], *, share: int = 1
) -> tuple[int, list[list[Probe]]]:
    """Say how to stay below `MOST_BYTES`: pieces that a feed is cut into, groups of probes.

    Cutting costs nothing, but needs inputs whose first extent is free; otherwise the data are
    swept once for every group.

    Args:
        model: What is run.
        data: Its first feed says how large values of free shapes are.
        probes: What shall be seen.
        share: How many models of this kind are swept side by side.
    """
    most = MOST_BYTES // share
    if not probes:
        return 1, []
    sizes = _sizes(model, data, [p.value for p in probes if p.value is not None])
    total = sum(sizes.values())
    if total > most and has_free_batch(model) and cut_at(data):
        return -(-total // most), [probes]
    groups: list[list[Probe]] = [[]]
    held = 0
    for probe in probes:
        size = 0 if probe.value is None else sizes.get(probe.value.name, 0)
        if groups[-1] and held + size > most:
            groups.append([])
            held = 0
        groups[-1].append(probe)
        held += size
    return 1, groups


def has_free_batch(model: Model) -> bool:
    """Whether all inputs leave their first extent open, so that feeds may be cut along it."""
    inputs = [v for v in model.graph.inputs if v.data is None]
    extents = {v.shape[0] if v.shape else 0 for v in inputs}
    return len(extents) == 1 and not isinstance(extents.pop(), int)


def pieces_of(feeds: Feeds, count: int, unit: int = 1) -> Iterator[Feeds]:
    """Cut a feed along the first axis into about `count` pieces.

    Args:
        feeds: One feed.
        count: Into how many pieces.
        unit: Rows that stay together, see `cut_at`; 0 leaves the feed whole.
    """
    extents = {len(a) if a.ndim else 0 for a in feeds.values()}
    extent = extents.pop() if len(extents) == 1 else 0
    if count == 1 or extent < 2 or not unit:
        yield feeds
        return
    step = max(1, extent // count // unit) * unit
    for start in range(0, extent, step):
        yield {name: array[start : start + step] for name, array in feeds.items()}


def _sizes(model: Model, data: Dataset, values: list[Value]) -> dict[str, int]:
    """Measure the bytes of each value on the first feed, without holding the values.

    Where feeds may be cut, a few of its rows tell: this is a run of the model, after all.
    """
    known = {v.name: static_bytes(v) for v in values}
    first = next(iter(data), None)
    if first is None or None not in known.values():
        return {n: size or 0 for n, size in known.items()}
    rows = max((len(a) for a in first.values() if a.ndim), default=1)
    few = next(pieces_of(first, rows if has_free_batch(model) else 1, cut_at(data)))
    parts = rows / max((len(a) for a in few.values() if a.ndim), default=1)
    width = {v.name: v.dtype.numpy.itemsize if v.dtype is not None else 4 for v in values}
    shapes = extents_in(model, width, few)
    return {n: int(np.prod(shape) * parts) * width[n] for n, shape in shapes.items()}


def static_bytes(value: Value) -> int | None:
    """Return the bytes of a value all of whose extents are known, None of others."""
    if value.shape is None or value.dtype is None:
        return None
    size = value.dtype.numpy.itemsize
    for extent in value.shape:
        if not isinstance(extent, int):
            return None
        size *= extent
    return size

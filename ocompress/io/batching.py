"""What batch a model really takes, found by running it on a few rows of the data.

A model may leave its batch free and still hold a Reshape that fits a single extent, average four
rows into one result, or let the samples of a batch change each other's results. Its declaration
tells none of that, and whoever cuts data into feeds has to know.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TypeVar, cast

import numpy as np

from ocompress.errors import DataError, RuntimeFailureError
from ocompress.io.apart import are_apart, samples_made
from ocompress.io.batches import ArrayDataset
from ocompress.io.dataset import Dataset, Feeds, axes_of
from ocompress.io.feeds import ChainDataset, FeedDataset, samples_of
from ocompress.io.inputs import turned_specs
from ocompress.io.plan import MOST_SAMPLES, BatchUnit
from ocompress.ir import Model
from ocompress.runtime import Level, Session
from ocompress.wording import counted

_LARGE = 1 << 30
"""Bytes of weights above which nothing is tried."""
_MOST_BYTES = 64 << 20
"""Bytes of inputs that are run at most while looking for a batch."""
_MOST_ROWS = 4096
D = TypeVar("D", bound=Dataset)


def batched(data: D, model: Model) -> D:
    """Return the same data cut as the model takes them.

    A few rows are run alone and together. Where the first axis does not count samples, another one
    that is open may: then data are cut along it. Where one row does not run, the least number that
    does is a unit; where two units do not run together, or change each other's results, every feed
    is a single one. Data that give whole feeds are only told whether those may be cut.

    Args:
        data: What was opened for the model.
        model: What it will be fed to; not changed.

    Returns:
        The data as they are where the model fixes the batch, is too large to be run in passing, or
        runs on no number of rows.
    """
    if model.weight_bytes > _LARGE or not _may_vary(data):
        return data
    try:
        trial = _Trial(model)
    except RuntimeFailureError:
        return data  # whoever needs to run it will say so
    found: Dataset = data
    if isinstance(data, ChainDataset):
        found = _chained(data, trial)
    elif isinstance(data, ArrayDataset) and not data.plan.dropped:
        found = _in_rows(data, trial)
    elif isinstance(data, ArrayDataset | FeedDataset):
        found = _in_feeds(data, trial)
    return cast("D", found)


def first_that_runs(model: Model, feeds: Iterable[D]) -> D | None:
    """Return the first of some datasets whose feeds a model runs on, None if there is none."""
    if model.weight_bytes > _LARGE:
        return None
    try:
        trial = _Trial(model)
    except RuntimeFailureError:
        return None
    return next((data for data in feeds if trial.run(next(iter(data), {})) is not None), None)


def makes_one_result(data: ArrayDataset, model: Model) -> bool:
    """Return whether all rows together make as much as one of them, as points of a cloud do.

    Args:
        data: Rows that may be samples.
        model: What they are for.
    """
    few = not data.plan.whole and 1 < data.plan.count <= _MOST_ROWS
    if not few or model.weight_bytes > _LARGE:
        return False
    try:
        return _make_one(data, _Trial(model))
    except RuntimeFailureError:
        return False


class _Trial:
    """A model that is run on what may not fit."""

    def __init__(self, model: Model) -> None:
        self._session = Session(model, threads=0, level=Level.DISABLED)
        self.batches = {v.name: v.shape[0] if v.shape else None for v in model.graph.inputs}
        small = [w for w in model.weights() if w.dtype == np.int64 and w.size <= MOST_SAMPLES]
        self.extents = sorted({int(e) for w in small for e in w.flat if e > MOST_SAMPLES})
        """Numbers in the model that may be a batch."""

    def run(self, feeds: Feeds) -> dict[str, np.ndarray] | None:
        """Return the tensors among the outputs, None if it does not run."""
        try:
            made = self._session.run(feeds)
        except (DataError, RuntimeFailureError):
            return None
        return {n: a for n, a in made.items() if isinstance(a, np.ndarray)}

    def apart(self, feed: Feeds, axes: Mapping[str, int]) -> bool:
        """Whether two samples of a feed, each on its axis, give together what they give alone."""
        if any(a.ndim and a.shape[axes.get(n, 0)] < 2 for n, a in feed.items()):
            return False
        made = []
        for at in (slice(1), slice(1, 2), slice(2)):
            cut = {n: (*(slice(None),) * axes.get(n, 0), at) for n in feed}
            out = self.run({n: a[cut[n]] if a.ndim else a for n, a in feed.items()})
            if out is None:
                return False
            made.append(out)
        return are_apart(made[2], made[:2], 1, surely=any(axes.values()))

    def free(self, feed: Feeds) -> bool:
        """Whether the model leaves the first extent of what a feed holds open."""
        return all(not isinstance(self.batches.get(n), int) for n in feed)


def _may_vary(data: Dataset) -> bool:
    if isinstance(data, ChainDataset):
        return any(_may_vary(part) for part in data.parts)
    if isinstance(data, ArrayDataset) and not data.plan.whole:
        free = not data.plan.unit.alone
        return (free and data.plan.count > 1) or _is_one_feed(data)
    return True


def _is_one_feed(data: ArrayDataset) -> bool:
    """Whether a first extent that the model fixes makes one feed of all there is.

    It may count steps, beside a batch that is left open.
    """
    return data.plan.unit.alone and data.plan.count == data.plan.unit.rows > 1


# -- rows -----------------------------------------------------------------------------------


def _in_rows(data: ArrayDataset, trial: _Trial) -> ArrayDataset:
    if data.plan.whole or _is_one_feed(data):
        return _turned(data, trial) or data
    unit, mixes = _find_unit(data, trial)
    if unit is None or unit == BatchUnit():
        return data
    turned = _turned(data, trial)
    if turned is not None:
        return turned
    note = _note(unit, data.plan.count, mixes=mixes)
    return replace(data, unit=unit, said=(*data.said, note))


def _turned(data: ArrayDataset, trial: _Trial) -> ArrayDataset | None:
    """Return the data cut along another axis than the first, if that keeps samples apart."""
    for specs in turned_specs(data.specs):
        try:
            other = replace(data, specs=specs)
        except DataError:
            continue
        rows = not other.plan.whole and not other.plan.unit.alone and other.plan.count > 1
        if rows and _find_unit(other, trial, surely=True)[0] == BatchUnit():
            return other
    return None


def _find_unit(
    data: ArrayDataset, trial: _Trial, *, surely: bool = False
) -> tuple[BatchUnit | None, bool]:
    """Return the smallest feed that runs, and whether two of them change each other's results.

    There is no such feed, None, where nothing runs.
    """
    for rows in _candidates(data, trial):
        feeds = iter(replace(data, unit=BatchUnit(rows, True, rows), limit=None))
        first = trial.run(next(feeds))
        if first is None:
            continue
        samples = samples_made(first, rows)
        if data.plan.count < 2 * rows:
            return BatchUnit(rows, rows > 1, samples), False
        parts = [first, trial.run(next(feeds)) or {}]
        together = next(iter(replace(data, unit=BatchUnit(2 * rows, True, rows), limit=None)))
        both = trial.run(together)
        mixes = both is not None and not are_apart(both, parts, rows, surely=surely)
        return BatchUnit(rows, both is None or mixes, samples), mixes
    return None, False


def _candidates(data: ArrayDataset, trial: _Trial) -> Iterator[int]:
    count = data.plan.count
    each = sum(
        int(np.prod(data.arrays[n].shape, dtype=np.int64)) * data.arrays[n].dtype.itemsize
        for n in data.plan.cut
    )
    most = _MOST_BYTES * count / max(each, 1)
    tried = [1] if data.plan.loose else range(1, min(count, MOST_SAMPLES) + 1)
    later = [] if data.plan.loose else [e for e in trial.extents if e < count]
    total = 0
    for rows in dict.fromkeys([*tried, *later, count]):
        total += rows
        if rows == 1 or (total <= most and rows <= _MOST_ROWS):
            yield rows


def _note(unit: BatchUnit, count: int, *, mixes: bool) -> str:
    if mixes:
        what = "single samples" if unit.rows == 1 else f"{unit.rows} rows at a time"
        return (
            "samples that the model gets together change each other's results, or nothing tells "
            f"whose results are whose, so it is fed {what}"
        )
    if unit.rows == 1:
        return "the model leaves its batch free, but takes single samples only"
    if unit.rows == count:
        return f"the model takes all {count} rows as one feed only"
    what = "batches of exactly" if unit.alone else "multiples of"
    made = "" if unit.samples == unit.rows else f", which make {counted(unit.samples, 'sample')}"
    return f"the model leaves its batch free, but takes {what} {unit.rows} rows{made}"


# -- whole feeds ----------------------------------------------------------------------------


def _in_feeds(data: ArrayDataset | FeedDataset, trial: _Trial) -> Dataset:
    feed = next(iter(data), None)
    rows = samples_of(feed) if feed is not None else 1
    if feed is None or axes_of(data):
        return data
    if rows > 1 and trial.free(feed) and trial.apart(feed, {}):
        return data
    for specs in turned_specs(data.specs):
        if trial.apart(feed, {s.name: s.axis or 0 for s in specs}):
            return replace(data, specs=specs)
    if rows < 2 or not trial.free(feed):
        return data
    whole = trial.run(feed)
    if whole is None:
        return data
    single = samples_made(whole, rows) != rows
    if isinstance(data, FeedDataset):
        return replace(data, divisible=False, single=single)
    unit = replace(data.plan.unit, samples=1) if single else data.plan.unit
    return replace(data, divisible=False, unit=unit)


def _chained(data: ChainDataset, trial: _Trial) -> Dataset:
    """Cut all parts as the first one of several rows, which they are like."""
    parts = [p for p in data.parts if isinstance(p, ArrayDataset)]
    rows = [p for p in parts if not p.plan.whole]
    if len(parts) != len(data.parts) or not rows:
        return data
    model = next((p for p in rows if p.plan.count > 1), rows[0])
    unit: BatchUnit | None = BatchUnit(model.plan.count, True, 1)
    mixes = False
    if not _make_one(model, trial):
        unit, mixes = _find_unit(model, trial)
    if unit is None or unit == BatchUnit():
        return data
    turned = _turned(model, trial)
    if turned is not None:
        return replace(data, parts=[replace(p, specs=turned.specs) for p in parts])
    note = _note(unit, 0, mixes=mixes)
    if unit.rows == model.plan.count and unit.rows > 1:
        note = "the model takes each file as one feed only"
        units = {id(p): _as_one(p, unit) for p in rows}
    else:
        units = {id(p): unit for p in rows}
    cut = [replace(p, unit=units[id(p)]) if id(p) in units else p for p in parts]
    return replace(data, parts=cut, notes=(*data.notes, note))


def _make_one(data: ArrayDataset, trial: _Trial) -> bool:
    made = []
    for rows in (1, data.plan.count):
        feeds = iter(replace(data, unit=BatchUnit(rows, True, rows), limit=None))
        made.append(trial.run(next(feeds)))
    one, whole = made
    if not one or whole is None or data.plan.count < 2:
        return False
    return {n: a.shape for n, a in one.items()} == {n: a.shape for n, a in whole.items()}


def _as_one(part: ArrayDataset, unit: BatchUnit) -> BatchUnit:
    count = part.plan.count
    return BatchUnit(count, True, count if unit.samples == unit.rows else unit.samples)

"""Datasets made of arrays: cut into batches, or holding a whole feed per leading index."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ocompress.errors import DataError
from ocompress.io.arrays import ArraySource, TurnedArray, picked
from ocompress.io.batch_axes import Axis
from ocompress.io.inputs import InputSpec, check_dtype, check_names, convert, told
from ocompress.io.nonfinite import refuse_lost
from ocompress.io.plan import MOST_SAMPLES, BatchPlan, BatchUnit
from ocompress.io.planning import make_plan
from ocompress.wording import counted


@dataclass(frozen=True)
class ArrayDataset:
    """Arrays as feeds; only one batch at a time is in memory.

    An array of its input's own rank is cut along the axis that counts samples: into the batch the
    model fixes, or into at most `most` samples and 16 MiB. An array with one axis more holds one
    whole feed per leading index, and then so does every other that counts as many. An array of
    exactly the input's fixed shape goes into every feed, and arrays without a common batch, as
    nodes and edges of a graph, are one feed.

    Attributes:
        source: Where the data came from.
        specs: Inputs of the model.
        arrays: Arrays by name.
        given_labels: One label a sample.
        limit: Samples that are used at most.
        said: What to tell the user about the data, before what the arrays tell.
        most: Samples in a feed at most.
        unit: The smallest feed that the model takes, if that was tried.
        divisible: Whether whole feeds may be cut along their first axis.
        planned: How arrays become feeds, where that was decided for data these are a part of.
        numbers: Number of each sample in the data these are a part of; None counts from 0.
    """

    source: str
    specs: tuple[InputSpec, ...]
    arrays: Mapping[str, ArraySource]
    given_labels: np.ndarray | None = None
    limit: int | None = None
    said: tuple[str, ...] = ()
    most: int = MOST_SAMPLES
    unit: BatchUnit | None = None
    divisible: bool = True
    planned: BatchPlan | None = None
    numbers: np.ndarray | None = None
    plan: BatchPlan = field(init=False)
    notes: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        """Check names, shapes and types against the model, from the headers alone."""
        names = set(check_names(self.source, self.arrays, self.specs))
        used = {s.name: (s, self.arrays[s.name]) for s in self.specs if s.name in names}
        for spec, array in used.values():
            check_dtype(self.source, spec, array.dtype)
        plan = self.planned or make_plan(self.source, used, self.most, self.unit)
        object.__setattr__(self, "plan", plan)
        total = plan.samples(plan.count)
        if self.given_labels is not None and len(self.given_labels) != total:
            made = "" if plan.unit.rows == plan.unit.samples else f" of {plan.unit.rows} rows each"
            msg = (
                f"data {self.source!r} have {counted(total, 'sample')}{made} but "
                f"{counted(len(self.given_labels), 'label')}; give one label a sample"
            )
            raise DataError(msg)
        notes = list(self.said)
        extra = sorted(set(self.arrays) - names)
        if extra:
            notes.append(f"not an input of the model, ignored: {', '.join(extra)}")
        if self.rows < plan.count and self.limit is None:
            notes.append(
                f"left out: the last {counted(plan.count - self.rows, 'sample')}; the model wants "
                f"batches of {plan.unit.rows}"
            )
        if self.planned is None:
            notes += told(self._given, {s.name: self.arrays[s.name].shape for s in self._given})
        object.__setattr__(self, "notes", tuple(notes))

    @property
    def _given(self) -> list[InputSpec]:
        return [s for s in self.specs if s.name in self.arrays]

    @property
    def rows(self) -> int:
        """Leading indices that are used."""
        unit = self.plan.unit
        units = self.plan.count // unit.rows
        if self.limit is not None:
            units = min(units, max(self.limit // unit.samples, 1))
        return units * unit.rows

    @property
    def samples(self) -> int:
        """Number of samples over all feeds."""
        return self.plan.samples(self.rows)

    @property
    def labels(self) -> np.ndarray | None:
        """Labels of the samples that are used."""
        return None if self.given_labels is None else self.given_labels[: self.samples]

    @property
    def cut_at(self) -> int:
        """Rows of a feed that stay together when it is cut; 0 if it stays whole."""
        first = all(s.axis == 0 or isinstance((s.shape or (0,))[0], int) for s in self._given)
        if self.plan.whole:
            return int(self.divisible and first and bool(self.plan.dropped))
        return self.plan.unit.rows if first and not self.plan.unit.alone else 0

    @property
    def axes(self) -> dict[str, Axis]:
        """The axis that counts samples of the inputs where that is not the first."""
        return {s.name: s.axis for s in self._given if s.axis != 0}

    def samples_in(self, feed: Mapping[str, np.ndarray]) -> int:
        """Return how many samples one of the feeds holds."""
        plan = self.plan
        if plan.whole:
            return plan.unit.samples
        name = plan.cut[0]
        return plan.samples(feed[name].shape[plan.axes.get(name, 0)])

    def __len__(self) -> int:
        """Count the feeds."""
        return (self.rows + self.plan.group - 1) // self.plan.group

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        """Iterate over the feeds, reading each file once."""
        plan = self.plan
        specs = {s.name: s for s in self.specs}
        fixed = {
            n: convert(self.source, specs[n], self.arrays[n].whole(), [0]) for n in plan.constant
        }
        readers = {n: self._read(n) for n in plan.cut}
        for start in range(0, self.rows, plan.group):
            feed = dict(fixed)
            numbers = self._numbers(start)
            for name, reader in readers.items():
                batch = next(reader)
                # an element of texts alone is a str
                batch = np.asarray(batch[0], batch.dtype) if name in plan.dropped else batch
                batch = np.moveaxis(batch, 0, plan.axes[name]) if name in plan.axes else batch
                feed[name] = convert(self.source, specs[name], batch, numbers)
            refuse_lost(self.source, self.specs, feed, numbers)
            yield {s.name: feed[s.name] for s in self.specs if s.name in feed}

    def take(self, samples: int) -> ArrayDataset:
        """Return the first `samples` samples, or fewer where the model fixes the batch."""
        limit = samples if self.limit is None else min(samples, self.limit)
        return replace(self, limit=limit)

    def pick(self, keep: np.ndarray) -> ArrayDataset:
        """Return some of the smallest feeds, in the order of the data.

        Args:
            keep: Which, bool [rows used / rows of a unit].
        """
        plan = self.plan
        rows = np.repeat(keep, plan.unit.rows)
        arrays = dict(self.arrays)
        for name in plan.cut:
            leading = np.repeat(rows, plan.steps.get(name, 1))
            arrays[name] = picked(self.arrays[name], leading, plan.axes.get(name, 0))
        samples = np.flatnonzero(np.repeat(keep, plan.unit.samples))
        count = int(rows.sum())
        return replace(
            self,
            arrays=arrays,
            given_labels=None if self.given_labels is None else self.given_labels[samples],
            limit=None,
            planned=replace(plan, count=count, group=min(plan.group, count)),
            numbers=samples if self.numbers is None else self.numbers[samples],
        )

    def _numbers(self, start: int) -> Sequence[int]:
        first, last = (self.plan.samples(r) for r in (start, start + self.plan.group))
        if self.numbers is None:
            return range(first, max(last, first + 1))
        return [int(n) for n in self.numbers[first : max(last, first + 1)]]

    def _read(self, name: str) -> Iterator[np.ndarray]:
        plan = self.plan
        source, step = self.arrays[name], plan.steps.get(name, 1)
        if name in plan.axes:
            source = TurnedArray(source, plan.axes[name])
        return source.rows(plan.group * step, self.rows * step)

"""Datasets made of arrays: cut into batches, or holding a whole feed per leading index."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from ocompress.errors import DataError
from ocompress.io.arrays import ArraySource
from ocompress.io.inputs import InputSpec, check_dtype, check_names, convert
from ocompress.io.nonfinite import refuse_lost

MOST_SAMPLES = 32
"""Samples in a batch when the model leaves the batch free."""
MOST_BYTES = 16 << 20
"""Bytes of inputs in such a batch."""


@dataclass(frozen=True)
class ArrayDataset:
    """Arrays as feeds; only one batch at a time is in memory.

    An array of its input's own rank is cut along axis 0: into the batch the model fixes, or
    into at most `most` samples and 16 MiB. An array with one axis more holds one whole feed per
    leading index. Where that would leave no choice, an array of exactly the input's fixed shape
    goes into every feed.
    """

    source: str
    specs: tuple[InputSpec, ...]
    arrays: Mapping[str, ArraySource]
    given_labels: np.ndarray | None = None
    limit: int | None = None
    notes: tuple[str, ...] = ()
    most: int = MOST_SAMPLES
    plan: Plan = field(init=False)

    def __post_init__(self) -> None:
        """Check names, shapes and types against the model, from the headers alone."""
        names = set(check_names(self.source, self.arrays, self.specs))
        used = {s.name: (s, self.arrays[s.name]) for s in self.specs if s.name in names}
        for spec, array in used.values():
            check_dtype(self.source, spec, array.dtype)
        plan = make_plan(self.source, used, self.most)
        object.__setattr__(self, "plan", plan)
        total = plan.count * plan.samples_per_row
        if self.given_labels is not None and len(self.given_labels) != total:
            msg = (
                f"data {self.source!r} have {total} samples but "
                f"{len(self.given_labels)} labels; give one label a sample"
            )
            raise DataError(msg)
        extra = sorted(set(self.arrays) - names)
        notes = [f"not an input of the model, ignored: {', '.join(extra)}"] if extra else []
        if self.rows < plan.count and self.limit is None:
            notes.append(
                f"the last {plan.count - self.rows} samples are left out: the model wants batches "
                f"of {plan.group}"
            )
        object.__setattr__(self, "notes", tuple(notes))

    @property
    def rows(self) -> int:
        """Leading indices that are used."""
        plan = self.plan
        wanted = plan.count
        if self.limit is not None:
            wanted = min(wanted, max(self.limit // plan.samples_per_row, 1))
        if plan.fixed:
            wanted = max(wanted // plan.group, 1) * plan.group
        return wanted

    @property
    def samples(self) -> int:
        """Number of samples over all feeds."""
        return self.rows * self.plan.samples_per_row

    @property
    def labels(self) -> np.ndarray | None:
        """Labels of the samples that are used."""
        return None if self.given_labels is None else self.given_labels[: self.samples]

    def __len__(self) -> int:
        """Count the feeds."""
        return (self.rows + self.plan.group - 1) // self.plan.group

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        """Iterate over the feeds, reading each file once."""
        plan = self.plan
        specs = {s.name: s for s in self.specs}
        fixed = {
            n: convert(self.source, specs[n], self.arrays[n].whole(), 0) for n in plan.constant
        }
        readers = {n: self.arrays[n].rows(plan.group, self.rows) for n in plan.cut}
        for start in range(0, self.rows, plan.group):
            feed = dict(fixed)
            for name, reader in readers.items():
                batch = next(reader)
                batch = batch[0] if plan.whole else batch
                first = start * plan.samples_per_row
                feed[name] = convert(self.source, specs[name], batch, first)
            refuse_lost(self.source, self.specs, feed, start * plan.samples_per_row)
            yield {s.name: feed[s.name] for s in self.specs if s.name in feed}

    def take(self, samples: int) -> ArrayDataset:
        """Return the first `samples` samples, or fewer where the model fixes the batch."""
        limit = samples if self.limit is None else min(samples, self.limit)
        return replace(self, limit=limit)


@dataclass(frozen=True, slots=True)
class Plan:
    """How arrays become feeds.

    Attributes:
        cut: Names of the arrays read along axis 0.
        constant: Names of the arrays that go whole into every feed.
        count: Leading indices of the arrays in `cut`.
        group: Leading indices in a feed.
        whole: Whether a leading index is a whole feed, its axis dropped.
        fixed: Whether every feed must have exactly `group`.
        samples_per_row: Samples in a leading index.
    """

    cut: tuple[str, ...]
    constant: tuple[str, ...]
    count: int
    group: int
    whole: bool = False
    fixed: bool = False
    samples_per_row: int = 1


Used = Mapping[str, tuple[InputSpec, ArraySource]]


def make_plan(source: str, used: Used, most: int = MOST_SAMPLES) -> Plan:
    """Decide which arrays are cut, and into what.

    Raises:
        DataError: If ranks, extents or lengths do not fit; naming the input and the axis.
    """
    whole = [n for n, (s, a) in used.items() if _extra_axes(source, s, a) == 1]
    scalars = [n for n, (s, a) in used.items() if n not in whole and len(a.shape) == 0]
    rest = [n for n in used if n not in whole and n not in scalars]
    if whole:
        return _plan_whole(source, used, whole, rest, scalars)
    if not rest:
        return Plan((), tuple(scalars), 1, 1)
    return _plan_rows(source, used, rest, scalars, most)


def _extra_axes(source: str, spec: InputSpec, array: ArraySource) -> int:
    if spec.shape is None:
        return 0
    extra = len(array.shape) - len(spec.shape)
    if extra not in (0, 1):
        msg = (
            f"data {source!r}: {spec.name!r} has shape {list(array.shape)}, the model wants "
            f"{spec.text}, or one leading axis more for one feed an index"
        )
        raise DataError(msg)
    return extra


def _plan_whole(
    source: str, used: Used, whole: list[str], rest: list[str], scalars: list[str]
) -> Plan:
    for name in (*whole, *rest):
        spec, array = used[name]
        shape = array.shape[1:] if name in whole else array.shape
        if not spec.fits(shape):
            raise DataError(_misfit(source, spec, shape))
    count = _same_length(source, used, whole)
    inner = {used[n][1].shape[1] for n in whole if len(used[n][1].shape) > 1}
    per_row = inner.pop() if len(inner) == 1 else 1
    return Plan(tuple(whole), tuple(rest + scalars), count, 1, True, False, max(per_row, 1))


def _plan_rows(source: str, used: Used, rest: list[str], scalars: list[str], most: int) -> Plan:
    for name in rest:
        spec, array = used[name]
        if not spec.fits(array.shape, skip=1):
            raise DataError(_misfit(source, spec, (0, *array.shape[1:]), axis_0=False))
    free = [n for n in rest if not isinstance(_batch(used[n][0]), int)]
    lengths = {len_of(used[n][1]) for n in free or rest}
    constant = [
        n
        for n in rest
        if n not in free and len_of(used[n][1]) not in lengths and used[n][0].fits(used[n][1].shape)
    ]
    cut = [n for n in rest if n not in constant]
    count = _same_length(source, used, cut)
    batches = {b for n in cut if isinstance(b := _batch(used[n][0]), int)}
    if len(batches) > 1:
        msg = (
            f"data {source!r}: the inputs fix different extents {sorted(batches)} on axis 0, so "
            "arrays cannot be cut into feeds; give each array one leading axis more"
        )
        raise DataError(msg)
    group = batches.pop() if batches else min(most, _moderate(used, cut, count))
    if count < group:
        msg = f"data {source!r} have {count} samples, the model wants batches of {group}"
        raise DataError(msg)
    fixed = any(isinstance(_batch(used[n][0]), int) for n in cut)
    return Plan(tuple(cut), tuple(constant + scalars), count, group, False, fixed)


def len_of(array: ArraySource) -> int:
    """Return the extent of axis 0."""
    return array.shape[0]


def _batch(spec: InputSpec) -> int | str | None:
    return spec.shape[0] if spec.shape else None


def _same_length(source: str, used: Used, names: list[str]) -> int:
    lengths = {n: len_of(used[n][1]) for n in names}
    if len(set(lengths.values())) > 1:
        each = ", ".join(f"{n} {count}" for n, count in lengths.items())
        msg = f"data {source!r}: the arrays differ in length along axis 0 ({each})"
        raise DataError(msg)
    count = next(iter(lengths.values()))
    if count == 0:
        msg = f"data {source!r} are empty: {names[0]!r} has no samples"
        raise DataError(msg)
    return count


def _moderate(used: Used, cut: list[str], count: int) -> int:
    size = sum(
        int(np.prod(used[n][1].shape[1:], dtype=np.int64)) * used[n][1].dtype.itemsize for n in cut
    )
    return max(1, min(MOST_SAMPLES, MOST_BYTES // max(size, 1), count))


def _misfit(source: str, spec: InputSpec, shape: tuple[int, ...], *, axis_0: bool = True) -> str:
    wrong = [
        i
        for i, (want, have) in enumerate(zip(spec.shape or (), shape, strict=True))
        if isinstance(want, int) and want != have and (i or axis_0)
    ]
    axis = wrong[0]
    return (
        f"data {source!r}: {spec.name!r} has extent {shape[axis]} on axis {axis}, the model wants "
        f"{spec.text}"
    )

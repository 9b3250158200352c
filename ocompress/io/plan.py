"""How arrays become feeds: which are cut, along which axis, into how many rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ocompress.errors import DataError
from ocompress.io.arrays import ArraySource
from ocompress.io.inputs import InputSpec
from ocompress.ir import Dim

MOST_SAMPLES = 32
"""Samples in a batch when the model leaves the batch free."""
MOST_BYTES = 16 << 20
"""Bytes of inputs in such a batch."""

Used = Mapping[str, tuple[InputSpec, ArraySource]]
"""Inputs with their arrays, by name."""


@dataclass(frozen=True, slots=True)
class Unit:
    """The smallest feed that a model takes.

    Attributes:
        rows: Leading indices it is made of; every feed holds a multiple of them.
        alone: Whether every feed holds exactly that many.
        samples: Samples that so many rows are; fewer than rows where the model makes one result
            of several rows.
    """

    rows: int = 1
    alone: bool = False
    samples: int = 1


@dataclass(frozen=True, slots=True)
class Plan:
    """How arrays become feeds.

    Attributes:
        cut: Names of the arrays that are read in pieces.
        constant: Names of the arrays that go whole into every feed.
        count: Rows: leading indices of the arrays in `cut`.
        group: Rows in a feed.
        unit: The smallest feed.
        dropped: Names of those in `cut` of which a row is a whole feed, its axis dropped.
        steps: How many leading indices a row of an array takes, where that is more than one.
        axes: Axis along which an array is cut, where that is not the first.
        loose: Whether an array beside the rows has extents that the model leaves free, as the
            edges of a graph beside its nodes: then there are single rows or there is one feed.
    """

    cut: tuple[str, ...]
    constant: tuple[str, ...]
    count: int
    group: int
    unit: Unit = field(default_factory=Unit)
    dropped: frozenset[str] = frozenset()
    steps: Mapping[str, int] = field(default_factory=dict)
    axes: Mapping[str, int] = field(default_factory=dict)
    loose: bool = False

    @property
    def whole(self) -> bool:
        """Whether the arrays say what a feed is: one leading index, or all there is."""
        return bool(self.dropped) or not self.cut

    def samples(self, rows: int) -> int:
        """Return how many samples so many rows are."""
        return rows // self.unit.rows * self.unit.samples


def make_plan(source: str, used: Used, most: int, unit: Unit | None) -> Plan:
    """Decide which arrays are cut, and into what.

    Args:
        source: Where the data came from, for messages.
        used: Inputs with their arrays.
        most: Samples in a feed at most.
        unit: The smallest feed that the model takes, if that was tried.

    Raises:
        DataError: If ranks, extents or lengths do not fit; naming the input and the axis.
    """
    whole = [n for n, (s, a) in used.items() if _extra_axes(source, s, a) == 1]
    scalars = [n for n, (s, a) in used.items() if n not in whole and len(a.shape) == 0]
    rest = [n for n in used if n not in whole and n not in scalars]
    if whole:
        return _plan_whole(source, used, (whole, rest, scalars), unit)
    if not rest or _is_one_feed(used, rest):
        return Plan((), (*rest, *scalars), 1, 1, Unit(1, True, 1))
    return _plan_rows(source, used, rest, scalars, most, unit)


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


# -- one feed -------------------------------------------------------------------------------


def _is_one_feed(used: Used, names: list[str]) -> bool:
    """Whether arrays that fit as they are have no batch in common, as the parts of a graph.

    Nodes and edges are counted by extents of different names, or by one name on two axes of an
    input.
    """
    if any(len(used[n][1].shape) == 0 or 0 in used[n][1].shape for n in names):
        return False
    if not all(used[n][0].fits(used[n][1].shape) for n in names):
        return False
    if any(_names_two_axes(used[n][0]) for n in names):
        return True
    free = [n for n in names if not isinstance(batch_of(used[n][0]), int)]
    if len({len_of(used[n][1]) for n in free or names}) == 1:
        return False
    named = [b for n in free if isinstance(b := batch_of(used[n][0]), str)]
    return len(set(named)) == len(named)  # of one name, they were meant to agree


def _names_two_axes(spec: InputSpec) -> bool:
    """Whether what counts rows counts columns, too."""
    first = batch_of(spec)
    return isinstance(first, str) and first in (spec.shape or ())[1:]


# -- a feed a leading index -----------------------------------------------------------------


def _plan_whole(
    source: str, used: Used, kinds: tuple[list[str], list[str], list[str]], unit: Unit | None
) -> Plan:
    whole, rest, scalars = kinds
    for name in whole:
        spec, array = used[name]
        if not spec.fits(array.shape[1:]):
            raise DataError(_misfit(source, spec, array.shape[1:]))
    count = _same_length(source, used, whole)
    steps = {n: step for n in rest if (step := _step(used, n, whole, count))}
    constant = [n for n in rest if n not in steps]
    for name in constant:
        spec, array = used[name]
        if not spec.fits(array.shape):
            raise DataError(_misfit(source, spec, array.shape))
    inner = {used[n][1].shape[1] for n in whole if len(used[n][1].shape) > 1}
    if steps:
        inner = set(steps.values())
    per_row = inner.pop() if len(inner) == 1 else 1
    found = unit or Unit(1, True, max(per_row, 1))
    cut = tuple(n for n in used if n in whole or n in steps)
    return Plan(cut, (*constant, *scalars), count, 1, found, frozenset(whole), steps)


def _step(used: Used, name: str, whole: list[str], count: int) -> int:
    """Return how many rows of an array of the input's own rank go into each feed, 0 for all.

    Beside arrays with a feed a leading index, one that counts rows has the rows of its feeds one
    after the other.
    """
    spec, array = used[name]
    batch, length = batch_of(spec), len_of(array)
    if not count or length % count or not length or spec.shape is None:
        return 0
    step = length // count
    if isinstance(batch, int):
        return step if step == batch and spec.fits(array.shape, skip=1) else 0
    inside = {e for n in whole for e in used[n][1].shape[1:]}
    return step if spec.fits(array.shape) and (step == 1 or step in inside) else 0


# -- rows -----------------------------------------------------------------------------------


def _plan_rows(
    source: str, used: Used, rest: list[str], scalars: list[str], most: int, unit: Unit | None
) -> Plan:
    free = [n for n in rest if not isinstance(batch_of(used[n][0]), int)]
    axes = _other_axes(used, free, rest)
    lengths = {len_of(used[n][1]) for n in free or rest}
    constant = [
        n
        for n in rest
        if n not in free
        and n not in axes
        and (free or len_of(used[n][1]) not in lengths)
        and used[n][0].fits(used[n][1].shape)
    ]
    cut = [n for n in rest if n not in constant]
    for name in cut:
        spec, array = used[name]
        if name not in axes and not spec.fits(array.shape, skip=1):
            raise DataError(_misfit(source, spec, (0, *array.shape[1:]), axis_0=False))
    count = _same_length(source, used, [n for n in cut if n not in axes])
    batches = {b for n in cut if n not in axes and isinstance(b := batch_of(used[n][0]), int)}
    if len(batches) > 1:
        msg = (
            f"data {source!r}: the inputs fix different extents {sorted(batches)} on axis 0, so "
            "arrays cannot be cut into feeds; give each array one leading axis more"
        )
        raise DataError(msg)
    group = min(most, _moderate(used, cut, count))
    if batches:
        group = batches.pop()
        unit = Unit(group, True, group)
    unit = unit or Unit()
    group = unit.rows if unit.alone else max(group // unit.rows, 1) * unit.rows
    if count < unit.rows:
        msg = f"data {source!r} have {count} samples, the model wants batches of {unit.rows}"
        raise DataError(msg)
    loose = any(not isinstance(d, int) for n in constant for d in used[n][0].shape or ())
    every = (*constant, *scalars)
    return Plan(tuple(cut), every, count, min(group, count), unit, axes=axes, loose=loose)


def _other_axes(used: Used, free: list[str], rest: list[str]) -> dict[str, int]:
    """Return the axis of the batch of inputs that have it further back, as states do."""
    batches = {b for n in free if isinstance(b := batch_of(used[n][0]), str)}
    counts = {len_of(used[n][1]) for n in free}
    if len(counts) != 1:
        return {}
    count = counts.pop()
    found = {}
    for name in rest:
        spec, array = used[name]
        places = [a for a, d in enumerate(spec.shape or ()) if d in batches]
        if name not in free and len(places) == 1 and array.shape[places[0]] == count:
            found[name] = places[0]
    return found


def len_of(array: ArraySource) -> int:
    """Return the extent of axis 0."""
    return array.shape[0]


def batch_of(spec: InputSpec) -> Dim:
    """Return the declared extent of axis 0."""
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

"""Deciding how arrays are cut that hold one sample after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ocompress.errors import DataError
from ocompress.io.inputs import InputSpec
from ocompress.io.plan import MOST_BYTES, MOST_SAMPLES, BatchPlan, BatchUnit, Used
from ocompress.wording import counted


def plan_rows(
    source: str, used: Used, names: tuple[Sequence[str], Sequence[str]], most: int, tried: BatchUnit
) -> BatchPlan:
    """Decide how arrays of their inputs' own rank are cut, along the axes that count samples.

    Args:
        source: Where the data came from, for messages.
        used: Inputs with their arrays.
        names: Those of rank one and more, and scalars.
        most: Samples in a feed at most.
        tried: The smallest feed that the model takes, as far as is known.

    Raises:
        DataError: If extents or lengths do not fit.
    """
    rest, scalars = names
    axes = _axes(used, rest)
    lengths = {n: used[n][1].shape[axes[n]] for n in rest}
    free = _free(used, axes, lengths)
    known = {lengths[n] for n in free or rest}
    constant = [
        n
        for n in rest
        if n not in free and (free or lengths[n] not in known) and used[n][0].fits(used[n][1].shape)
    ]
    cut = [n for n in rest if n not in constant]
    for name in cut:
        spec, array = used[name]
        if not spec.fits(array.shape, but=axes[name]):
            raise DataError(misfit(source, spec, array.shape, but=axes[name]))
    count = same_length(source, lengths, {n: axes[n] for n in cut})
    unit = _fixed(source, used, {n: axes[n] for n in cut}) or tried
    if count < unit.rows:
        have = counted(count, "sample")
        msg = f"data {source!r} have {have}, the model wants batches of {unit.rows}"
        raise DataError(msg)
    group = min(most, _moderate(used, cut, count))
    group = unit.rows if unit.alone else max(group // unit.rows, 1) * unit.rows
    return BatchPlan(
        tuple(cut),
        (*constant, *scalars),
        count,
        min(group, count),
        unit,
        axes={n: axes[n] for n in cut if axes[n]},
        loose=any(not isinstance(d, int) for n in constant for d in used[n][0].shape or ()),
    )


def same_length(source: str, lengths: Mapping[str, int], axes: Mapping[str, int]) -> int:
    """Return how many samples arrays hold, each along its axis.

    Raises:
        DataError: If they differ, or there are none.
    """
    found = {n: lengths[n] for n in axes}
    if len(set(found.values())) > 1:
        each = ", ".join(f"{n} {count}" for n, count in found.items())
        where = " and ".join(map(str, sorted(set(axes.values()))))
        msg = f"data {source!r}: the arrays differ in length along axis {where} ({each})"
        raise DataError(msg)
    count = next(iter(found.values()))
    if count == 0:
        msg = f"data {source!r} are empty: {next(iter(found))!r} has no samples"
        raise DataError(msg)
    return count


def misfit(source: str, spec: InputSpec, shape: Sequence[int], *, but: int | None = None) -> str:
    """Return the sentence on an array of an input's rank whose extents contradict it."""
    axis = spec.misfit(tuple(shape), but=but)
    assert axis is not None
    return (
        f"data {source!r}: {spec.name!r} has extent {shape[axis]} on axis {axis}, the model wants "
        f"{spec.text}"
    )


def _axes(used: Used, rest: Sequence[str]) -> dict[str, int]:
    """Return the axis that counts samples; inputs with a fixed first one may have it further back.

    Their axis is named as the batch of the others, as that of states is.
    """
    axes = {n: used[n][0].axis or 0 for n in rest}
    free = [n for n in rest if not isinstance(used[n][0].batch, int)]
    batches = {b for n in free if isinstance(b := used[n][0].batch, str)}
    counts = {used[n][1].shape[axes[n]] for n in free}
    for name in rest:
        spec, array = used[name]
        places = [a for a, d in enumerate(spec.shape or ()) if d in batches]
        if name not in free and len(places) == 1 and counts == {array.shape[places[0]]}:
            axes[name] = places[0]
    return axes


def _free(used: Used, axes: Mapping[str, int], lengths: Mapping[str, int]) -> list[str]:
    """Return the inputs whose batch is open, but for states that all samples share."""
    found = [n for n, axis in axes.items() if not isinstance(_extent(used[n][0], axis), int)]
    most = max((lengths[n] for n in found), default=0)
    return [n for n in found if not (axes[n] and lengths[n] == 1 < most)]


def _extent(spec: InputSpec, axis: int) -> int | str | None:
    return spec.shape[axis] if spec.shape and axis < len(spec.shape) else None


def _fixed(source: str, used: Used, axes: Mapping[str, int]) -> BatchUnit | None:
    """Return the feed that the inputs fix; where no axis counts samples, it is one of them."""
    extents = {n: _extent(used[n][0], axis) for n, axis in axes.items()}
    batches = {extent for extent in extents.values() if isinstance(extent, int)}
    if not batches:
        return None
    if len(batches) > 1:
        where = " and ".join(map(str, sorted(set(axes.values()))))
        msg = (
            f"data {source!r}: the inputs fix different extents {sorted(batches)} on axis {where}, "
            "so arrays cannot be cut into feeds; give each array one extra leading axis"
        )
        raise DataError(msg)
    rows = batches.pop()
    single = all(used[n][0].axis is None for n in axes)
    return BatchUnit(rows, True, 1 if single else rows)


def _moderate(used: Used, cut: Sequence[str], count: int) -> int:
    size = sum(
        int(np.prod(used[n][1].shape, dtype=np.int64)) * used[n][1].dtype.itemsize for n in cut
    )
    return max(1, min(MOST_SAMPLES, MOST_BYTES * count // max(size, 1), count))

"""Deciding how arrays become feeds: which are cut, along which axis, into how many rows."""

from __future__ import annotations

from ocompress.errors import DataError
from ocompress.io.arrays import ArraySource
from ocompress.io.inputs import InputSpec
from ocompress.io.plan import BatchPlan, BatchUnit, Used
from ocompress.io.planning_rows import misfit, plan_rows, same_length


def make_plan(source: str, used: Used, most: int, unit: BatchUnit | None) -> BatchPlan:
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
    single = any(used[n][0].axis is None and _is_free(used[n][0]) for n in rest)
    if single:
        _check_fit(source, used, rest)
    if single or not rest or _is_one_feed(used, rest):
        return BatchPlan((), (*rest, *scalars), 1, 1, BatchUnit(1, True, 1))
    return plan_rows(source, used, (rest, scalars), most, unit or BatchUnit())


def _check_fit(source: str, used: Used, names: list[str]) -> None:
    for spec, array in (used[n] for n in names):
        if not spec.fits(array.shape):
            raise DataError(misfit(source, spec, array.shape))


def _extra_axes(source: str, spec: InputSpec, array: ArraySource) -> int:
    if spec.shape is None:
        return 0
    extra = len(array.shape) - len(spec.shape)
    if extra not in (0, 1):
        msg = (
            f"data {source!r}: {spec.name!r} has shape {list(array.shape)}, the model wants "
            f"{spec.text}, or one extra leading axis that indexes feeds"
        )
        raise DataError(msg)
    return extra


# -- one feed -------------------------------------------------------------------------------


def _is_one_feed(used: Used, names: list[str]) -> bool:
    """Whether arrays that fit as they are have no batch in common, as the parts of a graph.

    Nodes and edges are counted by extents of different names, each the same in all inputs, or by
    one name on two axes of an input.
    """
    if any(len(used[n][1].shape) == 0 or 0 in used[n][1].shape for n in names):
        return False
    if any(used[n][0].axis != 0 for n in names):
        return False
    if not all(used[n][0].fits(used[n][1].shape) for n in names):
        return False
    if any(_names_two_axes(used[n][0]) for n in names):
        return True
    free = [n for n in names if _is_free(used[n][0])]
    if len({used[n][1].shape[0] for n in free or names}) == 1:
        return False
    named = {(b, used[n][1].shape[0]) for n in free if isinstance(b := used[n][0].batch, str)}
    return len({name for name, _ in named}) == len(named)  # of one name, they were meant to agree


def _is_free(spec: InputSpec) -> bool:
    return not isinstance(spec.batch, int)


def _names_two_axes(spec: InputSpec) -> bool:
    """Whether what counts rows counts columns, too."""
    first = spec.batch
    return isinstance(first, str) and first in (spec.shape or ())[1:]


# -- a feed a leading index -----------------------------------------------------------------


def _plan_whole(
    source: str, used: Used, kinds: tuple[list[str], list[str], list[str]], unit: BatchUnit | None
) -> BatchPlan:
    whole, rest, scalars = kinds
    for spec, array in (used[n] for n in whole):
        if not spec.fits(array.shape[1:]):
            raise DataError(misfit(source, spec, array.shape[1:]))
    count = same_length(source, {n: used[n][1].shape[0] for n in whole}, dict.fromkeys(whole, 0))
    steps = {n: step for n in rest if (step := _step(used, n, whole, count))}
    constant = [n for n in rest if n not in steps]
    _check_fit(source, used, constant)
    inner = {
        1 if spec.axis is None else spec.length(array.shape[1:])
        for spec, array in (used[n] for n in whole)
        if len(array.shape) > 1
    }
    if steps:
        inner = set(steps.values())
    per_row = inner.pop() if len(inner) == 1 else 1
    found = unit or BatchUnit(1, True, max(per_row, 1))
    cut = tuple(n for n in used if n in whole or n in steps)
    return BatchPlan(cut, (*constant, *scalars), count, 1, found, frozenset(whole), steps)


def _step(used: Used, name: str, whole: list[str], count: int) -> int:
    """Return how many rows of an array of the input's own rank go into each feed, 0 for all.

    Beside arrays with a feed a leading index, one that counts rows has the rows of its feeds one
    after the other.
    """
    spec, array = used[name]
    batch, length = spec.batch, array.shape[0]
    if not count or length % count or not length or spec.shape is None or spec.axis != 0:
        return 0
    step = length // count
    if isinstance(batch, int):
        return step if step == batch and spec.fits(array.shape, but=0) else 0
    inside = {e for n in whole for e in used[n][1].shape[1:]}
    return step if spec.fits(array.shape) and (step == 1 or step in inside) else 0

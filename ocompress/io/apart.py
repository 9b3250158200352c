"""Telling whether samples that are run together give what they give alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np

_ROUNDING = {2: 1e-2, 4: 1e-4, 8: 1e-6}
"""Relative error, by bytes of the element, that another batch may make."""
_SMALL = 0.02
"""Part of what two samples differ by that another batch may make."""

Outputs = Mapping[str, np.ndarray]


def samples_made(outputs: Outputs, rows: int) -> int:
    """Return how many samples rows are, by the extents of the results.

    Args:
        outputs: What a model makes of a feed.
        rows: Rows of the feed.
    """
    if any(rows in a.shape for a in outputs.values()):
        return rows
    firsts = [a.shape[0] for a in outputs.values() if a.ndim]
    return max((e for e in firsts if 0 < e < rows and rows % e == 0), default=1)


def are_apart(both: Outputs, parts: Sequence[Outputs], rows: int, *, surely: bool = False) -> bool:
    """Whether rows run together give what they give alone, in at least one output.

    Results of several rows stand one after the other on axis 0, or on another one that counts rows.
    Where there are as many as a row happens to give, as boxes that are found, or none, nobody can
    say later which are whose, so such rows are not apart.

    Args:
        both: Results of all rows.
        parts: Results of the parts that they were run in.
        rows: Rows of a part.
        surely: Whether an output has to show it: whole numbers that are the same everywhere, as a
            class that two neighbouring words have in common, show nothing.
    """
    found = not both
    for name, array in both.items():
        pieces = [p[name] for p in parts if name in p]
        axis = _stacked(array, pieces) if len(pieces) == len(parts) else None
        if axis is None or (axis and pieces[0].shape[axis] > rows):
            continue
        if not array.size:
            continue
        if len({p.shape for p in pieces}) > 1 or not _are_alike(array, pieces, axis):
            return False
        found = found or not surely or _tells(array, pieces)
    return found


def _tells(both: np.ndarray, parts: Sequence[np.ndarray]) -> bool:
    """Whether an output would show it if rows changed each other's results."""
    if both.dtype.kind in "fV":
        return True
    return any(not np.array_equal(parts[0], part) for part in parts[1:])


def _stacked(both: np.ndarray, parts: Sequence[np.ndarray]) -> int | None:
    """Return the axis along which parts make up the whole, None if there is none."""
    if any(p.ndim != both.ndim for p in parts):
        return None
    for axis in range(both.ndim):
        extents = [p.shape[axis] for p in parts]
        others = [(*p.shape[:axis], *p.shape[axis + 1 :]) for p in (both, *parts)]
        if sum(extents) == both.shape[axis] and all(a == b for a, b in pairwise(others)):
            return axis
    return None


def _are_alike(both: np.ndarray, parts: Sequence[np.ndarray], axis: int) -> bool:
    joined = np.concatenate(parts, axis)
    if both.dtype.kind not in "fV":
        return float(np.mean(both == joined)) >= 1 - _SMALL
    left, right = (np.nan_to_num(np.asarray(a, np.float64)) for a in (both, joined))
    error = float(np.linalg.norm(left - right))
    allowed = _ROUNDING.get(both.dtype.itemsize, 0.0) * float(np.linalg.norm(right))
    first, second = (np.nan_to_num(np.asarray(p, np.float64)) for p in parts)
    allowed += _SMALL * float(np.linalg.norm(first - second))
    return error <= allowed

"""Rows of a matrix that are the same, found without sorting whole rows."""

from __future__ import annotations

import numpy as np

_LARGEST = 1 << 62


def distinct_rows(rows: np.ndarray, base: int, most: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the distinct rows in order, and the number of each row among them.

    It is what `np.unique(rows, axis=0, return_inverse=True)` finds, many times as fast.

    Args:
        rows: Integers from 0 to below `base`, [rows, columns].
        base: Above all of them.
        most: Distinct rows that are of use.

    Returns:
        int64 [distinct, columns] and int64 [rows]; None if there are more than `most`.
    """
    few = 2 * most
    if len(rows) > 2 * few and _ranked(rows[:few], base, most) is None:  # mostly tells
        return None
    found = _ranked(rows, base, most)
    return None if found is None else (rows[found[0]], found[1])


def _ranked(rows: np.ndarray, base: int, most: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Return where each distinct row is first, in their order, and the rank of each row."""
    keys, span = rows[:, 0].astype(np.int64), base
    for column in rows.T[1:]:
        if span > _LARGEST // base:  # ranks of beginnings are in the same order
            found, keys = np.unique(keys, return_inverse=True)
            span = len(found)
            if span > most:
                return None
        keys = keys * base + column
        span *= base
    found, first, which = np.unique(keys, return_index=True, return_inverse=True)
    return None if len(found) > most else (first, which)

"""Rounding diagonals of Fastfood blocks so that weights alone tell them again."""

from __future__ import annotations

import numpy as np

from ocompress.archive.fastfood import HALF, Fastfood, find_fastfood, first, in_blocks, spread, told

ROW_BITS, COLUMN_BITS = 6, 5
"""Bits of the numbers of D1 and of D3."""
_LARGEST_LEVEL = 127
_MOST, _SPARED_LEVEL = _LARGEST_LEVEL + HALF, 124
"""Magnitude of the numbers of D2."""
_LARGEST_SUM = 1 << 12
"""Magnitude of sums of D2 up to which products with D1 and D3 are exact in float32."""
_ATTEMPTS = 8


def few_bits(numbers: np.ndarray, bits: int) -> np.ndarray:
    """Return numbers whose mantissas have so many bits."""
    mantissa, exponent = np.frexp(numbers)
    return np.asarray(np.ldexp(np.rint(np.ldexp(mantissa, bits)), exponent - bits))


def room(numbers: np.ndarray, rows: int, columns: int, *, spare: bool = True) -> np.ndarray:
    """Return what D2 may be multiplied by until it takes all bits that it has: [blocks down].

    Args:
        numbers: float64 [down, across, size].
        rows: Rows of the matrix.
        columns: Columns of the matrix.
        spare: Whether to leave some for what rounding adds.
    """
    size = numbers.shape[2]
    most, largest = (_SPARED_LEVEL, _LARGEST_SUM - 2 * size) if spare else (_MOST, _LARGEST_SUM)
    sums = np.abs(in_blocks(spread(numbers, rows, columns), size)).max(axis=(1, 2, 3))
    taken = np.maximum(np.abs(numbers).max(axis=(1, 2)) / most, sums / largest)
    return np.asarray(1 / np.maximum(taken, 1e-300))


def whole(rows: np.ndarray, numbers: np.ndarray, columns: np.ndarray) -> Fastfood:
    """Return blocks as a file has them, of numbers that are near.

    All that is left of them are the weights, and these have to tell the numbers again. So levels of
    a block add up to an even one. Then every sum of D2 is a half more than an even number: it is
    not zero, factors of two are those of D1 and D3, and their signs are told by what is left of
    twice the sum modulo four.

    Args:
        rows: D1, of `ROW_BITS`; zero for rows of zeros.
        numbers: D2, float64 [down, across, size], as large as `room` says.
        columns: D3, of `COLUMN_BITS`; zero for columns of zeros.
    """
    free = told(rows != 0, columns != 0, numbers.shape[2])
    wanted = np.where(free, numbers - first(numbers.shape[2]), 0.0)
    given = rows.astype(np.float32), columns.astype(np.float32)
    for attempt in range(_ATTEMPTS):
        found = Fastfood(given[0], _even(wanted, free, attempt), given[1])
        again = find_fastfood(found.matrix)
        if again is not None and again.size == found.size:
            break
    return found


def _even(wanted: np.ndarray, free: np.ndarray, attempt: int) -> np.ndarray:
    """Round numbers so that those of a block add up to an even one.

    All rows of a column may happen to have a factor in common; then two numbers more are rounded
    the other way at each attempt.
    """
    most = _LARGEST_LEVEL - 1
    near = np.rint(wanted).clip(-most, most).astype(np.int64)
    off = wanted - near
    order = np.argsort(np.where(free, -np.abs(off), np.inf), axis=2, kind="stable")
    steps = np.where(off < 0, -1, 1)
    counts = free.sum(2)
    moved = np.where(near.sum(2) % 2, 1, 0) + 2 * attempt
    moved -= np.where(moved > counts, -2 * ((counts - moved) // 2), 0)  # as many as there are
    rank = np.argsort(order, axis=2, kind="stable")
    return np.asarray(near + np.where(rank < moved[..., None], steps, 0))

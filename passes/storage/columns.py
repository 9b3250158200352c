"""Finding numbers that whole columns of a matrix are multiplied by, by looking at them."""

from __future__ import annotations

import numpy as np

_ROWS = 256
"""Rows that tell how columns compare."""
_NEAR = 20
"""Bits up to which quotients are the same: each is of two numbers that were rounded once."""
_MANTISSA = 11
"""Bits of a number of a column."""
_OFTEN = 0.1
"""Part of the rows in which a column is the same multiple of another, on average at least."""
_FEWEST = 3


def find_columns(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Return numbers of few bits for all columns and the matrix without them.

    Where columns are V * g with few values in each row of V, two columns compare as their numbers
    do wherever they have the same value, and in no other way that is as frequent.

    Args:
        rows: float32 [rows, columns].

    Returns:
        float32 [columns], not all the same, and float32 [rows, columns], whose products, rounded
        once, are the matrix to the bit; None if there is nothing of the kind.
    """
    if min(rows.shape) < _FEWEST or not np.isfinite(rows).all():
        return None
    some = rows[:: -(-len(rows) // _ROWS)]
    ratios = _ratios(np.abs(some.astype(np.float64)))
    if ratios is None:
        return None
    scales = _short(ratios)
    if scales is None or (scales == scales[0]).all():
        return None
    rest = _rounded(rows / scales.astype(np.float64)).astype(np.float32)
    with np.errstate(over="ignore", under="ignore"):
        again = rest * scales
    return (scales, rest) if again.tobytes() == np.ascontiguousarray(rows).tobytes() else None


def _ratios(sizes: np.ndarray) -> np.ndarray | None:
    """Return how columns compare to one of them, most often; None if they do not."""
    used = sizes > 0
    base = int(used.sum(axis=0).argmax())
    kept = used[:, base]
    if np.count_nonzero(kept) < _FEWEST:
        return None
    sizes, used = sizes[kept], used[kept]
    quotients = np.where(used, _rounded(sizes / sizes[:, base, None]), np.inf)
    quotients.sort(axis=0)
    count, columns = quotients.shape
    starts = np.ones((count, columns), bool)
    starts[1:] = quotients[1:] != quotients[:-1]
    place = np.arange(count)[:, None]
    first = np.maximum.accumulate(np.where(starts, place, 0), axis=0)
    runs = np.where(np.isfinite(quotients), place - first + 1, 0)
    often = runs.argmax(axis=0)
    least = np.maximum(used.sum(axis=0), 1)
    if (runs.max(axis=0) / least).mean() < _OFTEN or runs.max(axis=0).mean() < _FEWEST:
        return None
    found = quotients[often, np.arange(columns)]
    return np.asarray(np.where(used.any(axis=0), found, 1.0))


def _rounded(numbers: np.ndarray) -> np.ndarray:
    mantissa, exponent = np.frexp(numbers)
    return np.asarray(np.ldexp(np.rint(np.ldexp(mantissa, _NEAR)), exponent - _NEAR))


def _short(ratios: np.ndarray) -> np.ndarray | None:
    """Return numbers of few bits that compare as others do: the first may be any odd number."""
    some = ratios[:64]
    for first in range(1, 1 << _MANTISSA, 2):
        if _fits(some * first) and _fits(ratios * first):
            mantissa, exponent = np.frexp(ratios * first)
            whole = np.rint(np.ldexp(mantissa, _MANTISSA))
            exponent -= np.frexp(float(first))[1]
            return np.asarray(np.ldexp(whole, exponent - _MANTISSA), np.float32)
    return None


def _fits(numbers: np.ndarray) -> bool:
    mantissa = np.ldexp(np.frexp(numbers)[0], _MANTISSA)
    return bool((np.abs(mantissa - np.rint(mantissa)) < 2.0 ** (_MANTISSA - _NEAR + 1)).all())

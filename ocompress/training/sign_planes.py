"""Finding the planes of signs that a matrix is the sum of."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

_MOST_DISTINCT = 4
"""Elements that share a magnitude in the mean, at least."""
_MOST_PLANES = 3
_OFTEN = 0.1
"""Part of the rows in which two columns compare in one way, at least."""
_TWICE = 2
"""Rows in which they do, at least, where there are as many."""
_SAME = 2.0**-17
"""How much quotients differ that are the same but for their rounding."""
_MOST_UNITS = 1024
"""Columns that are looked at for a unit."""
_SCALE_BITS = 11
"""Bits of a scale."""
_COLUMN_BITS = 8
"""Bits of a number of a column."""
_BITS = 20
"""Bits to which quotients of float32 numbers are told apart."""


def find_planes(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Return scales, signs and scales of columns whose products and sums are a matrix exactly.

    Args:
        matrix: float32 [rows, columns].

    Returns:
        float64 [rows, planes], int8 [planes, rows, columns] (0 where the matrix is 0, of a single
        plane), float64 [columns]; None if there are none.
    """
    size = np.abs(matrix.astype(np.float64))
    if matrix.shape[1] < 2:
        return None
    for each in _candidates(size):
        plain = _rounded(size / each, _BITS)
        if len(np.unique(plain)) * _MOST_DISTINCT > matrix.size:
            continue
        found = _planes_of(plain, np.sign(matrix))
        if found is not None and np.array_equal(summed(*found, each), matrix):
            return *found, each
    return None


def _candidates(size: np.ndarray) -> Iterator[np.ndarray]:
    """Yield what columns may have been multiplied by: nothing, or numbers of few bits."""
    yield np.ones(size.shape[1])
    if sum(size.shape) * _MOST_DISTINCT > size.size:
        return
    columns = _columns(size)
    if columns is None:
        return
    for unit in np.unique(columns)[::-1][:_MOST_UNITS]:  # in some unit all numbers are of few bits
        found = short_columns(columns / unit)
        if np.abs(found * unit / columns - 1).max() < _SAME:
            yield found


def unit_of(columns: np.ndarray, signs: np.ndarray) -> int:
    """Return the place of a column whose number is one, the one with the fewest zeros.

    Args:
        columns: As `find_planes` returns them.
        signs: [planes, rows, columns].
    """
    return int(np.where(columns == 1, np.count_nonzero(signs[0], axis=0), -1).argmax())


def short_columns(columns: np.ndarray) -> np.ndarray:
    """Round numbers of columns to the bits that they have in a file."""
    return _rounded(columns, _COLUMN_BITS)


def _planes_of(plain: np.ndarray, sign: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Return scales and signs of a matrix given as magnitudes and signs."""
    levels = [np.unique(row[row > 0])[::-1] for row in plain]
    most = max(len(found) for found in levels)
    planes = 1 if most == 1 else 2 if most == 2 else _MOST_PLANES
    if not most or most > 1 << (planes - 1) or (planes > 1 and (plain == 0).any()):
        return None
    scales = few_bits(np.stack([_scales(found, planes) for found in levels]))
    return scales, _signs(plain * sign, scales)


def few_bits(scales: np.ndarray) -> np.ndarray:
    """Round scales so that float16 has them, and their sums are exact in float32.

    Args:
        scales: float64 [rows, planes].
    """
    _, exponent = np.frexp(scales)
    largest = exponent.max(axis=1, keepdims=True)
    place = np.maximum(exponent - _SCALE_BITS, largest - 2 * _SCALE_BITS)
    return np.asarray(np.ldexp(np.rint(np.ldexp(scales, -place)), place))


def summed(scales: np.ndarray, signs: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Return the matrix, float32 [rows, columns]; see `find_planes`."""
    sums = (signs * scales.T[:, :, None]).sum(0).astype(np.float32)
    return np.asarray(sums * columns.astype(np.float32) + np.float32(0))


def _columns(size: np.ndarray) -> np.ndarray | None:
    """Return how columns compare to the one with fewest zeros, most often; None if they do not."""
    first = size[:, (size > 0).sum(0).argmax()]
    with np.errstate(divide="ignore", invalid="ignore"):
        quotients = _rounded(np.where((size > 0) & (first[:, None] > 0), size / first[:, None], 0))
    found = np.ones(size.shape[1])
    for at, column in enumerate(quotients.T):
        values, counts = np.unique(column[column > 0], return_counts=True)
        if len(values):
            if counts.max() < max(_OFTEN * counts.sum(), min(_TWICE, counts.sum())):
                return None
            found[at] = values[counts.argmax()]
    return found


def _rounded(values: np.ndarray, bits: int = _BITS) -> np.ndarray:
    mantissa, exponent = np.frexp(values)
    return np.asarray(np.ldexp(np.rint(np.ldexp(mantissa, bits)), exponent - bits))


def _scales(levels: np.ndarray, planes: int) -> np.ndarray:
    """Return scales, the largest first, whose sums with signs have these magnitudes."""
    found = np.zeros(planes)
    if not len(levels):
        return found
    half = [(levels[0] - level) / 2 for level in levels[1:planes]]
    found[planes - len(half) :] = half[::-1]
    found[0] = levels[0] - found[1:].sum()
    return found


def _signs(values: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Return the signs of every plane: of all sums the nearest."""
    planes = scales.shape[1]
    words = 1 - 2 * (np.arange(1 << planes)[:, None] >> np.arange(planes) & 1)
    sums = scales @ words.T
    nearest = np.abs(values[:, :, None] - sums[:, None]).argmin(2)
    found = np.moveaxis(words[nearest], 2, 0).astype(np.int8)
    return np.asarray(found * (values != 0), np.int8)

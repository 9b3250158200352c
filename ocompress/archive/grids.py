"""Finding the grid that floats lie on, by looking at them: value = scale * integer, to the bit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_LARGEST = 1 << 15
"""Magnitude of an integer above which a grid says nothing."""
_FIRST = 48
"""Distinct magnitudes that a first guess looks at."""
_PARTS = 8
"""Integers that the least magnitude, or the least gap, may stand for."""
_TOLERANCE = 0.05
_MOST_UNITS = 1024
"""Columns that are looked at for a unit."""
_SHORT, _SAME, _NEAR = 11, 1e-12, 1e-6
"""Bits of a number of a column, how much quotients differ that are the same, and how much products
do that were rounded."""


@dataclass(frozen=True)
class Grid:
    """Scales of blocks of a matrix, and its integers.

    Attributes:
        scales: float32 or float64 [blocks], row-major over blocks.
        levels: int32 [rows, columns].
        rows_each: Rows of a block.
        columns_each: Columns of a block.
        columns: Scales of columns, too, of the type of `scales`; None for none.
    """

    scales: np.ndarray
    levels: np.ndarray
    rows_each: int
    columns_each: int
    columns: np.ndarray | None = None


def find_grid(matrix: np.ndarray, rows_each: int, columns_each: int) -> Grid | None:
    """Return the grid of a float32 matrix [rows, columns] with a scale for each block, if any.

    What it returns gives back every bit of the matrix.
    """
    rows, columns = matrix.shape
    if not np.isfinite(matrix).all():
        return None
    levels = np.zeros(matrix.shape, np.int32)
    scales = []
    for top in range(0, rows, rows_each):
        for left in range(0, columns, columns_each):
            part = np.s_[top : top + rows_each, left : left + columns_each]
            found = _scale(matrix[part])
            if found is None:
                return None
            scales.append(found)
            if found:
                levels[part] = np.rint(matrix[part].astype(np.float64) / found)
    grid = Grid(_narrowed(np.array(scales)), levels, rows_each, columns_each)
    return grid if _holds(grid, matrix) else None


def refined(grid: Grid, matrix: np.ndarray) -> Grid | None:
    """Return a grid of one scale with a scale for each row or each column, if levels have divisors.

    Scales of few bits are multiples of one number, so that one grid holds all, at levels that are
    larger than need be.

    Args:
        grid: The grid.
        matrix: What it gives back.
    """
    if grid.scales.size != 1 or min(matrix.shape) <= 1:
        return None
    for axis, rows_each, columns_each in ((0, len(matrix), 1), (1, 1, matrix.shape[1])):
        common = np.gcd.reduce(grid.levels, axis=axis)
        if np.count_nonzero(common > 1) <= common.size // 2:
            continue
        divisors = np.maximum(common, 1)
        levels = grid.levels // np.expand_dims(divisors, axis)
        scales = _narrowed(float(grid.scales[0]) * divisors)
        found = Grid(scales, levels.astype(np.int32), rows_each, columns_each)
        if _holds(found, matrix):
            return found
    return None


def find_products(matrix: np.ndarray) -> Grid | None:
    """Return signs with a scale for each row and each column, if a float32 matrix is made of them.

    Scales of columns are in a unit in which they have few bits, where there is one.
    """
    if min(matrix.shape) <= 1 or not np.isfinite(matrix).all():
        return None
    sizes = np.abs(matrix.astype(np.float64))
    used = sizes > 0
    base = int(used.sum(axis=0).argmax())
    both = used & used[:, base, None]
    at, every = both.argmax(axis=0), np.arange(matrix.shape[1])
    if not both[at, every].all():
        return None
    columns = sizes[at, every] / sizes[at, base]
    if (columns == columns[0]).all():
        return None
    first = used.argmax(axis=1)
    scales = sizes[np.arange(len(sizes)), first] / columns[first]
    if (np.abs(scales[:, None] * columns - sizes) > _NEAR * sizes)[used].any():
        return None
    columns = _in_a_unit(columns)
    scales = sizes[np.arange(len(sizes)), first] / columns[first]
    narrow = [_narrowed(a) for a in (scales, columns)]
    kind = np.float64 if any(a.dtype == np.float64 for a in narrow) else np.float32
    levels = np.sign(matrix).astype(np.int32)
    found = Grid(scales.astype(kind), levels, 1, matrix.shape[1], columns.astype(kind))
    return found if _holds(found, matrix) else None


def _in_a_unit(columns: np.ndarray) -> np.ndarray:
    """Return numbers in proportion to one of them in which all are of few bits, if there is any."""
    for unit in np.unique(columns)[:_MOST_UNITS]:
        mantissa, exponent = np.frexp(columns / unit)
        whole = np.rint(np.ldexp(mantissa, _SHORT))
        if (np.abs(np.ldexp(mantissa, _SHORT) - whole) < _SAME * whole).all():
            return np.asarray(np.ldexp(whole, exponent - _SHORT))
    return columns


def values_of(grid: Grid, shape: tuple[int, ...]) -> np.ndarray:
    """Return the float32 values that a grid stands for."""
    down = -(-shape[0] // grid.rows_each)
    blocks = grid.scales.astype(np.float64).reshape(down, -1)
    steps = np.repeat(blocks, grid.rows_each, axis=0)[: shape[0]]
    steps = np.repeat(steps, grid.columns_each, axis=1)[:, : shape[1]]
    if grid.columns is not None:
        steps = steps * grid.columns.astype(np.float64)
    return np.asarray(steps * grid.levels, np.float32)


def _holds(grid: Grid, matrix: np.ndarray) -> bool:
    again = values_of(grid, matrix.shape)
    return bool((again.view(np.uint32) == matrix.view(np.uint32)).all())


def _narrowed(scales: np.ndarray) -> np.ndarray:
    narrow = scales.astype(np.float32)
    return narrow if (narrow == scales).all() else scales


def _scale(part: np.ndarray) -> float | None:
    """Return the largest scale that the values of a block are multiples of; 0 if all are zero."""
    magnitudes = np.unique(np.abs(part)).astype(np.float64)
    magnitudes = magnitudes[magnitudes > 0]
    if not len(magnitudes):
        return 0.0
    if len(magnitudes) > _LARGEST:
        return None
    for guess in _guesses(magnitudes):
        found = _refined(magnitudes, guess)
        if found is not None:
            return found
    return None


def _guesses(magnitudes: np.ndarray) -> list[float]:
    """Return scales to try, the largest first."""
    first = magnitudes[:_FIRST]
    gaps = np.diff(first)
    gaps = gaps[gaps > first[-1] * 1e-6]
    bases = {float(first[0]), *((float(gaps.min()),) if len(gaps) else ())}
    return sorted({base / k for base in bases for k in range(1, _PARTS + 1)}, reverse=True)


def _refined(magnitudes: np.ndarray, guess: float) -> float | None:
    """Return the scale near a guess that gives exactly the magnitudes, None if there is none."""
    scale = guess
    seen = _FIRST
    while True:
        some = magnitudes[:seen]
        levels = np.rint(some / scale)
        off = np.abs(some / scale - levels).max()
        if levels[0] < 1 or levels[-1] > _LARGEST or off > _TOLERANCE:
            return None
        scale = float((some * levels).sum() / (levels * levels).sum())
        if seen >= len(magnitudes):
            return _exact(magnitudes, np.rint(magnitudes / scale))
        seen *= 4


def _exact(magnitudes: np.ndarray, levels: np.ndarray) -> float | None:
    """Return a scale whose products with all levels round to the magnitudes, float32 if possible.

    Each product bounds the scale: it must come closer to its magnitude than half of the distance
    between neighbours.
    """
    below = np.nextafter(magnitudes.astype(np.float32), np.float32(0)).astype(np.float64)
    above = np.nextafter(magnitudes.astype(np.float32), np.float32(np.inf)).astype(np.float64)
    low = ((magnitudes + below) / 2 / levels).max()
    high = ((magnitudes + above) / 2 / levels).min()
    if low > high:
        return None
    middle = (low + high) / 2
    near = np.float32(middle)
    around = [near, np.nextafter(near, np.float32(0)), np.nextafter(near, np.float32(np.inf))]
    for scale in (*map(float, around), middle):
        if ((scale * levels).astype(np.float32) == magnitudes).all():  # ties round to even
            return float(scale)
    return None

"""Matrices of Adaptive Fastfood blocks: D1 H D2 P H D3, exact and found again by the values alone.

H is the Walsh-Hadamard matrix, P a permutation that is the same everywhere, and only the diagonals
are stored. Blocks side by side make up a matrix: those of a row share D1, those of a column D3, and
edges are cut off. D2 is of whole numbers and D1 and D3 are of a few bits, so products and sums are
exact in float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np

SIZES = (2, 4, 8, 16, 32, 64, 128, 256)
"""Rows and columns that a block may have."""
_FACTOR, _PRIME = 39373, 2**31 - 1
"""What makes the order of a permutation look like one that was drawn."""
_MOST = 1 << 24
_NEAR = 0.02
_FIRST = 8
"""Rows whose factors of two have to be products before all of them are looked at."""
HALF = 0.5
"""What every sum has in addition."""
_TOLD = 1e-6
"""Part of a number that visible weights have to tell for it to be one of its own."""


@cache
def hadamard(size: int) -> np.ndarray:
    """Return the Walsh-Hadamard matrix, float64 [size, size], in natural order."""
    bits = np.arange(size)[:, None] >> np.arange(size.bit_length() - 1) & 1
    return np.asarray(1.0 - 2.0 * (bits @ bits.T % 2))


@cache
def permutation(size: int) -> np.ndarray:
    """Return the permutation P of a block: int64 [size], row k of H is taken from place P[k].

    The first stays, so that a half that its number of D2 has more adds to all sums alike.
    """
    keys = np.arange(3, size + 2, dtype=np.int64) * _FACTOR % _PRIME
    return np.append(0, 1 + np.argsort(keys * keys % _PRIME, kind="stable"))


@dataclass(frozen=True, eq=False)
class Fastfood:
    """A matrix of blocks.

    Attributes:
        rows: D1, float32 [rows]; zero for rows of zeros.
        levels: D2 but for a half that its first number has in addition, int64 [blocks down, blocks
            across, size of a block].
        columns: D3, float32 [columns]; zero for columns of zeros.
    """

    rows: np.ndarray
    levels: np.ndarray
    columns: np.ndarray

    @property
    def size(self) -> int:
        """Rows and columns of a block."""
        return int(self.levels.shape[2])

    @property
    def matrix(self) -> np.ndarray:
        """The matrix, float32 [rows, columns]."""
        sums = spread(self.levels.astype(np.float64), self.rows.size, self.columns.size) + HALF
        return np.asarray(sums * self.columns * self.rows[:, None] + 0.0, np.float32)


def spread(levels: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Return the matrix H D2 P H of all blocks, [rows, columns], of the type of the levels.

    Args:
        levels: D2, floats [blocks down, blocks across, size].
        rows: Rows of the matrix; the last blocks are cut off there.
        columns: Columns of the matrix.
    """
    down, across, size = levels.shape
    blocks = levels.transpose(0, 2, 1)[..., None] * _right(size, levels.dtype)
    whole = _transformed(blocks.reshape(down, size, across * size))
    return np.asarray(whole.reshape(down * size, -1)[:rows, :columns])


def gathered(matrix: np.ndarray, size: int) -> np.ndarray:
    """Return what `spread` has to do with a matrix: its transpose, [down, across, size]."""
    blocks = in_blocks(matrix, size)
    whole = _transformed(blocks.reshape(len(blocks), size, -1)).reshape(blocks.shape)
    products = whole * _right(size, matrix.dtype)
    return np.ascontiguousarray(products.sum(3).transpose(0, 2, 1))


def in_blocks(matrix: np.ndarray, size: int) -> np.ndarray:
    """Return a matrix in blocks, zeros behind its edges: [down, size, across, size]."""
    rows, columns = matrix.shape
    down, across = -(-rows // size), -(-columns // size)
    padded = np.pad(matrix, ((0, down * size - rows), (0, across * size - columns)))
    return padded.reshape(down, size, across, size)


def _right(size: int, dtype: np.dtype[np.generic]) -> np.ndarray:
    """Return P H, [size, 1, size]."""
    return np.asarray(hadamard(size)[permutation(size)][:, None], dtype)


def _transformed(blocks: np.ndarray) -> np.ndarray:
    """Return the fast Walsh-Hadamard transform along the second axis."""
    down, size, _ = shape = blocks.shape
    half = 1
    while half < size:
        pairs = blocks.reshape(down, size // (2 * half), 2, half, -1)
        first, second = pairs[:, :, 0], pairs[:, :, 1]
        blocks = np.stack([first + second, first - second], axis=2)
        half *= 2
    return blocks.reshape(shape)


def told(rows: np.ndarray, columns: np.ndarray, size: int) -> np.ndarray:
    """Return which numbers of D2 the weights tell: bool [down, across, size].

    Where a block is cut off, or has rows and columns of zeros, fewer weights are left than numbers.

    Args:
        rows: Which rows are not zero, bool [rows].
        columns: Which columns are not zero, bool [columns].
        size: Of a block.
    """
    down, across = (_seen(part, size) for part in (rows, columns))
    found = np.ones((len(down), len(across), size), bool)
    for at, to in _cut(down, across):
        found[at, to] = _solver(down[at].tobytes(), across[to].tobytes())[0]
    return found


def taken_apart(sums: np.ndarray, size: int, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Return the numbers of D2 that sums are nearest to: the inverse of `spread`.

    Args:
        sums: float64 [rows, columns], zero in rows and columns of zeros.
        size: Of a block.
        rows: Which rows are not zero, bool [rows].
        columns: Which columns are not zero, bool [columns].
    """
    down, across = (_seen(part, size) for part in (rows, columns))
    weights = np.outer(down.sum(1), across.sum(1))
    slope = gathered(sums, size)
    found = slope / np.maximum(weights, 1)[..., None]
    for at, to in _cut(down, across):
        free, inverse = _solver(down[at].tobytes(), across[to].tobytes())
        found[at, to] = 0
        found[at, to, free] = inverse @ slope[at, to, free]
    return found


def _cut(down: np.ndarray, across: np.ndarray) -> list[tuple[int, int]]:
    """Return the blocks of which neither all rows nor all columns are there."""
    return [
        (int(at), int(to))
        for at in np.flatnonzero(~down.all(1))
        for to in np.flatnonzero(~across.all(1))
    ]


def _seen(used: np.ndarray, size: int) -> np.ndarray:
    """Return which rows of each block are there, bool [blocks, size]."""
    padded = np.zeros(-(-used.size // size) * size, bool)
    padded[: used.size] = used
    return padded.reshape(-1, size)


@lru_cache(64)
def _solver(rows: bytes, columns: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Return which numbers of a block its weights tell, and what makes them of `gathered`."""
    here, there = (np.frombuffer(part, bool) for part in (rows, columns))
    size = here.size
    left = hadamard(size)[here]
    right = hadamard(size)[permutation(size)][:, there]
    gram = (left.T @ left) * (right @ right.T)
    rest, free = gram.copy(), np.zeros(size, bool)
    for at in range(size):  # those that are no sum of the ones before
        if rest[at, at] > _TOLD * gram[at, at]:
            free[at] = True
            rest -= np.outer(rest[:, at], rest[at]) / rest[at, at]
    return free, np.linalg.inv(gram[np.ix_(free, free)])


def first(size: int) -> np.ndarray:
    """Return what the numbers of D2 are beside the levels, [size]."""
    return np.asarray(HALF * (np.arange(size) == 0))


def find_fastfood(matrix: np.ndarray) -> Fastfood | None:
    """Return the blocks of which a float32 matrix is made, None if it is of none.

    What it returns gives back every bit.
    """
    used = matrix != 0
    rows, columns = used.any(1), used.any(0)
    if rows.sum() < 2 or columns.sum() < 2:
        return None
    inner = matrix if used.all() else matrix[np.ix_(rows, columns)]
    if _products(inner[:_FIRST]) is None or (parts := _products(inner)) is None:
        return None
    sums = np.zeros(matrix.shape)
    sums[np.ix_(rows, columns)] = parts[1]
    sides = np.zeros(len(rows), np.float32), np.zeros(len(columns), np.float32)
    sides[0][rows], sides[1][columns] = _alike(2 * parts[0], parts[2])
    for size in SIZES:
        levels = _levels(sums, size, rows, columns)
        if levels is not None:
            found = Fastfood(sides[0], levels, sides[1])
            return found if found.matrix.tobytes() == matrix.tobytes() else None
        if size >= max(matrix.shape):
            break
    return None


def _products(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Return D1, twice the sums of D2, and D3, whose products are numbers; None if there are none.

    Args:
        matrix: float32 [rows, columns].
    """
    if not matrix.all() or not np.isfinite(matrix).all():
        return None
    mantissa, exponent = np.frexp(matrix.astype(np.float64))
    odd = np.rint(np.ldexp(mantissa, 24)).astype(np.int64)
    lowest = odd & -odd
    twos = (np.log2(lowest) + exponent - 24).astype(np.int64)
    odd //= lowest
    if (twos - twos[:, :1] - twos[:1] + twos[0, 0]).any():
        return None
    sides = [np.ldexp(1.0, twos[0] - twos[0, 0]), np.ldexp(1.0, twos[:, 0])]
    first = 1 if matrix.shape[1] > matrix.shape[0] else 0  # many numbers share no factor by chance
    for axis in (first, 1 - first):
        factors = np.gcd.reduce(odd, axis=axis)
        sides[axis] *= factors
        odd //= np.expand_dims(factors, axis)
    signs = 2 - odd % 4
    across = signs[0] * signs[0, 0]
    if (signs != signs[:, :1] * across).any():
        return None
    sides[0], sides[1] = sides[0] * across, sides[1] * signs[:, 0]
    return sides[1], (odd * signs).astype(np.float64), sides[0]


def _alike(rows: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return D1 and D3 of about the same size, so that both are exact in short types."""
    by = int(np.round(np.log2(np.median(np.abs(columns)) / np.median(np.abs(rows))) / 2))
    return np.ldexp(rows, by), np.ldexp(columns, -by)


def _levels(
    sums: np.ndarray, size: int, rows: np.ndarray, columns: np.ndarray
) -> np.ndarray | None:
    """Return the levels of D2 that make twice the sums; None if there are none."""
    for most in (size, max(sums.shape)):
        own, seen = sums[:most, :most], (rows[:most], columns[:most])
        exact = taken_apart(own, size, *seen)
        numbers = np.rint(exact)
        if np.abs(exact - numbers).max() > _NEAR:
            return None
        inner = np.ix_(*seen)
        if (spread(numbers, *own.shape)[inner] != own[inner]).any():
            return None
    levels = numbers / 2 - np.where(told(rows, columns, size), first(size), 0)
    return levels.astype(np.int64) if (levels == np.rint(levels)).all() else None

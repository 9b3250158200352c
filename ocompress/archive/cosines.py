"""Integers that are sums of cosines over a plane, whose coefficients are integers, too.

Weights that look at pictures are smooth, or read what is smooth. Sums of cosines, as in JPEG, then
say with few numbers what takes many one by one. All is exact: whole numbers stand for the cosines.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np

LARGEST_EXTENT = 64
"""Places along an axis of a plane."""
_SIZE = 64
"""What the mean counts; a cosine goes up to the root of two times that."""
_MOST = 1 << 24
"""Integers up to which products with a step of one bit are exact in float32."""
_LEAST = 1 << 9
"""Magnitude of the largest integer below which nothing is a sum of cosines worth to look for."""
_FIRST = 2
"""Rows that have to be sums of cosines before all of them are."""
_MULTIPLES = 8
"""Factors that all integers of a matrix may have in common."""
_NEAR = 0.02
_LARGEST_LEVEL = 1 << 20
_EXACT = 1 << 24
"""Magnitudes of coefficients below which sums in float64 are exact, and fast."""


@dataclass(frozen=True)
class Plane:
    """How the columns of a matrix lie in planes.

    Attributes:
        down: Places down.
        across: Places across; neighbours follow each other.
        apart: Columns from one place to the next: 1, or as many as planes lie side by side.
    """

    down: int
    across: int
    apart: int = 1

    @property
    def places(self) -> int:
        """Places of a plane."""
        return self.down * self.across

    def turned(self, rows: np.ndarray) -> np.ndarray:
        """Return the columns as (rows, before, down, across, apart)."""
        return rows.reshape(len(rows), -1, self.down, self.across, self.apart)


@cache
def cosines(extent: int) -> np.ndarray:
    """Return the whole numbers that stand for cosines, int64 [places, frequencies].

    Column v is the cosine of pi (2 y + 1) v / (2 extent) times 64 and the root of two, rounded; 64
    for v = 0. An extent of 1 leaves numbers alone.
    """
    if extent == 1:
        return np.ones((1, 1), np.int64)
    place, wave = np.arange(extent)[:, None], np.arange(extent)[None]
    size = np.where(wave > 0, _SIZE * np.sqrt(2), _SIZE)
    waves = size * np.cos(np.pi * (2 * place + 1) * wave / (2 * extent))
    return np.asarray(np.rint(waves), np.int64)


def summed(coefficients: np.ndarray, plane: Plane) -> np.ndarray:
    """Return the sums of cosines of a matrix of coefficients, int64 below 2^31, row by row."""
    exact = np.float64 if np.abs(coefficients).max(initial=0) < _EXACT else np.int64
    down, across = (cosines(n).astype(exact) for n in (plane.down, plane.across))
    turned = plane.turned(coefficients.astype(exact))
    found = np.einsum("yv,rbvus,xu->rbyxs", down, turned, across, optimize=True)
    return np.asarray(found).reshape(coefficients.shape).astype(np.int64)


def taken_apart(values: np.ndarray, plane: Plane) -> np.ndarray:
    """Return the coefficients of values, float64: the inverse of `summed`."""
    down, across = (np.linalg.inv(cosines(n).astype(float)) for n in (plane.down, plane.across))
    turned = plane.turned(values.astype(np.float64))
    found = np.einsum("vy,rbyxs,ux->rbvus", down, turned, across, optimize=True)
    return np.asarray(found).reshape(values.shape)


@dataclass(frozen=True, eq=False)
class Coefficients:
    """A matrix of float32 as sums of cosines.

    Attributes:
        step: What all values are multiples of.
        levels: Coefficients, int64 [rows, columns].
        plane: How columns lie.
    """

    step: float
    levels: np.ndarray
    plane: Plane


def find_cosines(matrix: np.ndarray) -> Coefficients | None:
    """Return the coefficients of a float32 matrix that is made of few, None if it is not.

    What it returns gives back every bit: step times `summed(levels, plane)`.
    """
    known = _integers(matrix)
    if known is None:
        return None
    step, integers = known
    if np.abs(integers).max(initial=0) < _LEAST:
        return None
    for plane in planes_of(matrix.shape[1]):
        times = _whole(taken_apart(integers[:_FIRST], plane))
        levels = None if times is None else _levels(integers * times, plane)
        if times is not None and levels is not None:
            return Coefficients(step / times, levels, plane)
    return None


def _whole(exact: np.ndarray) -> int | None:
    """Return the least factor that makes numbers whole, None if there is no small one."""
    for times in range(1, _MULTIPLES + 1):
        if np.abs(exact * times - np.rint(exact * times)).max() <= _NEAR:
            return times
    return None


def planes_of(columns: int) -> Iterator[Plane]:
    """Yield the planes that so many columns may lie in, the largest first."""
    sizes = [n for n in range(1, min(columns, LARGEST_EXTENT) + 1) if columns % n == 0]
    pairs = [(a, b) for a in sizes for b in sizes if b > 1 and columns % (a * b) == 0]
    for down, across in sorted(pairs, key=lambda p: (-p[0] * p[1], abs(p[0] - p[1]))):
        rest = columns // (down * across)
        yield Plane(down, across)
        if rest > 1:
            yield Plane(down, across, rest)


def _integers(matrix: np.ndarray) -> tuple[float, np.ndarray] | None:
    """Return the largest number that all values are whole multiples of, and how many each is."""
    values = matrix.astype(np.float64)
    some = values[values != 0]
    if not some.size or not np.isfinite(some).all() or (np.signbit(values) & (values == 0)).any():
        return None
    mantissa, exponent = np.frexp(some)
    lowest = np.rint(np.ldexp(mantissa, 24)).astype(np.int64)
    trailing = np.log2(lowest & -lowest)
    unit = int((exponent - 24 + trailing).min())
    whole = np.ldexp(values, -unit)
    if np.abs(whole).max() > _MOST:
        return None
    integers = whole.astype(np.int64)
    common = int(np.gcd.reduce(integers.reshape(-1)))
    return float(np.ldexp(float(common), unit)), integers // common


def _levels(integers: np.ndarray, plane: Plane) -> np.ndarray | None:
    exact = taken_apart(integers, plane)
    near = np.rint(exact)
    if np.abs(exact - near).max() > _NEAR or np.abs(near).max() > _LARGEST_LEVEL:
        return None
    levels = near.astype(np.int64)
    return levels if (summed(levels, plane) == integers).all() else None

"""A table of values for each row of a matrix, and which of them each element is."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from ocompress.ir import DType
from ocompress.ir.packed import Recipe
from passes.storage.integers import NODE, Integers, bits_for, shared

_MOST_BITS = 8
_MOST_PLANES = 4
_FIRST = 8
"""Rows that have to have few values before all of them are looked at."""
_FLOAT = int(DType.FLOAT)
_SIGNS = {
    planes: shared(
        (2.0 * (np.arange(1 << planes)[:, None] >> np.arange(planes) & 1) - 1).astype(np.float32)
    )
    for planes in range(1, _MOST_PLANES + 1)
}
_TURNED = {planes: shared(np.ascontiguousarray(signs.T)) for planes, signs in _SIGNS.items()}


def is_half(values: np.ndarray) -> bool:
    """Whether float32 values are the same in float16, to the bit."""
    with np.errstate(over="ignore", invalid="ignore"):
        again = values.astype(np.float16).astype(np.float32)
    return again.tobytes() == np.ascontiguousarray(values).tobytes()


def numbers(recipe: Recipe, values: np.ndarray) -> str:
    """Take in float32 values, in float16 where that is the same."""
    if not is_half(values):
        return recipe.leaf(values)
    return recipe.op("Cast", recipe.leaf(values.astype(np.float16)), to=_FLOAT)


def numbers_bytes(values: np.ndarray) -> int:
    """Return the bytes of values as `numbers` takes them in."""
    return int(values.size) * (2 if is_half(values) else 4)


@dataclass(frozen=True, eq=False)
class Tables:
    """Values of each row or column of a matrix.

    Attributes:
        table: The values of each row, float32 [rows, values]; of sums of signs, the numbers that
            are added up, [rows, planes].
        order: Which value each element is, or what signs its numbers have, bit by bit; row-major.
        axis: 0 if rows have tables, 1 if columns have.
        extent: Elements of a row that share a table, or of a column.
        planes: How many signs make a value; 0 if the table has the values themselves.
    """

    table: np.ndarray
    order: Integers
    axis: int
    extent: int
    planes: int = 0

    @property
    def name(self) -> str:
        """Name of the form."""
        each = "row" if self.axis == 0 else "column"
        if self.planes:
            return f"{self.planes} planes a {each}"
        return f"palette a {each}, {self.order.bits} bits"

    @property
    def nbytes(self) -> int:
        """Bytes in a file."""
        nodes = 5 + len(_SIGNS[self.planes].reshape(-1)) // 8 if self.planes else 3
        return self.order.nbytes + numbers_bytes(self.table) + nodes * NODE

    def write(self, recipe: Recipe, shape: tuple[int, ...]) -> str:
        """Add up signs to tables, or take them in, and look up."""
        rows = len(self.table)
        flat = (rows, self.extent) if self.axis == 0 else (self.extent, rows)
        table = numbers(recipe, self.table if self.axis == 0 else self.table.T.copy())
        if self.planes and self.axis == 0:
            table = recipe.op("MatMul", table, recipe.leaf(_TURNED[self.planes]))
        elif self.planes:
            table = recipe.op("MatMul", recipe.leaf(_SIGNS[self.planes]), table)
        order = self.order.write(recipe, flat)
        found = recipe.op("GatherElements", table, order, axis=1 - self.axis)
        if flat == shape:
            return found
        return recipe.op("Reshape", found, recipe.leaf(np.array(shape, np.int64)))


def find_tables(rows: np.ndarray, axis: int) -> Tables | None:
    """Return the tables of a float32 matrix with few values in each row; None if it has many.

    Args:
        rows: [rows, elements].
        axis: What rows are of the constant: 0 for rows, 1 for columns.
    """
    few = min(1 << _MOST_BITS, rows.shape[1] // 2)
    if few < 2 or len(rows) < 2 or _distinct(rows[:_FIRST])[1].max() > few:
        return None
    order, counts = _distinct(rows)
    if counts.max() > few:
        return None
    bits = bits_for(int(counts.max()))
    table = np.zeros((len(rows), 1 << bits), np.float32)
    np.put_along_axis(table, order, rows, axis=1)
    codes, planes = order, 0
    made = _sums(rows, bits) if 1 < bits <= _MOST_PLANES else None
    if made is not None:
        planes, (table, codes) = bits, made
    flat = codes if axis == 0 else codes.T
    return Tables(table, Integers(flat.reshape(-1), bits), axis, rows.shape[1], planes)


def _distinct(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which of the values of its row each element is, and how many there are by row."""
    bits = np.ascontiguousarray(rows).view(np.uint32)
    places = np.argsort(bits, axis=1, kind="stable")
    ordered = np.take_along_axis(bits, places, axis=1)
    ranks = np.zeros(rows.shape, np.int64)
    ranks[:, 1:] = np.cumsum(ordered[:, 1:] != ordered[:, :-1], axis=1)
    order = np.empty_like(ranks)
    np.put_along_axis(order, places, ranks, axis=1)
    return order, ranks[:, -1] + 1


def _sums(rows: np.ndarray, planes: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Return numbers whose sums with all signs are the values of rows, and the signs.

    Returns:
        float32 [rows, planes] and int [rows, elements]; None if there are none for some row, or
        sums of them are not exact.
    """
    found = np.zeros((len(rows), planes), np.float32)
    for at, row in enumerate(rows):
        sizes = np.unique(np.abs(row.astype(np.float64)))[::-1]
        parts = _parts(sizes, planes) if len(sizes) <= 1 << planes - 1 else None
        if parts is None or (parts.astype(np.float32) != parts).any():
            return None
        found[at] = parts
    table = found @ _TURNED[planes]
    if (table != found.astype(np.float64) @ _TURNED[planes].astype(np.float64)).any():
        return None
    codes = np.zeros(rows.shape, np.int64)
    known = np.zeros(rows.shape, bool)
    for code in range(1 << planes):
        same = rows == table[:, code, None]
        codes[same], known = code, known | same
    return (found, codes) if known.all() and not (rows == 0).any() else None


def _parts(sizes: np.ndarray, planes: int) -> np.ndarray | None:
    """Return numbers among whose sums with signs are all magnitudes, which are descending."""
    gaps = (sizes[0] - sizes[1:]) / 2  # sums of the numbers whose sign is not that of the largest
    gaps = np.concatenate([np.zeros(planes - 1), gaps])
    for chosen in itertools.combinations(range(len(gaps))[::-1], planes - 1):
        least = gaps[list(chosen)]
        parts = np.array([sizes[0] - least.sum(), *least])
        if parts[0] > 0 and np.isin(sizes, np.abs(parts @ _HALF[planes])).all():
            return parts
    return None


_HALF = {planes: signs[:, (signs[-1] > 0)] for planes, signs in _TURNED.items()}
"""The sums in which the last number is added, which have all magnitudes."""

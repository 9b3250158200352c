"""The smallest form of a constant that operators of the standard give back to the bit.

| form | what the file has | what makes the weight of it |
|---|---|---|
| half | float16 | Cast |
| palette | the distinct values, and indices of 1 to 16 bits | Gather |
| grid | integers in a form of their own, and a scale for each row or column | Mul |
| blocks | the distinct blocks of values that stand together, and their indices | Gather |
| sparse | a bit for every value, and those not zero in a form of their own | CumSum, Gather |

All of this is constant, so ONNX Runtime does it once, while it loads the model.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np

from ocompress.archive.grids import Grid, find_grid
from ocompress.ir import DType, packed
from ocompress.ir.packed import Recipe
from passes.storage.integers import Integers, bits_for, fields, shaped, shared

_MOST_WORDS = 1 << 16
_MOST_BITS = 12
"""Bits of an index that are worth parts of their own; 16 are an element type."""
_FIRST = 8
"""Rows that have to lie on grids before all of them are looked at."""
_SAMPLE = 1 << 18
"""Values that are looked at first: where they already differ too much, all do."""
_FEWEST = 64
"""Values below which a form of their own takes more than it saves."""
_NODE = 40
_BLOCKS = (4, 8, 16)
_ZERO = shared(np.array(0, np.int64))


class Form(Protocol):
    """How a file holds the values of one constant."""

    @property
    def name(self) -> str:
        """Name of the form, for people."""
        ...

    @property
    def nbytes(self) -> int:
        """Bytes in a file, about."""
        ...

    def write(self, recipe: Recipe, shape: tuple[int, ...]) -> str:
        """Write down what makes the values, in a shape; return the name of the result."""
        ...


@dataclass(frozen=True, eq=False)
class Plain:
    """Values as they are, [n]."""

    values: np.ndarray
    name: ClassVar[str] = "plain"

    @property
    def nbytes(self) -> int:
        """Bytes in a file."""
        return int(self.values.nbytes)

    def write(self, recipe: Recipe, shape: tuple[int, ...]) -> str:
        """Take them in as they are."""
        return recipe.leaf(self.values.reshape(shape))


@dataclass(frozen=True, eq=False)
class Half:
    """Values that are exact in float16, [n]."""

    values: np.ndarray
    name: ClassVar[str] = "half"

    @property
    def nbytes(self) -> int:
        """Bytes in a file."""
        return self.values.size * 2 + _NODE

    def write(self, recipe: Recipe, shape: tuple[int, ...]) -> str:
        """Widen them."""
        narrow = recipe.leaf(self.values.reshape(shape).astype(np.float16))
        return recipe.op("Cast", narrow, to=int(DType.FLOAT))


@dataclass(frozen=True, eq=False)
class Words:
    """Words of a few values, [words, values], in an order, int [n]; single values too."""

    words: Form
    count: int
    width: int
    order: Integers

    @property
    def name(self) -> str:
        """Name of the form."""
        kind = "palette" if self.width == 1 else f"blocks of {self.width}"
        return f"{kind}, {self.order.bits} bits"

    @property
    def nbytes(self) -> int:
        """Bytes in a file."""
        return self.words.nbytes + self.order.nbytes + 2 * _NODE

    def write(self, recipe: Recipe, shape: tuple[int, ...]) -> str:
        """Look them up."""
        together = self.order.together
        if self.width == 1:
            table = self.words.write(recipe, (self.count,))
            if together == 1:
                count = self.order.values.size
                order = self.order.write(recipe, (count,))
                found = recipe.op("GatherElements", table, order)  # of scalars, faster than Gather
                return shaped(recipe, found, count, shape)
            every = fields(recipe, self.order.bits, together)
            return self.order.look_up(recipe, recipe.op("Gather", table, every), together, shape)
        table = self.words.write(recipe, (self.count, self.width))
        order = self.order.write(recipe, (self.order.values.size,))
        found = recipe.op("Gather", table, order)
        return shaped(recipe, found, self.order.values.size * self.width, shape)


@dataclass(frozen=True, eq=False)
class Sparse:
    """A bit for every value, and a zero before those that are not zero."""

    used: np.ndarray
    others: Form
    count: int

    @property
    def name(self) -> str:
        """Name of the form."""
        return f"sparse, {self.others.name}"

    @property
    def nbytes(self) -> int:
        """Bytes in a file."""
        return Integers(self.used, 1).nbytes + self.others.nbytes + 5 * _NODE

    def write(self, recipe: Recipe, shape: tuple[int, ...]) -> str:
        """Count the bits that are set: the count is the place among what is not zero."""
        count = self.used.size
        flags = Integers(self.used, 1).write(recipe, (count,))
        place = recipe.op("CumSum", flags, recipe.leaf(_ZERO))
        place = recipe.op("Mul", place, flags)
        table = self.others.write(recipe, (self.count,))
        return shaped(recipe, recipe.op("GatherElements", table, place), count, shape)


@dataclass(frozen=True, eq=False)
class Scaled:
    """Integers as floats, in a form of their own, and scales that broadcast with them."""

    levels: Form
    scales: np.ndarray

    @property
    def name(self) -> str:
        """Name of the form."""
        return f"grid, {self.levels.name}"

    @property
    def nbytes(self) -> int:
        """Bytes in a file."""
        return self.levels.nbytes + self.scales.nbytes + 2 * _NODE

    def write(self, recipe: Recipe, shape: tuple[int, ...]) -> str:
        """Multiply them: products of a float and a small integer are rounded once."""
        return recipe.op("Mul", self.levels.write(recipe, shape), recipe.leaf(self.scales))


def smallest(array: np.ndarray) -> Form:
    """Return the smallest form of an array of whole bytes; `Plain` if none is smaller."""
    array = np.ascontiguousarray(array)
    flat, widths = array.reshape(-1), _widths(array.shape)
    forms = [Plain(flat), *_forms(flat, widths, deep=True)]
    for grid, shape in _grids(array):
        levels = grid.levels.astype(np.float32).reshape(-1)
        below = [Plain(levels), *_forms(levels, widths, deep=True)]
        best = min(below, key=lambda form: form.nbytes)
        forms.append(Scaled(best, grid.scales.reshape(shape)))
    return min(forms, key=lambda form: form.nbytes)


def _grids(array: np.ndarray) -> Iterator[tuple[Grid, tuple[int, ...]]]:
    """Yield the grids that a matrix or kernels lie on, with the shape of their scales."""
    if array.dtype != np.float32 or array.ndim < 2 or array.size < _FEWEST:
        return
    rows = array.reshape(array.shape[0], -1)
    by_row = (array.shape[0], *(1 for _ in array.shape[1:])), (1, rows.shape[1])
    parts = [by_row] if array.ndim > 2 else [by_row, ((1, array.shape[1]), (len(rows), 1))]
    for shape, each in parts:
        along = rows[:_FIRST] if each[0] == 1 else rows[:, :_FIRST]
        if find_grid(along, *(min(n, m) for n, m in zip(each, along.shape, strict=True))) is None:
            continue
        grid = find_grid(rows, *each)
        if grid is not None and grid.scales.dtype == np.float32:
            yield grid, shape


def _forms(flat: np.ndarray, widths: tuple[int, ...], *, deep: bool) -> Iterator[Form]:
    if flat.size < _FEWEST:
        return
    if flat.dtype == np.float32 and _is_half(flat):
        yield Half(flat)
    for width in (1, *widths):
        found = _words(flat, width)
        if found is not None:
            yield found
    if deep:
        used = _bits(flat) != 0
        if 2 * np.count_nonzero(used) < flat.size:
            kept = np.concatenate([np.zeros(1, flat.dtype), flat[used]])
            forms = [Plain(kept), *_forms(kept, (), deep=False)]
            yield Sparse(used, min(forms, key=lambda form: form.nbytes), len(kept))


def _bits(flat: np.ndarray) -> np.ndarray:
    """Return values as integers: equal ones are equal bit for bit, -0.0 and NaN too."""
    return flat.view(f"u{flat.itemsize}")


def _is_half(flat: np.ndarray) -> bool:
    """Whether float16 widens to the same bits: that of a NaN does not have to."""
    if not packed.is_exact(flat[:_SAMPLE], DType.FLOAT16):
        return False
    again = flat.astype(np.float16).astype(np.float32)
    return bool((_bits(again) == _bits(flat)).all())


def _words(flat: np.ndarray, width: int) -> Words | None:
    """Return the distinct words of so many values, None if there are too many of them."""
    if flat.size % width or flat.size // width < _FEWEST:
        return None
    bits = _bits(flat).reshape(-1, width)
    most = min(_MOST_WORDS, len(bits) // 2)
    if len(_distinct(bits[: _SAMPLE // width])[0]) > most:
        return None
    distinct, order = _distinct(bits)
    if len(distinct) > most:
        return None
    each = bits_for(len(distinct))
    indices = Integers(order, each if each <= _MOST_BITS else 16)
    count = 1 << indices.bits if width == 1 and indices.together > 1 else len(distinct)
    table = np.zeros(count * width, flat.dtype)  # words may say what there is none of
    table[: distinct.size] = np.ascontiguousarray(distinct).view(flat.dtype).reshape(-1)
    words: Form = Plain(table)
    if width > 1:
        words = min([words, *_forms(table, (), deep=False)], key=lambda form: form.nbytes)
    return Words(words, count, width, indices)


def _distinct(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct rows, and which one each is."""
    if rows.shape[1] == 1:
        found, order = np.unique(rows[:, 0], return_inverse=True)
        return found[:, None], order
    whole = np.ascontiguousarray(rows).view(np.dtype((np.void, rows.shape[1] * rows.itemsize)))[
        :, 0
    ]
    _, first, order = np.unique(whole, return_index=True, return_inverse=True)
    return rows[first], order


def _widths(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the lengths of blocks that may repeat: slices of kernels, rows, a few values."""
    slices = {int(np.prod(shape[at:])) for at in range(1, len(shape))}
    return tuple(sorted({w for w in (*slices, *_BLOCKS) if 1 < w <= 256}))

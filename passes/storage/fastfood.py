"""Weights made of diagonals and Walsh-Hadamard matrices that are counted out at load."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ocompress.archive.fastfood import HALF, permutation
from ocompress.ir import DType
from ocompress.ir.packed import Recipe
from passes.storage.integers import NODE, fields, number, shared
from passes.storage.kinds import StoredForm

_NODES = 34
_EXACT = 32
"""Size up to which no part of a sum of D2 is larger than sums may be, so that times numbers of rows
and columns it is exact."""
_INT32 = int(DType.INT32)
_SIGNS = shared(np.array([1, -1], np.float32))
_ZERO, _HALF = shared(np.zeros((), np.float32)), shared(np.full(1, HALF, np.float32))
_ORDERS: dict[int, np.ndarray] = {}


@dataclass(frozen=True, eq=False)
class StoredFastfood:
    """A matrix of Fastfood blocks.

    Attributes:
        rows: D1.
        levels: D2 in its order, without the half of the first number: the first numbers of the
            blocks in a row, then the second ones, and so on for each row of blocks.
        columns: D3.
        shape: Rows and columns of the matrix.
        size: Rows and columns of a block.
        has_zeros: Whether there are rows or columns of zeros.
    """

    rows: StoredForm
    levels: StoredForm
    columns: StoredForm
    shape: tuple[int, int]
    size: int
    has_zeros: bool

    @property
    def name(self) -> str:
        """Name of the form."""
        return f"fastfood blocks of {self.size}, {self.levels.name}"

    @property
    def nbytes(self) -> int:
        """Bytes in a file."""
        parts = (self.rows, self.levels, self.columns)
        return sum(part.nbytes for part in parts) + _NODES * NODE

    def write(self, recipe: Recipe, shape: tuple[int, ...]) -> str:
        """Count out the matrices and multiply, all of it exactly."""
        down, across = (-(-extent // self.size) for extent in self.shape)
        left = self._hadamard(recipe)
        order = recipe.op("Cast", recipe.leaf(_order(self.size)), to=_INT32)
        right = recipe.op("Gather", left, order, axis=0)
        right = recipe.op("Reshape", right, _extents(recipe, self.size, 1, self.size))
        right = recipe.op("Mul", right, self._side(recipe, self.columns, (1, across, self.size)))
        levels = self.levels.write(recipe, (down, self.size, across, 1))
        first = recipe.op("Pad", recipe.leaf(_HALF), _extents(recipe, 0, self.size - 1))
        first = recipe.op("Reshape", first, _extents(recipe, self.size, 1, 1))
        levels = recipe.op("Add", levels, first)
        # A product for a row of blocks, not for each, and little that is as large as the whole:
        # a runtime copies all that it makes while it loads.
        beside = _extents(recipe, down, self.size, across * self.size)
        beside = recipe.op("Reshape", recipe.op("Mul", levels, right), beside)
        rows = self._side(recipe, self.rows, (down, self.size, 1))
        if self.size <= _EXACT:
            found = recipe.op("MatMul", recipe.op("Mul", left, rows), beside)
        else:
            found = recipe.op("Mul", recipe.op("MatMul", left, beside), rows)
        if self.has_zeros:  # some of them are negative
            zero = recipe.leaf(_ZERO)
            found = recipe.op("Where", recipe.op("Equal", found, zero), zero, found)
        whole = (down * self.size, across * self.size)
        if whole != self.shape:
            found = recipe.op("Reshape", found, _extents(recipe, *whole))
            ends = [_extents(recipe, 0, 0), _extents(recipe, *self.shape)]
            found = recipe.op("Slice", found, *ends)
        return recipe.op("Reshape", found, _extents(recipe, *shape))

    def _side(self, recipe: Recipe, numbers: StoredForm, shape: tuple[int, ...]) -> str:
        """Write down the numbers of rows or columns, zeros behind them, in a shape."""
        extent = self.shape[0 if numbers is self.rows else 1]
        found = numbers.write(recipe, (extent,))
        missing = math.prod(shape) - extent
        if missing:
            found = recipe.op("Pad", found, _extents(recipe, 0, missing))
        return recipe.op("Reshape", found, _extents(recipe, *shape))

    def _hadamard(self, recipe: Recipe) -> str:
        """Write down the Walsh-Hadamard matrix: the sign says how many bits two places share."""
        bits = fields(recipe, 2, self.size.bit_length() - 1)
        both = recipe.op("MatMul", bits, recipe.op("Transpose", bits))
        odd = recipe.op("Mod", both, recipe.leaf(number(2)))
        return recipe.op("Gather", recipe.leaf(_SIGNS), odd)


def _extents(recipe: Recipe, *extents: int) -> str:
    return recipe.leaf(np.array(extents, np.int64))


def _order(size: int) -> np.ndarray:
    """Return the permutation of a block, an array that all constants share."""
    return _ORDERS.setdefault(size, shared(permutation(size).astype(np.uint8)))

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

_NODES = 36
_EXACT = 32
"""Size up to which no part of a sum of D2 is larger than sums may be, so that times numbers of rows
it is exact."""
_SMALL = 4
"""Numbers of a row of the whole for each of a block from which on blocks count as small."""
_INT32 = int(DType.INT32)
_SIGNS = shared(np.array([1, -1], np.float32))
_ZERO, _HALF = shared(np.zeros((), np.float32)), shared(np.full(1, HALF, np.float32))
_ORDERS: dict[int, np.ndarray] = {}


@dataclass(frozen=True, eq=False)
class StoredFastfood:
    """A matrix of Fastfood blocks.

    Attributes:
        rows: D1.
        levels: D2 in its order, without the half of the first number, block by block.
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
        whole = (down * self.size, across * self.size)
        small = self.size <= _EXACT and _SMALL * self.size**2 <= whole[1]
        found = (self._by_blocks if small else self._by_rows)(recipe, down, across)
        found = recipe.op("Reshape", found, _extents(recipe, *whole))
        found = recipe.op("Mul", found, self._side(recipe, self.columns, (whole[1],)))
        if self.has_zeros:  # some of them are negative
            zero = recipe.leaf(_ZERO)
            found = recipe.op("Where", recipe.op("Equal", found, zero), zero, found)
        if whole != self.shape:
            ends = [_extents(recipe, 0, 0), _extents(recipe, *self.shape)]
            found = recipe.op("Slice", found, *ends)
        if self.shape == shape:
            return found
        return recipe.op("Reshape", found, _extents(recipe, *shape))

    def _by_blocks(self, recipe: Recipe, down: int, across: int) -> str:
        """Write down D1 H D2 P H as [down, size, across, size], a product for each row of it.

        Nothing else is as large as the whole: a runtime copies all that it makes while it loads.
        """
        left, right = self._matrices(recipe)
        left = recipe.op("Reshape", left, _extents(recipe, self.size, self.size, 1))
        both = recipe.op("Mul", left, right)
        both = recipe.op("Mul", both, self._side(recipe, self.rows, (down, self.size, 1, 1)))
        levels = self.levels.write(recipe, (down, 1, across, self.size))
        half = recipe.op("Pad", recipe.leaf(_HALF), _extents(recipe, 0, self.size - 1))
        return recipe.op("MatMul", recipe.op("Add", levels, half), both)

    def _by_rows(self, recipe: Recipe, down: int, across: int) -> str:
        """Write down D1 H D2 P H as [down, size, columns], a product for each row of blocks."""
        left, right = self._matrices(recipe)
        right = recipe.op("Reshape", right, _extents(recipe, self.size, 1, self.size))
        levels = self.levels.write(recipe, (down, across, self.size))
        levels = recipe.op("Transpose", levels, perm=[0, 2, 1])
        levels = recipe.op("Reshape", levels, _extents(recipe, down, self.size, across, 1))
        half = recipe.op("Pad", recipe.leaf(_HALF), _extents(recipe, 0, self.size - 1))
        half = recipe.op("Reshape", half, _extents(recipe, self.size, 1, 1))
        beside = recipe.op("Mul", recipe.op("Add", levels, half), right)
        extents = _extents(recipe, down, self.size, across * self.size)
        found = recipe.op("MatMul", left, recipe.op("Reshape", beside, extents))
        return recipe.op("Mul", found, self._side(recipe, self.rows, (down, self.size, 1)))

    def _matrices(self, recipe: Recipe) -> tuple[str, str]:
        """Write down H and P H, [size, size]."""
        left = self._hadamard(recipe)
        order = recipe.op("Cast", recipe.leaf(_order(self.size)), to=_INT32)
        return left, recipe.op("Gather", left, order, axis=0)

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

"""Weights made of diagonals and Walsh-Hadamard matrices that are counted out at load."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ocompress.archive.fastfood import HALF, permutation
from ocompress.ir import DType
from ocompress.ir.packed import Recipe
from passes.storage.integers import NODE, fields, number, shared
from passes.storage.kinds import StoredForm

_NODES = 28
_INT32 = int(DType.INT32)
_SIGNS = shared(np.array([1, -1], np.float32))
_ZERO, _HALF = shared(np.zeros((), np.float32)), shared(np.array(HALF, np.float32))
_ORDERS: dict[int, np.ndarray] = {}


@dataclass(frozen=True, eq=False)
class StoredFastfood:
    """A matrix of Fastfood blocks.

    Attributes:
        rows: D1.
        levels: D2 in its order, a block after the other, row-major over blocks; without the half of
            the first number.
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
        """Count out the matrices and multiply: whole numbers up to the last product."""
        rows, columns = self.shape
        down, across = -(-rows // self.size), -(-columns // self.size)
        left = self._hadamard(recipe)
        order = recipe.op("Cast", recipe.leaf(_order(self.size)), to=_INT32)
        right = recipe.op("Gather", left, order, axis=0)
        levels = self.levels.write(recipe, (down, across, self.size, 1))
        blocks = recipe.op("MatMul", left, recipe.op("Mul", levels, right))
        sums = recipe.op("Transpose", blocks, perm=[0, 2, 1, 3])
        whole = np.array([down * self.size, across * self.size], np.int64)
        sums = recipe.op("Reshape", sums, recipe.leaf(whole))
        if tuple(whole) != self.shape:
            ends = [np.zeros(2, np.int64), np.array(self.shape, np.int64)]
            sums = recipe.op("Slice", sums, *(recipe.leaf(end) for end in ends))
        found = recipe.op("Add", sums, recipe.leaf(_HALF))
        found = recipe.op("Mul", found, self.columns.write(recipe, (columns,)))
        found = recipe.op("Mul", found, self.rows.write(recipe, (rows, 1)))
        if self.has_zeros:  # some of them are negative
            zero = recipe.leaf(_ZERO)
            found = recipe.op("Where", recipe.op("Equal", found, zero), zero, found)
        return recipe.op("Reshape", found, recipe.leaf(np.array(shape, np.int64)))

    def _hadamard(self, recipe: Recipe) -> str:
        """Write down the Walsh-Hadamard matrix: the sign says how many bits two places share."""
        bits = fields(recipe, 2, self.size.bit_length() - 1)
        both = recipe.op("MatMul", bits, recipe.op("Transpose", bits))
        odd = recipe.op("Mod", both, recipe.leaf(number(2)))
        return recipe.op("Gather", recipe.leaf(_SIGNS), odd)


def _order(size: int) -> np.ndarray:
    """Return the permutation of a block, an array that all constants share."""
    return _ORDERS.setdefault(size, shared(permutation(size).astype(np.uint8)))

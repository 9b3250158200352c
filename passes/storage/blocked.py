"""Integers of few bits with a scale, and perhaps a zero point, for each block of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ocompress.ir import DType
from ocompress.ir.packed import Recipe
from passes.storage.integers import Integers
from passes.storage.kinds import Plain, StoredWords

_BYTE = 8


@dataclass(frozen=True, eq=False)
class BlockedIntegers:
    """Rows of integers; blocks are equally wide parts of them.

    Attributes:
        integers: int8 or uint8 [rows, elements].
        scales: float32 [rows, blocks].
        zeros: What counts as zero in each block, of the integers' type [rows, blocks]; None if it
            is zero everywhere.
        bits: Of an integer, 2, 4 or 8.
    """

    integers: np.ndarray
    scales: np.ndarray
    zeros: np.ndarray | None
    bits: int

    @property
    def nbytes(self) -> int:
        """Bytes of integers, scales and zero points in a file."""
        zeros = 0 if self.zeros is None else self.zeros.nbytes
        return -(-self.integers.size * self.bits // 8) + self.scales.nbytes + zeros

    @property
    def floats(self) -> np.ndarray:
        """What they stand for, float32 [rows, elements], as runtimes count it out."""
        blocks = self.integers.reshape(*self.scales.shape, -1).astype(np.float32)
        if self.zeros is not None:
            blocks = blocks - self.zeros.astype(np.float32)[..., None]
        return np.asarray((blocks * self.scales[..., None]).reshape(self.integers.shape))

    def write(self, recipe: Recipe) -> str:
        """Write down what makes the floats, as [rows, blocks, elements of a block]."""
        shape = (*self.scales.shape, self.integers.size // self.scales.size)
        found = self._levels(recipe, shape)
        if self.zeros is not None:
            zeros = recipe.op("Cast", recipe.leaf(self.zeros[..., None]), to=int(DType.FLOAT))
            found = recipe.op("Sub", found, zeros)
        return recipe.op("Mul", found, recipe.leaf(self.scales[..., None]))

    def _levels(self, recipe: Recipe, shape: tuple[int, ...]) -> str:
        if self.bits == _BYTE:
            return recipe.op("Cast", recipe.leaf(self.integers.reshape(shape)), to=int(DType.FLOAT))
        low = -(1 << self.bits - 1) if self.integers.dtype == np.int8 else 0
        order = Integers((self.integers.astype(np.int64) - low).reshape(-1), self.bits)
        table = np.arange(low, low + (1 << self.bits)).astype(np.float32)
        return StoredWords(Plain(table), len(table), 1, order).write(recipe, shape)

"""Integers of a few bits in a file, and the nodes that read them out."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ocompress.ir import DType
from ocompress.ir.packed import Recipe

BITWISE = 18
"""Opset from which there is BitwiseAnd."""
_NODE = 40
"""Bytes of a node with its names."""
_BYTE = 8


def shared(array: np.ndarray) -> np.ndarray:
    """Return a constant that a file has once, however often it is used: a read-only array."""
    array.flags.writeable = False
    return array


_SHIFTS = {n: shared(np.arange(0, _BYTE, n, dtype=np.uint8)) for n in (1, 2, 4)}
_MASKS = {n: shared(np.array((1 << n) - 1, np.uint8)) for n in (1, 2, 4)}
_FACTORS = {n: shared((1 << np.arange(0, _BYTE, n)).astype(np.int32)) for n in (1, 2, 4)}
_MODULI = {n: shared(np.array(1 << n, np.int32)) for n in (1, 2, 4)}
_PLANES = {n: shared((1 << np.arange(n)).astype(np.int32).reshape(n, 1, 1)) for n in range(1, 17)}
_FIRST, _FLAT = shared(np.zeros(1, np.int64)), shared(np.full(1, -1, np.int64))


def bits_for(count: int) -> int:
    """Return the bits that tell so many things apart, at least 1."""
    return max(1, math.ceil(math.log2(count))) if count > 1 else 1


@dataclass(frozen=True, eq=False)
class Integers:
    """Non-negative integers.

    Attributes:
        values: int [n].
        bits: Bits of each, 1 to 16.
    """

    values: np.ndarray
    bits: int

    @property
    def _whole(self) -> bool:
        """Whether they are an element type of their own."""
        return self.bits in (8, 16)

    @property
    def nbytes(self) -> int:
        """Bytes in a file, nodes included."""
        if self._whole:
            return self.values.size * self.bits // 8 + _NODE
        return (
            self.bits * math.ceil(self.values.size / 8) + (5 if self.bits in _SHIFTS else 8) * _NODE
        )

    def write(self, recipe: Recipe, shape: tuple[int, ...], opset: int) -> str:
        """Write down how they are read out, as int32 of a shape."""
        to = int(DType.INT32)
        if self._whole:
            kind = np.uint8 if self.bits == _BYTE else np.uint16
            return recipe.op("Cast", recipe.leaf(self.values.reshape(shape).astype(kind)), to=to)
        if self.bits in _SHIFTS:
            fields = self._fields(recipe, self.values[None], self.bits, opset)
            flat = recipe.op("Reshape", fields, recipe.leaf(_FLAT)) if self._padded else fields
        else:  # one plane for each bit
            planes = (self.values[None] >> np.arange(self.bits)[:, None]) & 1
            bits = self._fields(recipe, planes, 1, opset)
            worth = recipe.op("Mul", bits, recipe.leaf(_PLANES[self.bits]))
            flat = recipe.op("ReduceSum", worth, recipe.leaf(_FIRST), keepdims=0)
            flat = recipe.op("Reshape", flat, recipe.leaf(_FLAT)) if self._padded else flat
        if self._padded:
            end = recipe.leaf(np.array([self.values.size], np.int64))
            flat = recipe.op("Slice", flat, recipe.leaf(_FIRST), end)
        return recipe.op("Reshape", flat, recipe.leaf(np.array(shape, np.int64)))

    @property
    def _padded(self) -> bool:
        each = _BYTE // self.bits if self.bits in _SHIFTS else _BYTE
        return self.values.size % each != 0

    def _fields(self, recipe: Recipe, rows: np.ndarray, bits: int, opset: int) -> str:
        """Pack rows of fields of 1, 2 or 4 bits into bytes; return them as int32."""
        each = _BYTE // bits
        padded = np.zeros((len(rows), -(-rows.shape[1] // each) * each), np.uint8)
        padded[:, : rows.shape[1]] = rows
        fields = padded.reshape(len(rows), -1, each) << _SHIFTS[bits]
        octets = recipe.leaf(np.bitwise_or.reduce(fields, axis=-1, keepdims=True))
        if opset >= BITWISE:
            moved = recipe.op("BitShift", octets, recipe.leaf(_SHIFTS[bits]), direction="RIGHT")
            alone = recipe.op("BitwiseAnd", moved, recipe.leaf(_MASKS[bits]))
            return recipe.op("Cast", alone, to=int(DType.INT32))
        wide = recipe.op("Cast", octets, to=int(DType.INT32))
        moved = recipe.op("Div", wide, recipe.leaf(_FACTORS[bits]))
        return recipe.op("Mod", moved, recipe.leaf(_MODULI[bits]))

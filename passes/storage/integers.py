"""Integers of a few bits in a file, and the nodes that read them out.

A byte holds fields of 1, 2 or 4 bits, and looking up what each of 256 bytes says is all it takes:
at any opset, and faster than shifts. Integers of other widths are sums of such parts: 3 bits are 2
and 1, 12 bits are a byte and 4. Where a table says what they stand for, several small ones are one
word, so that there are fewer to look up.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ocompress.ir import DType
from ocompress.ir.packed import Recipe

NODE = 40
"""Bytes of a node with its names."""
_BYTE, _NIBBLE = 8, 4
_UINT4 = DType.UINT4.numpy
_INT32 = int(DType.INT32)
_TOGETHER = {1: 8, 2: 4, 3: 4, 4: 2, 5: 2, 6: 2, 7: 2}
"""By bits, how many integers are one word of at most 16 bits."""
_SMALL_TABLE = 1 << 11
BLOCKS = (2, 3, 4, 5, 8, 16)
"""Values of a word that are tried beside slices and rows."""


def shared(array: np.ndarray) -> np.ndarray:
    """Return a constant that a file has once, however often it is used: a read-only array."""
    array.flags.writeable = False
    return array


def _number(number: int) -> np.ndarray:
    return shared(np.array(number, np.int32))


_NUMBERS = {n: _number(n) for n in (0, 1, *(1 << bits for bits in range(1, 17)))}


def number(value: int) -> np.ndarray:
    """Return an int32 that all constants share."""
    return _NUMBERS.setdefault(value, _number(value))


_FIRST, _FLAT = shared(np.zeros(1, np.int64)), shared(np.full(1, -1, np.int64))
_COLUMN = shared(np.array([-1, 1], np.int64))


def bits_for(count: int) -> int:
    """Return the bits that tell so many things apart, at least 1."""
    return max(1, math.ceil(math.log2(count))) if count > 1 else 1


def fields(recipe: Recipe, base: int, count: int) -> str:
    """Write down the digits of every word, the lowest first, as int32 [base ** count, count]."""
    numbers = [recipe.leaf(number(n)) for n in (0, base**count, 1)]
    words = recipe.op("Reshape", recipe.op("Range", *numbers), recipe.leaf(_COLUMN))
    factors = (base ** np.arange(count)).astype(np.int32)
    moved = recipe.op("Div", words, recipe.leaf(factors))
    return recipe.op("Mod", moved, recipe.leaf(number(base)))


def joined(values: np.ndarray, base: int, count: int) -> np.ndarray:
    """Return words of so many digits, the first the lowest; zeros fill the last."""
    padded = np.zeros(-(-len(values) // count) * count, np.int64)
    padded[: len(values)] = values
    return np.asarray((padded.reshape(-1, count) * base ** np.arange(count)).sum(1))


def shaped(
    recipe: Recipe, found: str, have: int, shape: tuple[int, ...], *, flat: bool = False
) -> str:
    """Write down a shape, without elements that only fill the last word.

    Args:
        recipe: Added to.
        found: What gets the shape.
        have: Its elements.
        shape: The shape.
        flat: Whether it has one extent so far: each operator less is a copy less at load.
    """
    count = math.prod(shape)
    if have > count:
        if not flat:
            found = recipe.op("Reshape", found, recipe.leaf(_FLAT))
        end = recipe.leaf(np.array([count], np.int64))
        found, flat = recipe.op("Slice", found, recipe.leaf(_FIRST), end), True
    if flat and len(shape) == 1:
        return found
    return recipe.op("Reshape", found, recipe.leaf(np.array(shape, np.int64)))


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
    def nbytes(self) -> int:
        """Bytes in a file, nodes included."""
        sizes = (math.ceil(self.values.size * bits / 8) for bits, _ in self._parts())
        return sum(size + 6 * NODE for size in sizes)

    @property
    def together(self) -> int:
        """How many are looked up at once: as many as a table of all words is worth."""
        count = _TOGETHER.get(self.bits, 1)
        return count if count << self.bits * count <= max(self.values.size, _SMALL_TABLE) else 1

    def is_nibbles(self, recipe: Recipe) -> bool:
        """Whether a file holds them in a type of their own, so that nothing is looked up."""
        return self.bits == _NIBBLE and recipe.nibbles

    def write(self, recipe: Recipe, shape: tuple[int, ...]) -> str:
        """Write down how they are read out, as int32 of a shape."""
        whole = ""
        if self.is_nibbles(recipe):
            return recipe.op(
                "Cast", recipe.leaf(self.values.reshape(shape).astype(_UINT4)), to=_INT32
            )
        for bits, shift in self._fewest_parts():
            part = self.values >> shift & (1 << bits) - 1
            if bits in (_BYTE, 16):
                narrow = part.reshape(shape).astype(np.uint8 if bits == _BYTE else np.uint16)
                found = recipe.op("Cast", recipe.leaf(narrow), to=_INT32)
            else:
                count = _TOGETHER[bits]
                table = fields(recipe, 1 << bits, count)
                if shift:
                    table = recipe.op("Mul", table, recipe.leaf(number(1 << shift)))
                found = Integers(part, bits).look_up(recipe, table, count, shape)
            whole = recipe.op("Add", whole, found) if whole else found
        return whole

    def look_up(self, recipe: Recipe, table: str, count: int, shape: tuple[int, ...]) -> str:
        """Write down how a table says what they stand for, so many of them at once.

        Args:
            recipe: Added to.
            table: What each word stands for, [2 ** (bits * count), count].
            count: Integers in a word.
            shape: Shape of what is found, of as many elements.
        """
        words = joined(self.values, 1 << self.bits, count)
        return _looked_up(recipe, table, words, self.bits * count, count, shape)

    def _fewest_parts(self) -> Iterator[tuple[int, int]]:
        """Yield as few fields as can be: several of 3, 5, 6 or 7 bits are a word, if it pays.

        Words are fewer than integers, so taking these apart takes less than adding up integers.
        """
        low, rest = (_BYTE, self.bits - _BYTE) if self.bits > _BYTE else (0, self.bits)
        if rest not in _TOGETHER or Integers(self.values, rest).together == 1:
            yield from self._parts()
            return
        if low:
            yield low, 0
        yield rest, low

    def _parts(self) -> Iterator[tuple[int, int]]:
        """Yield the fields of 1, 2, 4 or 8 bits that make an integer, and how far each is shifted.

        One of 16 bits is a field of its own.
        """
        if self.bits in (_BYTE, 16):
            yield self.bits, 0
            return
        shift = 0
        for bits in (_BYTE, 4, 2, 1):
            if self.bits & bits:
                yield bits, shift
                shift += bits


@dataclass(frozen=True, eq=False)
class Digits:
    """Non-negative integers below a base that is no power of two, several in a word.

    Attributes:
        values: int [n].
        base: What they are below.
        together: Digits of a word.
        width: Bits of a word, 8 or 16.
    """

    values: np.ndarray
    base: int
    together: int
    width: int

    @property
    def bits(self) -> float:
        """Bits of each."""
        return round(self.width / self.together, 2)

    @property
    def nbytes(self) -> int:
        """Bytes in a file, nodes included."""
        return Integers(self._words, self.width).nbytes

    @property
    def _words(self) -> np.ndarray:
        return joined(self.values, self.base, self.together)

    def look_up(self, recipe: Recipe, table: str, count: int, shape: tuple[int, ...]) -> str:
        """Write down how a table says what they stand for, see `Integers.look_up`."""
        assert count == self.together
        return _looked_up(recipe, table, self._words, self.width, count, shape)


def digits(values: np.ndarray, base: int) -> Digits | None:
    """Return integers as digits of words; None if they take no fewer bits than each on its own."""
    found = None
    for width in (_BYTE, 16):
        count = int(width / math.log2(base)) if base > 1 else 0
        if count < 2 or count * base**count > max(values.size, _SMALL_TABLE):
            continue
        better = found is None or width / count < found.bits
        if better and width / count < bits_for(base):
            found = Digits(values, base, count, width)
    return found


def _looked_up(
    recipe: Recipe, table: str, words: np.ndarray, bits: int, count: int, shape: tuple[int, ...]
) -> str:
    """Write down what words of so many integers stand for by a table of all words."""
    order = Integers(words, bits).write(recipe, (len(words),))
    return shaped(recipe, recipe.op("Gather", table, order), len(words) * count, shape)


def rows_of(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct rows, and which one each is."""
    if rows.shape[1] == 1:
        found, order = np.unique(rows[:, 0], return_inverse=True)
        return found[:, None], order
    whole = np.ascontiguousarray(rows).view(np.dtype((np.void, rows.shape[1] * rows.itemsize)))[
        :, 0
    ]
    _, first, order = np.unique(whole, return_index=True, return_inverse=True)
    return rows[first], order


def widths_of(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return the lengths of blocks that may repeat: slices of kernels, rows, a few values."""
    slices = {int(np.prod(shape[at:])) for at in range(1, len(shape))}
    return tuple(sorted({w for w in (*slices, *BLOCKS) if 1 < w <= 256}))

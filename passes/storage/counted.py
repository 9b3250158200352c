"""Forms whose places or values are counted out at load: a file has less than an index.

Words of a random table, weights shared by a hash of their place, blocks that are circulant.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ocompress.archive.tied_places import numbers
from ocompress.ir import DType
from ocompress.ir.packed import Recipe
from passes.storage.integers import NODE, Integers, bits_for, number, shaped, shared
from passes.storage.kinds import StoredForm, StoredWords
from passes.storage.random_numbers import MIDDLE, bells, write_bells, write_hashes

MOST_WORD_BITS = 12
_SAMPLE = 1 << 12
_HALF, _FLOAT = int(DType.FLOAT16), int(DType.FLOAT)
_COLUMN, _FLAT = shared(np.array([-1, 1], np.int64)), shared(np.full(1, -1, np.int64))


@dataclass(frozen=True, eq=False)
class Counted:
    """Whole numbers as from a normal distribution, none of which is stored."""

    name: str = "random"
    nbytes: int = 30 * NODE

    def write(self, recipe: Recipe, shape: tuple[int, ...]) -> str:
        """Count them out."""
        found = write_bells(recipe, int(np.prod(shape)))
        return recipe.op("Reshape", found, recipe.leaf(np.array(shape, np.int64)))


@dataclass(frozen=True, eq=False)
class StoredRandomWords(StoredWords):
    """Words of a table that is counted out."""

    @property
    def name(self) -> str:
        """Name of the form."""
        return f"random words of {self.width}, {self.order.bits} bits"


def find_random(flat: np.ndarray, width: int) -> StoredRandomWords | None:
    """Return whole numbers as words of the random table; None if one of them is not there.

    Args:
        flat: float32 [n].
        width: Numbers of a word.
    """
    if flat.size % width or not MIDDLE / 4 < np.abs(flat).max(initial=0) <= MIDDLE:
        return None
    words = flat.reshape(-1, width)
    table, keys = _table(width)
    some = _keys(words[:_SAMPLE])
    if not np.isin(some, keys).all():
        return None
    found = np.searchsorted(keys, _keys(words)).clip(max=len(keys) - 1)
    order = table[found]
    bits = bits_for(int(order.max()) + 1)
    again = bells(width << bits).reshape(-1, width)[order].astype(np.float32)
    if again.tobytes() != words.tobytes():
        return None
    return StoredRandomWords(Counted(), 1 << bits, width, Integers(order, bits))


@lru_cache(8)
def _table(width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the places of the words in order of their keys, and the keys."""
    keys = _keys(bells(width << MOST_WORD_BITS).reshape(-1, width))
    keys, places = np.unique(keys, return_index=True)
    return shared(places), shared(keys)


def _keys(words: np.ndarray) -> np.ndarray:
    """Return one number for each word: others may have the same, but hardly any in a table."""
    factors = numbers(words.shape[1] + 1)[1:].astype(np.uint64)
    return np.asarray((words.astype(np.int64).astype(np.uint64) * factors).sum(axis=1))


@dataclass(frozen=True, eq=False)
class Hashed:
    """Values that are shared, up to their sign, by all places with the same hash.

    Attributes:
        values: One for each bucket.
        buckets: How many.
        count: Places.
        are_half: Whether float16 has them all.
    """

    values: StoredForm
    buckets: int
    count: int
    are_half: bool

    @property
    def name(self) -> str:
        """Name of the form."""
        return f"hashed, {self.values.name}"

    @property
    def nbytes(self) -> int:
        """Bytes in a file."""
        return self.values.nbytes + 25 * NODE

    def write(self, recipe: Recipe, shape: tuple[int, ...]) -> str:
        """Hash the places and look up values, or their negatives."""
        sides = [self.values.write(recipe, (self.buckets,))]
        sides.append(recipe.op("Neg", sides[0]))
        if self.are_half:  # look-ups at random take long where the table is no longer cached
            sides = [recipe.op("Cast", side, to=_HALF) for side in sides]
        table = recipe.op("Concat", *sides, *sides, axis=0)
        order, count = write_hashes(recipe, self.count, 2 * self.buckets)
        found = recipe.op("GatherElements", table, order)
        found = shaped(recipe, found, count, shape, flat=True)
        return recipe.op("Cast", found, to=_FLOAT) if self.are_half else found


@dataclass(frozen=True, eq=False)
class StoredCirculant:
    """A matrix of blocks in which every row is the one above, moved on by one.

    Attributes:
        values: The first row of every block, row-major over blocks.
        size: Rows of a block.
        rows: Rows of the matrix.
        columns: Columns of the matrix.
    """

    values: StoredForm
    size: int
    rows: int
    columns: int

    @property
    def name(self) -> str:
        """Name of the form."""
        return f"circulant blocks of {self.size}, {self.values.name}"

    @property
    def nbytes(self) -> int:
        """Bytes in a file."""
        return self.values.nbytes + 16 * NODE

    def write(self, recipe: Recipe, shape: tuple[int, ...]) -> str:
        """Count out the places of values and look them up."""
        across = -(-self.columns // self.size)
        down = -(-self.rows // self.size)
        values = self.values.write(recipe, (down * across * self.size,))
        size = recipe.leaf(number(self.size))
        column = self._range(recipe, self.columns)
        row = recipe.op("Reshape", self._range(recipe, self.rows), recipe.leaf(_COLUMN))
        block = recipe.op("Mul", recipe.op("Div", row, size), recipe.leaf(number(across)))
        block = recipe.op("Add", block, recipe.op("Div", column, size))
        place = recipe.op("Mod", recipe.op("Sub", column, row), size)
        order = recipe.op("Add", recipe.op("Mul", block, size), place)
        order = recipe.op("Reshape", order, recipe.leaf(_FLAT))
        found = recipe.op("GatherElements", values, order)
        return recipe.op("Reshape", found, recipe.leaf(np.array(shape, np.int64)))

    @staticmethod
    def _range(recipe: Recipe, count: int) -> str:
        return recipe.op("Range", *(recipe.leaf(number(n)) for n in (0, count, 1)))

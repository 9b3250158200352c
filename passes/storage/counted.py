"""Forms whose places or values are counted out at load: a file has less than an index.

Words of a random table, weights shared by a hash of their place, blocks that are circulant.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ocompress.ir.packed import Recipe
from passes.storage.integers import NODE, Integers, bits_for, count_distinct, number, shared
from passes.storage.kinds import StoredForm, StoredWords
from passes.storage.random_numbers import MIDDLE, bells, numbers, write_bells, write_numbers

MOST_WORD_BITS = 12
_LEADING = 4
"""Bits of the number of buckets that are not zero: few numbers of them have to be tried."""
_FEWEST_BUCKETS = 64
_MOST_USED = 0.7
"""Part of the weights up to which different magnitudes may be buckets."""
_SAMPLE = 1 << 12
_DRAWN = 1 << 16
"""Places among which some share a bucket for sure."""
_SAMPLES = (1 << 9, 1 << 12)
"""Places that are looked at first: where few disagree, there is no need to look at more."""
_FEWEST = 512
_COLUMN, _FLAT = shared(np.array([-1, 1], np.int64)), shared(np.full(1, -1, np.int64))


@dataclass(frozen=True, eq=False)
class Counted:
    """Whole numbers as from a normal distribution, none of which is stored."""

    name: str = "random"
    nbytes: int = 24 * NODE

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
    """

    values: StoredForm
    buckets: int
    count: int

    @property
    def name(self) -> str:
        """Name of the form."""
        return f"hashed, {self.values.name}"

    @property
    def nbytes(self) -> int:
        """Bytes in a file."""
        return self.values.nbytes + 15 * NODE

    def write(self, recipe: Recipe, shape: tuple[int, ...]) -> str:
        """Hash the places and look up values, or their negatives."""
        values = self.values.write(recipe, (self.buckets,))
        both = recipe.op("Concat", values, recipe.op("Neg", values), axis=0)
        count = recipe.leaf(np.array(2 * self.buckets, np.int64))
        order = recipe.op("Mod", write_numbers(recipe, self.count), count)
        found = recipe.op("GatherElements", both, order)
        return recipe.op("Reshape", found, recipe.leaf(np.array(shape, np.int64)))


def near(buckets: float) -> int:
    """Return about so many buckets, as many as a file may have."""
    shift = max(int(max(buckets, _FEWEST_BUCKETS)).bit_length() - _LEADING, 0)
    return max(round(buckets / (1 << shift)), 1 << _LEADING - 1) << shift


def buckets_of(count: int, buckets: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the bucket of every place, int [count], and whether its value is negated there."""
    found = numbers(count) % (2 * buckets)
    return found % buckets, found >= buckets


def find_hashed(flat: np.ndarray) -> tuple[np.ndarray, int] | None:
    """Return the value of each bucket, and their number; None if a hash does not tell values.

    Args:
        flat: float32 [n], in order of places.
    """
    some = flat[:_DRAWN].view(np.uint32) & np.uint32(0x7FFFFFFF)
    used = count_distinct(some)
    most = int(_MOST_USED * flat.size)
    if flat.size < _FEWEST or used == len(some):
        return None
    hashes = numbers(flat.size)
    counts = (n << shift for shift in range(30) for n in range(1 << _LEADING - 1, 1 << _LEADING))
    for buckets in counts:
        if not max(used, _FEWEST_BUCKETS) <= buckets <= most:  # values of some may be equal
            continue
        if all(_agree(flat[:some], hashes[:some], buckets) for some in _SAMPLES):
            found = _values(flat, hashes, buckets)
            if found is not None:
                return found, buckets
    return None


def _agree(flat: np.ndarray, hashes: np.ndarray, buckets: int) -> bool:
    """Whether places of the same bucket have the same value, up to the sign that they say."""
    order = hashes % (2 * buckets)
    values = np.where(order < buckets, flat, -flat)
    places = np.argsort(order % buckets)
    same = np.diff((order % buckets)[places]) == 0
    return bool((values[places][1:] == values[places][:-1])[same].all())


def _values(flat: np.ndarray, hashes: np.ndarray, buckets: int) -> np.ndarray | None:
    order = hashes % (2 * buckets)
    values = np.zeros(buckets, np.float32)
    values[order % buckets] = np.where(order < buckets, flat, -flat)
    again = np.concatenate([values, -values])[order]
    return values if again.tobytes() == flat.tobytes() else None


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


def diagonals(rows: int, columns: int, size: int) -> np.ndarray:
    """Return the place of the value of every element of a matrix of circulant blocks."""
    row, column = np.arange(rows)[:, None], np.arange(columns)
    block = row // size * -(-columns // size) + column // size
    return np.asarray(block * size + (column - row) % size)


def find_circulant(matrix: np.ndarray) -> tuple[np.ndarray, int] | None:
    """Return the values of the largest circulant blocks of a float32 matrix, and their size."""
    rows, columns = matrix.shape
    bits = np.ascontiguousarray(matrix).view(np.uint32)
    if min(rows, columns) < 2 or bits[0, 0] != bits[1, 1]:
        return None
    same = bits[0, :-1] == bits[1, 1:]
    most = len(same) if same.all() else int(same.argmin())
    for size in range(most + 1, 1, -1):
        if size <= columns and bits[0, size - 1] != bits[1, 0]:
            continue
        order = diagonals(rows, columns, size)
        values = np.zeros(int(order.max()) // size * size + size, np.float32)
        values[order] = matrix
        if values[order].tobytes() == matrix.tobytes():
            return values, size
    return None

"""Kinds of forms of constants: what a file has, and what makes the values of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np

from ocompress.ir import DType
from ocompress.ir.packed import Recipe
from passes.storage.integers import NODE, Digits, Integers, fields, shaped, shared

_ZERO = shared(np.array(0, np.int64))


class StoredForm(Protocol):
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
        return self.values.size * 2 + NODE

    def write(self, recipe: Recipe, shape: tuple[int, ...]) -> str:
        """Widen them."""
        narrow = recipe.leaf(self.values.reshape(shape).astype(np.float16))
        return recipe.op("Cast", narrow, to=int(DType.FLOAT))


@dataclass(frozen=True, eq=False)
class Whole:
    """Values that are whole numbers of 8 bits, [n]."""

    values: np.ndarray
    name: ClassVar[str] = "whole"

    @property
    def nbytes(self) -> int:
        """Bytes in a file."""
        return self.values.size + NODE

    def write(self, recipe: Recipe, shape: tuple[int, ...]) -> str:
        """Widen them."""
        narrow = recipe.leaf(self.values.reshape(shape).astype(np.int8))
        return recipe.op("Cast", narrow, to=int(DType.FLOAT))


@dataclass(frozen=True, eq=False)
class Widened:
    """Numbers of a wide type that a narrower one has as well, in a form of that.

    Attributes:
        narrow: Their form as numbers of the narrower type.
        to: The wide type.
    """

    narrow: StoredForm
    to: DType

    @property
    def name(self) -> str:
        """Name of the form."""
        kind = self.narrow.name
        return "widened" if kind == Plain.name else f"{kind}, widened"

    @property
    def nbytes(self) -> int:
        """Bytes in a file."""
        return self.narrow.nbytes + NODE

    def write(self, recipe: Recipe, shape: tuple[int, ...]) -> str:
        """Widen them."""
        return recipe.op("Cast", self.narrow.write(recipe, shape), to=int(self.to))


@dataclass(frozen=True, eq=False)
class CommonTable:
    """Words that several constants have, [words, values], in the narrowest type that has them.

    Attributes:
        words: A read-only array, so that a file has it once.
        is_float: Whether they are float32 as they are or once they are widened.
    """

    words: np.ndarray
    is_float: bool
    name: ClassVar[str] = "common"

    @property
    def nbytes(self) -> int:
        """Bytes in a file beside those of the words, which all constants share."""
        return NODE

    def write(self, recipe: Recipe, shape: tuple[int, ...]) -> str:
        """Widen them."""
        assert shape == self.words.shape
        leaf = recipe.leaf(self.words)
        if not self.is_float or self.words.dtype == np.float32:
            return leaf
        return recipe.op("Cast", leaf, to=int(DType.FLOAT))


@dataclass(frozen=True, eq=False)
class StoredWords:
    """Words of a few values, [words, values], in an order, int [n]; single values too.

    Attributes:
        words: Their form.
        count: How many there are.
        width: Values of each.
        order: Which one each block is.
        table: Bits of those that are used, unsigned [words, values], if they are stored at all.
    """

    words: StoredForm
    count: int
    width: int
    order: Integers | Digits
    table: np.ndarray | None = None

    @property
    def name(self) -> str:
        """Name of the form."""
        kind = "palette" if self.width == 1 else f"blocks of {self.width}"
        return f"{kind}, {self.order.bits:g} bits"

    @property
    def nbytes(self) -> int:
        """Bytes in a file."""
        return self.words.nbytes + self.order.nbytes + 2 * NODE

    def write(self, recipe: Recipe, shape: tuple[int, ...]) -> str:
        """Look them up."""
        together = self.order.together
        if isinstance(self.order, Integers) and self.order.is_nibbles(recipe):
            together = 1
        if together > 1 and self.width == 1:
            table = self.words.write(recipe, (self.count,))
            every = fields(recipe, self.count, together)
            return self.order.look_up(recipe, recipe.op("Gather", table, every), together, shape)
        assert isinstance(self.order, Integers)
        count = self.order.values.size
        order = self.order.write(recipe, (count,))
        if self.width == 1:  # GatherElements is faster than Gather of scalars
            table = self.words.write(recipe, (self.count,))
            found = recipe.op("GatherElements", table, order)
            return shaped(recipe, found, count, shape, flat=True)
        table = self.words.write(recipe, (self.count, self.width))
        return shaped(recipe, recipe.op("Gather", table, order), count * self.width, shape)


@dataclass(frozen=True, eq=False)
class Sparse:
    """A bit for every value, and a zero before those that are not zero."""

    used: np.ndarray
    others: StoredForm
    count: int

    @property
    def name(self) -> str:
        """Name of the form."""
        return f"sparse, {self.others.name}"

    @property
    def nbytes(self) -> int:
        """Bytes in a file."""
        return Integers(self.used, 1).nbytes + self.others.nbytes + 5 * NODE

    def write(self, recipe: Recipe, shape: tuple[int, ...]) -> str:
        """Count the bits that are set: the count is the place among what is not zero."""
        count = self.used.size
        flags = Integers(self.used, 1).write(recipe, (count,))
        place = recipe.op("CumSum", flags, recipe.leaf(_ZERO))
        place = recipe.op("Mul", place, flags)
        table = self.others.write(recipe, (self.count,))
        found = recipe.op("GatherElements", table, place)
        return shaped(recipe, found, count, shape, flat=True)


@dataclass(frozen=True, eq=False)
class Scaled:
    """Floats of short values in a form of their own, and scales of rows or columns.

    Attributes:
        levels: What is multiplied.
        scales: The scales.
        shape: Shape of the scales, which broadcasts with that of the constant.
    """

    levels: StoredForm
    scales: StoredForm
    shape: tuple[int, ...]

    @property
    def name(self) -> str:
        """Name of the form."""
        return f"grid, {self.levels.name}"

    @property
    def nbytes(self) -> int:
        """Bytes in a file."""
        return self.levels.nbytes + self.scales.nbytes + 2 * NODE

    def write(self, recipe: Recipe, shape: tuple[int, ...]) -> str:
        """Multiply them: each product is rounded once."""
        levels = self.levels.write(recipe, shape)
        return recipe.op("Mul", levels, self.scales.write(recipe, self.shape))


@dataclass(frozen=True, eq=False)
class Columns(Scaled):
    """A matrix in a form of its own, each column of it times a number."""

    @property
    def name(self) -> str:
        """Name of the form."""
        return f"columns, {self.levels.name}"


@dataclass(frozen=True, eq=False)
class Turned:
    """The values of a matrix, column by column, in another form."""

    columns: StoredForm

    @property
    def name(self) -> str:
        """Name of the form."""
        return f"{self.columns.name}, by column"

    @property
    def nbytes(self) -> int:
        """Bytes in a file."""
        return self.columns.nbytes + NODE

    def write(self, recipe: Recipe, shape: tuple[int, ...]) -> str:
        """Turn them."""
        return recipe.op("Transpose", self.columns.write(recipe, shape[::-1]))

"""Forms of constants that are mostly zero: values, and how far it is from one to the next.

What a runtime computes of them while it loads is as long as the values, not as the constant, so
they load faster than a bit for every value.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ocompress.archive.tied_places import count_distinct
from ocompress.ir import DType
from ocompress.ir.packed import Recipe
from passes.storage.integers import NODE, Integers, bits_for, number, shared
from passes.storage.kinds import StoredForm
from passes.storage.steps import with_steps

_AXIS = shared(np.array(0, np.int64))
_BYTE, _LEAST = 8, 2
"""Bits of a step, the values' included and at least."""
_MOST_VALUES = 1 << (_BYTE - _LEAST)
_FIRST = 1 << 16
"""Values that are looked at first: where they already differ too much, all do."""


@dataclass(frozen=True, eq=False)
class Gaps:
    """Values among zeros, in a form of their own, and how far each is from the one before.

    Attributes:
        steps: int [k]; their sums are the places.
        bits: Of each step.
        others: What stands there.
        zero: A read-only array of one zero of their type.
    """

    steps: np.ndarray
    bits: int
    others: StoredForm
    zero: np.ndarray

    @property
    def name(self) -> str:
        """Name of the form."""
        return f"sparse, gaps of {self.bits} bits, {self.others.name}"

    @property
    def nbytes(self) -> int:
        """Bytes in a file."""
        return Integers(self.steps, self.bits).nbytes + self.others.nbytes + 4 * NODE

    def write(self, recipe: Recipe, shape: tuple[int, ...]) -> str:
        """Put values into zeros, at places that are sums of steps."""
        steps = Integers(self.steps, self.bits).write(recipe, self.steps.shape)
        values = self.others.write(recipe, self.steps.shape)
        return _scattered(recipe, steps, values, self.zero, shape)


@dataclass(frozen=True, eq=False)
class Strides:
    """Few values among zeros: a byte says how far one is from the one before, and which it is.

    One look-up each makes steps and values of the bytes, which is less to compute than for `Gaps`.

    Attributes:
        steps: int [k], below 2 ** bits; their sums are the places.
        bits: Of each step.
        values: What may stand there, at most 2 ** (8 - bits).
        order: Which one does, int [k].
        zero: A read-only array of one zero of their type.
    """

    steps: np.ndarray
    bits: int
    values: np.ndarray
    order: np.ndarray
    zero: np.ndarray

    @property
    def name(self) -> str:
        """Name of the form."""
        return f"sparse, steps of {self.bits} bits and {len(self.values)} values in a byte"

    @property
    def nbytes(self) -> int:
        """Bytes in a file."""
        return int(self.steps.size + self.values.nbytes + 8 * NODE)

    def write(self, recipe: Recipe, shape: tuple[int, ...]) -> str:
        """Look up what bytes say, and put values into zeros."""
        every = [recipe.leaf(number(n)) for n in (0, 1 << _BYTE, 1)]
        every_byte, base = recipe.op("Range", *every), recipe.leaf(number(1 << self.bits))
        table = np.zeros(1 << (_BYTE - self.bits), self.values.dtype)
        table[: len(self.values)] = self.values
        values = recipe.op("Gather", recipe.leaf(table), recipe.op("Div", every_byte, base))
        both = (self.order << self.bits | self.steps).astype(np.uint8)
        found = recipe.op("Cast", recipe.leaf(both), to=int(DType.INT32))
        steps = recipe.op("GatherElements", recipe.op("Mod", every_byte, base), found)
        values = recipe.op("GatherElements", values, found)
        return _scattered(recipe, steps, values, self.zero, shape)


def _scattered(
    recipe: Recipe, steps: str, values: str, zero: np.ndarray, shape: tuple[int, ...]
) -> str:
    """Write down how values are put into zeros, at places that are sums of steps."""
    places = recipe.op("CumSum", steps, recipe.leaf(_AXIS))
    size = recipe.leaf(np.array([math.prod(shape)], np.int64))
    zeros = recipe.op("Expand", recipe.leaf(zero), size)
    found = recipe.op("ScatterElements", zeros, places, values)
    return recipe.op("Reshape", found, recipe.leaf(np.array(shape, np.int64)))


def find_strides(flat: np.ndarray, places: np.ndarray, zero: np.ndarray) -> Strides | None:
    """Return values as bytes that hold a step and one of few; None if there are too many.

    Args:
        flat: The values, [n].
        places: Of those that are not zero, ascending, int [k], k >= 1.
        zero: A read-only array of one zero of their type.
    """
    unsigned = flat.view(f"u{flat.itemsize}")  # equal ones are equal bit for bit
    if count_distinct(unsigned[places[:_FIRST]]) > _MOST_VALUES:
        return None
    values = np.unique(unsigned[places])
    at, bits = places, _BYTE - bits_for(len(values))
    if bits < _LEAST or len(with_steps(places, bits)) > len(places):
        values = np.concatenate([zero.view(unsigned.dtype), values])  # between those too far apart
        bits = _BYTE - bits_for(len(values))
        if bits < _LEAST:
            return None
        at = with_steps(places, bits)
    values = np.sort(values)
    order = np.searchsorted(values, unsigned[at])
    return Strides(np.diff(at, prepend=0), bits, values.view(flat.dtype), order, zero)

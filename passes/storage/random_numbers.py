"""Numbers that look random and are counted out by integer operators that any runtime has.

They are those of `ocompress.archive.tied_places`, which numpy and ONNX agree on to the bit.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ocompress.archive.tied_places import PRIME, ROUNDS, numbers
from ocompress.ir import DType
from ocompress.ir.packed import Recipe
from passes.storage.integers import shared

_FIELD, _FIELDS = 32, 4
MIDDLE = _FIELDS * (_FIELD - 1) // 2
"""Largest magnitude of `bells`."""
_INT64, _FLOAT = int(DType.INT64), int(DType.FLOAT)


@lru_cache(256)
def _constant(value: int) -> np.ndarray:
    return shared(np.array(value, np.int64))


def bells(count: int) -> np.ndarray:
    """Return so many whole numbers from -62 to 62 as from a normal distribution, int64 [count].

    Their deviation is 18.5.
    """
    rest = numbers(count)
    total = np.full(count, -MIDDLE, np.int64)
    for at in range(_FIELDS):
        total += rest // _FIELD**at % _FIELD
    return total


def write_numbers(recipe: Recipe, count: int) -> str:
    """Write down how `numbers` come about."""
    ends = [recipe.leaf(_constant(n)) for n in (0, count, 1)]
    found = recipe.op("Range", *ends)
    prime = recipe.leaf(_constant(PRIME))
    for at, (factor, summand) in enumerate(ROUNDS):
        found = recipe.op("Mul", found, recipe.leaf(_constant(factor)))
        found = recipe.op("Add", found, recipe.leaf(_constant(summand)))
        found = recipe.op("Mod", found, prime)
        if at < len(ROUNDS) - 1:
            found = recipe.op("Mod", recipe.op("Mul", found, found), prime)
    return found


def write_bells(recipe: Recipe, count: int) -> str:
    """Write down how `bells` come about, as float32."""
    found = write_numbers(recipe, count)
    field, total = recipe.leaf(_constant(_FIELD)), recipe.leaf(_constant(-MIDDLE))
    for at in range(_FIELDS):
        moved = found
        if at:
            moved = recipe.op("Div", found, recipe.leaf(_constant(_FIELD**at)))
        total = recipe.op("Add", total, recipe.op("Mod", moved, field))
    return recipe.op("Cast", total, to=_FLOAT)

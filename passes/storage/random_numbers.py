"""Numbers that look random and are counted out by integer operators that any runtime has.

Number i is a polynomial of i modulo a prime: products stay below 2 ** 63, so numpy and ONNX agree
to the bit. It is a hash, not one to keep secrets with.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ocompress.ir import DType
from ocompress.ir.packed import Recipe
from passes.storage.integers import shared

_PRIME = 2**31 - 1
_ROUNDS = ((1103515245, 12345), (69069, 362437), (1664525, 1013904223))
"""Factors and summands; between them numbers are squared."""
_FIELD, _FIELDS = 32, 4
MIDDLE = _FIELDS * (_FIELD - 1) // 2
"""Largest magnitude of `bells`."""
_INT64, _FLOAT = int(DType.INT64), int(DType.FLOAT)


@lru_cache(256)
def _constant(value: int) -> np.ndarray:
    return shared(np.array(value, np.int64))


def numbers(count: int) -> np.ndarray:
    """Return so many numbers, int64 [count], from 0 up to 2 ** 31 - 2."""
    found = np.arange(count, dtype=np.int64)
    for at, (factor, summand) in enumerate(_ROUNDS):
        found = (found * factor + summand) % _PRIME
        if at < len(_ROUNDS) - 1:
            found = found * found % _PRIME
    return found


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
    prime = recipe.leaf(_constant(_PRIME))
    for at, (factor, summand) in enumerate(_ROUNDS):
        found = recipe.op("Mul", found, recipe.leaf(_constant(factor)))
        found = recipe.op("Add", found, recipe.leaf(_constant(summand)))
        found = recipe.op("Mod", found, prime)
        if at < len(_ROUNDS) - 1:
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

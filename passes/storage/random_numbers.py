"""Numbers that look random and are counted out by integer operators that any runtime has.

They are those of `ocompress.archive.tied_places`, which numpy and ONNX agree on to the bit.
"""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import pairwise

import numpy as np

from ocompress.archive.tied_places import PRIME, ROUNDS, RUN, TURNS, numbers, runs_and_turns
from ocompress.ir import DType
from ocompress.ir.packed import Recipe
from passes.storage.integers import shared

_FIELD, _FIELDS = 32, 4
MIDDLE = _FIELDS * (_FIELD - 1) // 2
"""Largest magnitude of `bells`."""
_FLOAT = int(DType.FLOAT)
_INT32 = int(DType.INT32)
_COLUMN = shared(np.array([-1, 1], np.int64))
_FLAT = shared(np.full(1, -1, np.int64))


@lru_cache(256)
def _constant(value: int) -> np.ndarray:
    return shared(np.array(value, np.int64))


@lru_cache(256)
def _vector(*values: int) -> np.ndarray:
    return shared(np.array(values, np.int64))


def bells(count: int) -> np.ndarray:
    """Return so many whole numbers from -62 to 62 as from a normal distribution, int64 [count].

    Their deviation is 18.5.
    """
    rest = numbers(count)
    total = np.full(count, -MIDDLE, np.int64)
    for at in range(_FIELDS):
        total += rest // _FIELD**at % _FIELD
    return total


def write_numbers(
    recipe: Recipe, count: int, columns: int | None = None
) -> tuple[str, tuple[int, int]]:
    """Write down how `numbers` come about, as int64.

    Remainders are what takes time. The first ones are taken of rows and of columns alone, in place
    of all places; factors between squarings are squares themselves, up to a sign, so that they can
    be part of what is squared.

    Args:
        recipe: Added to.
        count: How many.
        columns: Those of the matrix, a factor of the count; None for about as many as rows.

    Returns:
        The numbers as a matrix, row-major, and its shape.
    """
    factor, summand, last, is_minus = _rounds()
    if columns is None:
        columns = next(n for n in range(math.isqrt(count - 1) + 1, count + 1) if count % n == 0)
    rows = count // columns
    prime, half = recipe.leaf(_constant(PRIME)), PRIME // 2

    def remainders(first: int, by: int, many: int) -> str:
        first, by = (first + half) % PRIME, by % PRIME
        ends = (recipe.leaf(_constant(n)) for n in (first, first + by * many, by))
        return recipe.op("Mod", recipe.op("Range", *ends), prime)

    column = remainders(0, factor, columns)
    column = recipe.op("Sub", column, recipe.leaf(_constant(2 * half)))  # sums are centred then
    row = remainders(summand, factor * columns, rows)
    found = recipe.op("Add", recipe.op("Reshape", row, recipe.leaf(_COLUMN)), column)
    found = recipe.op("Add", recipe.op("Mul", found, found), recipe.leaf(_constant(last[0])))
    found = recipe.op("Mod", found, prime)
    square = recipe.op("Mul", found, found)
    if is_minus:  # a multiple of the prime keeps it from being negative
        found = recipe.op("Sub", recipe.leaf(_constant(PRIME**2 + last[1])), square)
    else:
        found = recipe.op("Add", square, recipe.leaf(_constant(last[1])))
    return recipe.op("Mod", found, prime), (rows, columns)


@lru_cache(1)
def _rounds() -> tuple[int, int, tuple[int, int], bool]:
    """Return the polynomial of `numbers` as few steps: number i is s ((f i + g)^2 + a)^2 + b.

    Returns:
        f, g, (a, b), and whether the sign s is minus, all modulo the prime.
    """
    (first, start), (second, middle), (third, end) = ROUNDS
    outer, is_minus = _root(third)
    inner, other = _root(outer * second)
    if other:  # the other root's product with it is a square: -1 is none modulo this prime
        outer = PRIME - outer
    return inner * first % PRIME, inner * start % PRIME, (outer * middle % PRIME, end), is_minus


def _root(number: int) -> tuple[int, bool]:
    """Return the root of a number or of minus it modulo the prime, and whether of minus it."""
    root = pow(number, (PRIME + 1) // 4, PRIME)
    return root, root * root % PRIME != number % PRIME


def write_hashes(recipe: Recipe, count: int, limit: int) -> tuple[str, int]:
    """Write down `hashes`, each as a sum of two that are below a limit, int32.

    Remainders of sums would take longer than all the rest, so readers look up a table twice as long
    as the limit.

    Returns:
        The sums, flat, and how many there are: at least so many as are asked for.
    """
    runs, turns = runs_and_turns(count)
    some = 1 << (turns + runs - 1).bit_length()  # as many as other layers take, so once in a file
    found, _ = write_numbers(recipe, some, RUN)
    found = recipe.op("Cast", recipe.op("Mod", found, recipe.leaf(_constant(limit))), to=_INT32)
    ends = [recipe.leaf(_vector(n // RUN)) for n in (0, turns, turns + runs)]
    other, own = (recipe.op("Slice", found, *pair) for pair in pairwise(ends))
    own = recipe.op("Reshape", own, recipe.leaf(_vector(-1, TURNS, 1)))
    return recipe.op("Reshape", recipe.op("Add", own, other), recipe.leaf(_FLAT)), runs * RUN


def write_bells(recipe: Recipe, count: int) -> str:
    """Write down how `bells` come about, as float32 of as many elements, row-major."""
    found, _ = write_numbers(recipe, count)
    field, total = recipe.leaf(_constant(_FIELD)), recipe.leaf(_constant(-MIDDLE))
    for at in range(_FIELDS):
        moved = found
        if at:
            moved = recipe.op("Div", found, recipe.leaf(_constant(_FIELD**at)))
        total = recipe.op("Add", total, recipe.op("Mod", moved, field))
    return recipe.op("Cast", total, to=_FLOAT)

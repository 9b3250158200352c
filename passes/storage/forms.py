"""The smallest form of a constant that operators of the standard give back to the bit.

| form | what the file has | what makes the weight of it |
|---|---|---|
| half | float16 | Cast |
| whole | integers of 8 bits | Cast |
| widened | numbers of a narrower type, in a form of that | Cast |
| palette | the distinct values, and indices of 1 to 16 bits | Gather |
| grid | integers in a form of their own, and a scale for each row or column | Mul |
| blocks | the distinct blocks of values that stand together, and their indices | Gather |
| sparse | a bit for every value, and those not zero in a form of their own | CumSum, Gather |
| gaps | steps between those that are not zero, and these | CumSum, ScatterElements |
| strides | such a step and one of few values, in a byte | GatherElements, ScatterElements |
| tables | values of each row or column, or what they are sums of, and indices | GatherElements |
| columns | a form of its own, and a number for each column | Mul |
| random | the numbers of words that are counted out | Range, Mod, Gather |
| hashed | values that places share by a hash | Range, Mod, GatherElements |
| circulant | the first rows of blocks | Range, Mod, GatherElements |
| fastfood | three diagonals | Range, Mod, MatMul, Gather, Mul |
| cosines | coefficients in a form of their own | MatMul, Mul |

All of this is constant, so ONNX Runtime does it once, while it loads the model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np

from ocompress.archive.cosines import find_cosines
from ocompress.archive.grids import find_grid
from ocompress.archive.tied_places import count_distinct
from ocompress.ir import DType, packed
from passes.storage.columns import find_columns
from passes.storage.counted import find_random
from passes.storage.integers import (
    BLOCKS,
    Digits,
    Integers,
    bits_for,
    digits,
    rows_of,
    shared,
    widths_of,
)
from passes.storage.kinds import (
    Columns,
    Half,
    Plain,
    Scaled,
    Sparse,
    StoredForm,
    StoredWords,
    Turned,
    Whole,
    Widened,
)
from passes.storage.narrowing import narrowed
from passes.storage.scaled import axes_of, on_grid
from passes.storage.scattered import Gaps, find_strides
from passes.storage.steps import gapped
from passes.storage.tables import find_tables
from passes.storage.tied import tied
from passes.storage.waves import StoredWaves

_MOST_WORDS = 1 << 16
_MOST_BITS = 12
"""Bits of an index that are worth parts of their own; 16 are an element type."""
_SAMPLE = 1 << 18
"""Values that are looked at first: where they already differ too much, all do."""
_FEWEST = 64
"""Values below which a form of their own takes more than it saves."""
_PRICES: dict[type, float] = {Sparse: 1.33, Gaps: 1.15}
"""What a byte counts in forms that load slowly: a bit for every value takes two to four times as
long as `Strides`, steps apart from values half as long again."""
_ZEROS: dict[str, np.ndarray] = {}


def smallest(array: np.ndarray) -> StoredForm:
    """Return the smallest form of an array of whole bytes; `Plain` if none is smaller."""
    return min(_all(np.ascontiguousarray(array)), key=_price)


Wrap = Callable[[StoredForm], StoredForm]
"""Makes the form of a constant of that of its values."""


def views(array: np.ndarray) -> Iterator[tuple[np.ndarray, Wrap]]:
    """Yield values [n] that words may be made of, and what makes the constant of these.

    Args:
        array: A constant of two extents or more.
    """
    turned = array.ndim == 2
    yield array.reshape(-1), lambda form: form
    if turned:
        yield np.ascontiguousarray(array.T).reshape(-1), Turned
    if array.dtype != np.float32 or array.size < _FEWEST:
        return
    for levels, steps in _grids(array):
        scales, shape = _of(steps.reshape(-1)), steps.shape
        yield levels.reshape(-1), partial(Scaled, scales=scales, shape=shape)
        if turned:
            columns = np.ascontiguousarray(levels.T).reshape(-1)
            yield columns, partial(_scaled_turned, scales, shape)


def _scaled_turned(scales: StoredForm, shape: tuple[int, ...], levels: StoredForm) -> StoredForm:
    return Scaled(Turned(levels), scales, shape)


def _all(array: np.ndarray) -> Iterator[StoredForm]:
    flat, widths = array.reshape(-1), widths_of(array.shape)
    yield Plain(flat)
    narrow = narrowed(array)
    if narrow is not None:
        yield Widened(smallest(narrow), DType.of(array))
    yield from _forms(flat, widths, deep=True)
    if array.ndim == 2:
        yield from _by_columns(array)
    if array.dtype != np.float32 or array.ndim < 2 or array.size < _FEWEST:
        return
    yield from _by_rows(array)
    yield from tied(array, _of)
    yield from _of_waves(array, widths)
    for rows, shape in _matrices(array):
        found = find_columns(rows)
        if found is not None:
            rest = found[1] if array.ndim > 2 or shape[0] == 1 else found[1].T
            rest = np.ascontiguousarray(rest).reshape(array.shape)
            below = [*_forms(rest.reshape(-1), widths, deep=True), *_by_rows(rest)]
            if below:
                yield Columns(min(below, key=_price), _of(found[0]), shape)


def _by_columns(matrix: np.ndarray) -> Iterator[StoredForm]:
    """Yield the forms of words that stand in the columns of a matrix."""
    columns = np.ascontiguousarray(matrix.T).reshape(-1)
    turned = (_words(columns, width, _different(columns)) for width in BLOCKS)
    yield from (Turned(words) for words in turned if words is not None)


def _by_rows(array: np.ndarray) -> Iterator[StoredForm]:
    """Yield the forms of a matrix or kernels that have scales or tables for each row or column."""
    widths = widths_of(array.shape)
    for levels, scales in _grids(array):
        flat = levels.reshape(-1)
        below = [Plain(flat), *_forms(flat, widths, deep=True)]
        below += _by_columns(levels) if array.ndim == 2 else ()
        below += [w for width in widths if (w := find_random(flat, width)) is not None]
        yield Scaled(min(below, key=_price), _of(scales.reshape(-1)), scales.shape)
    for axis, (rows, _) in enumerate(_matrices(array)):
        found = find_tables(rows, axis)
        if found is not None:
            yield found


def _of_waves(array: np.ndarray, widths: tuple[int, ...]) -> Iterator[StoredForm]:
    """Yield the forms that are sums of cosines along rows, or along columns of a matrix."""
    for turned, (rows, _) in enumerate(_matrices(array)):
        found = find_cosines(rows)
        if found is None or found.plane.apart > 1 or np.float32(found.step) != found.step:
            continue
        levels = found.levels.astype(np.float32).reshape(-1)
        below = min([Plain(levels), *_forms(levels, widths, deep=True)], key=_price)
        yield StoredWaves(below, found.step, found.plane, bool(turned))


def _of(values: np.ndarray) -> StoredForm:
    """Return the smallest form of few values."""
    return min([Plain(values), *_forms(values, (), deep=False)], key=_price)


def _price(form: StoredForm) -> float:
    """Return the bytes of a form, more where it takes long to load."""
    return form.nbytes * _PRICES.get(type(form), 1.0)


def _matrices(array: np.ndarray) -> Iterator[tuple[np.ndarray, tuple[int, ...]]]:
    """Yield a constant as rows, with the shape of what each column may be multiplied by.

    Those of a matrix are its columns, too.
    """
    yield array.reshape(len(array), -1), (1, *array.shape[1:])
    if array.ndim == 2:
        yield np.ascontiguousarray(array.T), (len(array), 1)


def _grids(array: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the integers and scales of the grids that matrices or kernels lie on."""
    found = (on_grid(array, axes) for axes in axes_of(array.shape))
    yield from (grid for grid in found if grid is not None)


def _forms(flat: np.ndarray, widths: tuple[int, ...], *, deep: bool) -> Iterator[StoredForm]:
    if flat.size < _FEWEST:
        return
    if flat.dtype == np.float32 and is_half(flat):
        yield Half(flat)
    if flat.dtype == np.float32 and is_whole(flat):
        yield Whole(flat)
    different = _different(flat)
    for width in (1, *widths):
        found = _words(flat, width, different)
        if found is not None:
            yield found
    if deep:
        yield from _sparse(flat)


def _sparse(flat: np.ndarray) -> Iterator[StoredForm]:
    """Yield the forms of values among zeros."""
    used = _bits(flat) != 0
    if not 0 < 2 * np.count_nonzero(used) < flat.size:
        return
    zero = _ZEROS.setdefault(flat.dtype.str, shared(np.zeros(1, flat.dtype)))
    places = np.flatnonzero(used)
    for at, bits in gapped(places, flat.size):
        forms = [Plain(flat[at]), *_forms(flat[at], (), deep=False)]
        yield Gaps(np.diff(at, prepend=0), bits, min(forms, key=_price), zero)
    strides = find_strides(flat, places, zero)
    if strides is not None:
        yield strides
    kept = np.concatenate([zero, flat[used]])
    forms = [Plain(kept), *_forms(kept, (), deep=False)]
    yield Sparse(used, min(forms, key=_price), len(kept))


def _in_units(table: np.ndarray) -> Iterator[StoredForm]:
    """Yield the form of words, [n], that are whole numbers of 8 bits times one number."""
    grid = find_grid(table[None], 1, table.size) if table.dtype == np.float32 else None
    if grid is None or grid.scales.dtype != np.float32:
        return
    levels = grid.levels.astype(np.float32).reshape(-1)
    if is_whole(levels):
        yield Scaled(Whole(levels), Plain(grid.scales), (1,))


def _bits(flat: np.ndarray) -> np.ndarray:
    """Return values as integers: equal ones are equal bit for bit, -0.0 and NaN too."""
    return flat.view(f"u{flat.itemsize}")


def is_half(flat: np.ndarray) -> bool:
    """Whether float16 widens to the same bits: that of a NaN does not have to."""
    if not packed.is_exact(flat[:_SAMPLE], DType.FLOAT16):
        return False
    again = flat.astype(np.float16).astype(np.float32)
    return bool((_bits(again) == _bits(flat)).all())


def is_whole(flat: np.ndarray) -> bool:
    """Whether float32 values are integers of 8 bits, none of them a negative zero."""
    for some in (flat[:_FEWEST], flat):
        with np.errstate(invalid="ignore"):
            again = some.astype(np.int8).astype(np.float32)
        if (_bits(again) != _bits(some)).any():
            return False
    return True


def _different(flat: np.ndarray) -> int:
    """Count the different ones of the first values."""
    return count_distinct(_bits(flat)[:_SAMPLE])


def _words(flat: np.ndarray, width: int, different: int) -> StoredWords | None:
    """Return the distinct words of so many values, None if there are too many of them.

    Args:
        flat: The values, [n].
        width: Values of a word.
        different: Distinct ones of the first `_SAMPLE` values.
    """
    if flat.size % width or flat.size // width < _FEWEST:
        return None
    bits = _bits(flat).reshape(-1, width)
    most = min(_MOST_WORDS, len(bits) // 2)
    if different > most * width:
        return None
    if width > 1 and len(rows_of(bits[: _SAMPLE // width])[0]) > most:
        return None
    distinct, order = rows_of(bits)
    if len(distinct) > most:
        return None
    each = bits_for(len(distinct))
    indices: Integers | Digits = Integers(order, each if each <= _MOST_BITS else 16)
    count = 1 << each if width == 1 and indices.together > 1 else len(distinct)
    packed_digits = digits(order, len(distinct)) if width == 1 else None
    if packed_digits is not None:
        indices, count = packed_digits, len(distinct)
    table = np.zeros(count * width, flat.dtype)  # words may say what there is none of
    table[: distinct.size] = np.ascontiguousarray(distinct).view(flat.dtype).reshape(-1)
    words: StoredForm = Plain(table)
    if width > 1:
        words = min([words, *_forms(table, (), deep=False), *_in_units(table)], key=_price)
    return StoredWords(words, count, width, indices, np.ascontiguousarray(distinct))

"""Choosing how a piece is coded: every form that fits is tried, and the shortest is taken."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from ocompress.archive import nodes as n
from ocompress.archive.codes import (
    FEW,
    PieceFacts,
    center,
    coded,
    length,
    octets,
    plain_bytes,
    split,
    stored,
)
from ocompress.archive.cosines import find_cosines
from ocompress.archive.decoding import unsigned
from ocompress.archive.grids import Grid, find_grid, find_products, refined
from ocompress.archive.nodes import CodecNode
from ocompress.archive.words import distinct_rows
from ocompress.coding.octets import MIXED, PLAIN

_ENTRIES = 1 << 15
"""Values that a palette may have."""
_FLOAT32 = 1
_PACKED_BITS = {21: 4, 22: 4, 23: 4, 25: 2, 26: 2}
_SIGNED = {3, 5, 6, 7, 22, 26}
_INTEGER = {2, 3, 4, 5, 6, 7, 9, 12, 13}
_GROUPS = (32, 64, 128, 256, 16)
"""Columns of a block that are tried."""
_WORTH = 64
"""Bytes below which only the plainest forms are tried."""
_TWICE = 32
"""Elements to a value from which on a palette needs no rival."""
_SEARCHED = 1 << 18
"""Elements up to which repetitions of several are looked for."""
_BLOCK_SIZES = (16, 8, 5, 4, 3, 2)
"""Elements of a block that are tried, beside those of a slice of a kernel."""
_LONGEST_BLOCK = 64


def shortest(content: bytes, width: int, plan: PieceFacts) -> CodecNode:
    """Return the shortest form of a piece.

    Args:
        content: Its bytes.
        width: Bytes of an element.
        plan: What else is known.
    """
    elements = np.frombuffer(content, unsigned(width))
    found = [*_forms(elements, plan)]
    return min(found, key=length)


def changed(
    content: bytes, width: int, plan: PieceFacts, old: bytes, where: tuple[int, int]
) -> CodecNode:
    """Return the shortest form of a piece that another archive has in a similar form.

    Args:
        content: As for `shortest`.
        width: As for `shortest`.
        plan: As for `shortest`.
        old: As many bytes of the other archive.
        where: The file in which they are there, and where they begin.
    """
    steps = np.frombuffer(content, unsigned(width)) - np.frombuffer(old, unsigned(width))
    plan_of_steps = plan if plan.dtype in _INTEGER else replace(plan, dtype=0)
    below = shortest(steps.tobytes(), width, plan_of_steps)
    new = CodecNode(n.BASE, len(steps), width, where, (below,))
    return min((new, shortest(content, width, plan)), key=length)


def _forms(elements: np.ndarray, plan: PieceFacts) -> Iterator[CodecNode]:
    width = elements.dtype.itemsize
    yield stored(elements)
    if len(elements) > 1 and (elements == elements[0]).all():
        yield CodecNode(n.CONSTANT, len(elements), width, below=(stored(elements[:1]),))
        return
    if elements.nbytes < _WORTH:
        yield octets(elements, PLAIN)
        return
    bits = _PACKED_BITS.get(plan.dtype)
    if bits and width == 1:
        yield from _packed(elements, bits, plan)
        plan = PieceFacts(plan.dtype)
    found = [*(_as_integers if plan.dtype in _INTEGER else _as_numbers)(elements, plan)]
    yield from found
    if not found or len(elements) <= FEW:
        yield from split(elements, plan)


def _signed(elements: np.ndarray, is_signed: bool) -> np.ndarray:
    typed = elements.view(f"<i{elements.itemsize}") if is_signed else elements
    large = typed.dtype.itemsize == 8 and not is_signed and (typed >> 63).any()
    return np.zeros(0, np.int64) if large else typed.astype(np.int64)


def _as_integers(elements: np.ndarray, plan: PieceFacts) -> Iterator[CodecNode]:
    width = elements.itemsize
    values = _signed(elements, plan.dtype in _SIGNED)
    if not len(values):
        return
    yield from coded(values, width, plan, center(values))
    if width == 8:
        steps = np.diff(values, prepend=0)
        for below in coded(steps, width, PieceFacts(columns=1), 0):
            yield CodecNode(n.DELTA, len(values), width, below=(below,))


def _packed(elements: np.ndarray, bits: int, plan: PieceFacts) -> Iterator[CodecNode]:
    parts = np.stack([(elements >> (bits * i)) & ((1 << bits) - 1) for i in range(8 // bits)], 1)
    values = parts.reshape(-1).astype(np.int64)
    if plan.dtype in _SIGNED:
        values -= (values >> (bits - 1)) << bits
    columns = plan.columns if len(values) % plan.columns == 0 else 1
    for below in coded(values, 1, PieceFacts(columns=columns, inner=plan.inner), center(values)):
        yield CodecNode(n.PACKED, len(elements), 1, (bits,), (below,))


def _as_numbers(elements: np.ndarray, plan: PieceFacts) -> Iterator[CodecNode]:
    """Yield forms of floats, and of anything whose bits alone count: the first kind that fits."""
    if plan.dtype == _FLOAT32:
        found = [*_grids(elements, plan)]
        yield from found
        if found:
            return
    distinct, indices = np.unique(elements, return_inverse=True)
    if len(distinct) <= min(_ENTRIES, len(elements) // 2):
        yield from _palette(distinct, indices, plan)
        yield from _blocks(indices, distinct, plan, _plainly)
        yield from _turned_blocks(indices, distinct, plan, _plainly)
        if len(distinct) < len(elements) // _TWICE:
            return
    if len(distinct) < len(elements) // 2 and len(elements) <= _SEARCHED:
        yield octets(elements, MIXED)
    zeros = np.count_nonzero(elements == 0)
    if zeros > len(elements) // 20 and len(distinct) > 2:
        yield from _mask(elements, plan)


def _grids(elements: np.ndarray, plan: PieceFacts) -> Iterator[CodecNode]:
    matrix = elements.view("<f4").reshape(-1, plan.columns)
    yield from _waves(matrix)
    products = find_products(matrix)
    if products is not None:
        yield from _gridded(products, plan)
    for rows_each, columns_each in _partitions(matrix, plan):
        grid = find_grid(matrix, rows_each, columns_each)
        if grid is not None:
            yield from _gridded(refined(grid, matrix) or grid, plan)
            return


def _partitions(matrix: np.ndarray, plan: PieceFacts) -> Iterator[tuple[int, int]]:
    """Yield blocks to try, the largest first."""
    rows, columns = matrix.shape
    yield rows, columns
    if rows > 1:
        yield 1, columns
    if columns > 1:
        yield rows, 1
    if 1 < plan.inner < columns:
        yield rows, plan.inner
    for size in _GROUPS:
        if size < columns:
            yield 1, size
    for size in _GROUPS:
        if size < rows:
            yield size, 1


def _gridded(grid: Grid, plan: PieceFacts) -> Iterator[CodecNode]:
    width, second = grid.scales.itemsize, grid.columns is not None
    lists = (grid.scales,) if grid.columns is None else (grid.scales, grid.columns)
    below = [min(_plainly(scales.view(unsigned(width))), key=length) for scales in lists]
    settings = (plan.columns, grid.rows_each, grid.columns_each, int(second), width)
    flat = grid.levels.reshape(-1)
    for levels in (*coded(flat.astype(np.int64), 4, plan, 0), *_in_words(flat, plan)):
        yield CodecNode(n.GRID, grid.levels.size, 4, settings, (*below, levels))


def _in_words(levels: np.ndarray, plan: PieceFacts) -> Iterator[CodecNode]:
    """Yield the forms of integers that come as codewords, in rows or in columns of a matrix."""
    distinct, indices = np.unique(levels.view("<u4"), return_inverse=True)
    yield from _blocks(indices, distinct, plan, _wholly)
    yield from _turned_blocks(indices, distinct, plan, _wholly)


def _turned_blocks(
    indices: np.ndarray, distinct: np.ndarray, plan: PieceFacts, book_of: BookForms
) -> Iterator[CodecNode]:
    """Yield codewords that stand in columns of a matrix."""
    if 1 < plan.columns < len(indices) and plan.inner == 1:
        turned = indices.reshape(-1, plan.columns).T
        of_columns = replace(plan, columns=turned.shape[1])
        for below in _blocks(turned.reshape(-1), distinct, of_columns, book_of):
            width = distinct.itemsize
            yield CodecNode(n.TRANSPOSE, len(indices), width, (plan.columns,), (below,))


def _waves(matrix: np.ndarray) -> Iterator[CodecNode]:
    """Yield the forms of sums of cosines along rows, or along columns."""
    for turned in (False, True):
        rows = np.ascontiguousarray(matrix.T) if turned else matrix
        found = find_cosines(rows) if 1 < rows.shape[1] <= n.MOST_COLUMNS else None
        if found is None:
            continue
        scale = np.array([found.step], np.float32)
        scale = scale if scale[0] == found.step else np.array([found.step])
        plane = found.plane
        inner = plane.across if plane.apart == 1 else plane.apart
        settings = (rows.shape[1], plane.down, plane.across, plane.apart)
        grid = (matrix.shape[1], *matrix.shape, 0, scale.itemsize)
        flat, plan = found.levels.reshape(-1), PieceFacts(columns=rows.shape[1], inner=inner)
        for levels in coded(flat, 4, plan, 0):
            node = CodecNode(n.COSINES, flat.size, 4, settings, (levels,))
            if turned:
                node = CodecNode(n.TRANSPOSE, flat.size, 4, (matrix.shape[1],), (node,))
            below = (stored(scale.view(unsigned(scale.itemsize))), node)
            yield CodecNode(n.GRID, flat.size, 4, grid, below)


def _plainly(elements: np.ndarray) -> Iterator[CodecNode]:
    yield stored(elements)
    if elements.nbytes >= _WORTH:
        yield from split(elements, PieceFacts(_FLOAT32))
        yield octets(elements, MIXED)


def _wholly(elements: np.ndarray) -> Iterator[CodecNode]:
    """Yield forms of integers of 4 bytes, about whose order nothing is known."""
    yield from _plainly(elements)
    yield from coded(elements.view("<i4").astype(np.int64), 4, PieceFacts(), 0)


BookForms = Callable[[np.ndarray], Iterator[CodecNode]]
"""Yields the forms of the elements of codewords."""


def _palette(distinct: np.ndarray, indices: np.ndarray, plan: PieceFacts) -> Iterator[CodecNode]:
    ranks = _in_order(distinct)
    values = np.empty_like(distinct)
    values[ranks] = distinct
    book = min(_plainly(values), key=length)
    places = ranks[indices.reshape(-1)].astype(np.int64)
    for below in coded(places, 2, plan, center(places)):
        yield CodecNode(n.PALETTE, len(places), distinct.itemsize, (len(values),), (book, below))


def _in_order(distinct: np.ndarray) -> np.ndarray:
    """Return the rank of each value, bits of floats taken as such: near ones get near ranks."""
    width = distinct.itemsize
    sign = distinct >> (8 * width - 1)
    order = np.lexsort((np.where(sign, ~distinct, distinct), 1 - sign.astype(np.int8)))
    ranks = np.empty(len(distinct), np.int64)
    ranks[order] = np.arange(len(distinct))
    return ranks


def _mask(elements: np.ndarray, plan: PieceFacts) -> Iterator[CodecNode]:
    mask, kept = elements != 0, elements[elements != 0]
    rest = min((stored(kept), *split(kept, plan)), key=length)
    for below in coded(mask.astype(np.int64), 1, plan, 0):
        yield CodecNode(n.MASK, len(elements), elements.itemsize, (len(kept),), (below, rest))


def _blocks(
    indices: np.ndarray, distinct: np.ndarray, plan: PieceFacts, book_of: BookForms
) -> Iterator[CodecNode]:
    """Yield codewords of several elements that repeat, if they are few enough to pay."""
    for size in dict.fromkeys((plan.inner, *_BLOCK_SIZES)):
        if len(indices) % size or not 1 < size <= _LONGEST_BLOCK:
            continue
        most = min(_ENTRIES, len(indices) // size // 4)
        found = distinct_rows(indices.reshape(-1, size), len(distinct), most)
        if found is None:
            continue
        words, places = found
        book = min(book_of(distinct[words].reshape(-1)), key=length)
        columns = plan.columns // size if plan.columns % size == 0 else 1
        settings = (size, len(words))
        which_of = coded(places, 2, PieceFacts(columns=columns), center(places))
        for below in (*which_of, *split(places.astype("<u2"), PieceFacts())):
            yield CodecNode(n.BLOCKS, len(indices), distinct.itemsize, settings, (book, below))


__all__ = ["PieceFacts", "plain_bytes", "shortest", "stored"]

"""From codes back to elements: the reference for other decoders, in numpy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ocompress.archive import nodes as n
from ocompress.archive.cosines import Plane, summed
from ocompress.archive.nodes import CodecNode, fail
from ocompress.coding import decode_integers
from ocompress.coding.octets import decode_bytes

Below = list[np.ndarray]
Base = Callable[[int, int, int], bytes]
"""Returns bytes of another archive's files: which file, where they begin, how many."""
_UNSIGNED: dict[int, np.dtype[Any]] = {
    1: np.dtype("<u1"),
    2: np.dtype("<u2"),
    4: np.dtype("<u4"),
    8: np.dtype("<u8"),
}
_FLOATS: dict[int, np.dtype[Any]] = {4: np.dtype("<f4"), 8: np.dtype("<f8")}


def unsigned(width: int) -> np.dtype[Any]:
    """Return the type of elements of so many bytes, whose bits are all that counts."""
    return _UNSIGNED[width]


def decode(node: CodecNode, base: Base | None = None) -> np.ndarray:
    """Return the elements of a node, unsigned [count].

    Args:
        node: With its codes.
        base: Of the archive that this one is a change of, if it is one.

    Raises:
        InvalidModelError: If the codes contradict the settings.
    """
    below = [decode(child, base) for child in node.below]
    if node.codec == n.BASE:
        return _changed(node, below[0], base)
    return _DECODERS[node.codec](node, below)


def _stored(node: CodecNode, _: Below) -> np.ndarray:
    return np.frombuffer(node.code, unsigned(node.width))


def _octets(node: CodecNode, _: Below) -> np.ndarray:
    content = decode_bytes(node.code, node.count * node.width, node.settings[0])
    return np.frombuffer(content, unsigned(node.width))


def _split(node: CodecNode, below: Below) -> np.ndarray:
    planes = np.stack(below, axis=1)
    elements: np.ndarray = np.ascontiguousarray(planes).view(unsigned(node.width)).reshape(-1)
    if node.settings[0]:
        elements = (elements >> 1) | (elements << (8 * node.width - 1))
    return elements


def _integers(node: CodecNode, _: Below) -> np.ndarray:
    columns, inner, mixed, bias = node.settings[:4]
    shape = (node.count // columns, columns)
    values = decode_integers(node.code, shape, inner=inner, mixed=mixed)
    moved = values.reshape(-1).astype(np.int64) + ((bias >> 1) ^ -(bias & 1))
    return moved.astype(unsigned(node.width))


def _grid(node: CodecNode, below: Below) -> np.ndarray:
    columns, rows_each, columns_each, second, width = node.settings
    levels = below[-1].view(np.int32).reshape(-1, columns).astype(np.float64)
    scales = [array.view(_FLOATS[width]).astype(np.float64) for array in below[:-1]]
    rows = len(levels)
    blocks = scales[0].reshape(-(-rows // rows_each), -1)
    steps = np.repeat(np.repeat(blocks, rows_each, axis=0)[:rows], columns_each, axis=1)
    steps = steps[:, :columns]
    with np.errstate(all="ignore"):
        if second:
            steps = steps * scales[1]
        return (steps * levels).astype("<f4").reshape(-1).view(unsigned(4))


def _palette(_: CodecNode, below: Below) -> np.ndarray:
    values, indices = below
    if len(indices) and indices.max() >= len(values):
        fail("an index is outside its palette")
    return values[indices]


def _mask(node: CodecNode, below: Below) -> np.ndarray:
    mask, kept = below[0] != 0, below[1]
    if np.count_nonzero(mask) != len(kept):
        fail("a mask does not keep as many elements as there are")
    elements = np.zeros(node.count, unsigned(node.width))
    elements[mask] = kept
    return elements


def _constant(node: CodecNode, below: Below) -> np.ndarray:
    return np.repeat(below[0], node.count)


def _blocks(node: CodecNode, below: Below) -> np.ndarray:
    book, indices = below[0].reshape(-1, node.settings[0]), below[1]
    if len(indices) and indices.max() >= len(book):
        fail("an index is outside its codebook")
    return book[indices].reshape(-1)


def _packed(node: CodecNode, below: Below) -> np.ndarray:
    bits = node.settings[0]
    parts = below[0].reshape(-1, 8 // bits) & ((1 << bits) - 1)
    found = np.zeros(len(parts), np.uint8)
    for i in range(8 // bits):
        found |= parts[:, i] << (bits * i)
    return found


def _delta(node: CodecNode, below: Below) -> np.ndarray:
    return np.cumsum(below[0], dtype=unsigned(node.width))


def _transpose(node: CodecNode, below: Below) -> np.ndarray:
    return np.ascontiguousarray(below[0].reshape(node.settings[0], -1).T).reshape(-1)


def _cosines(node: CodecNode, below: Below) -> np.ndarray:
    columns, *plane = node.settings
    coefficients = below[0].view(np.int32).reshape(-1, columns).astype(np.int64)
    return summed(coefficients, Plane(*plane)).reshape(-1).astype(np.uint32)


def _changed(node: CodecNode, steps: np.ndarray, base: Base | None) -> np.ndarray:
    if base is None:
        fail("it is a change of another archive, but does not say of which")
    old = base(node.settings[0], node.settings[1], node.count * node.width)
    found: np.ndarray = steps + np.frombuffer(old, unsigned(node.width))
    return found


_DECODERS: dict[int, Callable[[CodecNode, Below], np.ndarray]] = {
    n.STORED: _stored,
    n.OCTETS: _octets,
    n.SPLIT: _split,
    n.INTEGERS: _integers,
    n.GRID: _grid,
    n.PALETTE: _palette,
    n.MASK: _mask,
    n.CONSTANT: _constant,
    n.BLOCKS: _blocks,
    n.PACKED: _packed,
    n.DELTA: _delta,
    n.TRANSPOSE: _transpose,
    n.COSINES: _cosines,
}

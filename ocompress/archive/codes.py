"""Codes of elements: bytes as they are or coded, by place, and integers in rows or columns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ocompress.archive import nodes as n
from ocompress.archive.nodes import CodecNode
from ocompress.coding import encode_integers
from ocompress.coding.integers import LARGEST, steps_that_mix
from ocompress.coding.octets import AFTER, MIXED, PLAIN, encode_bytes

_FLOATS = {1, 10, 11, 16}
_SAMPLE, _GAIN = 1 << 14, 0.995
"""Bytes that tell how many more are coded, and the share of them at which coding pays."""
FEW = 4096
"""Elements that may be better off without columns, about which there is little to learn."""


@dataclass(frozen=True)
class PieceFacts:
    """What is known of a piece beside its bytes.

    Attributes:
        dtype: ONNX's number of the element type, 0 if unknown.
        columns: Columns of the piece as a matrix.
        inner: Columns of one kernel.
    """

    dtype: int = 0
    columns: int = 1
    inner: int = 1


def length(node: CodecNode) -> int:
    """Return the bytes that a form takes, those in the index included."""
    return node.total + len(n.written(node))


def stored(elements: np.ndarray) -> CodecNode:
    """Return elements as they are."""
    content = elements.tobytes()
    return CodecNode(n.STORED, len(elements), elements.itemsize, code=content, size=len(content))


def octets(elements: np.ndarray, model: int) -> CodecNode:
    """Return the bytes of elements, coded."""
    code = encode_bytes(elements.tobytes(), model)
    settings = (model, len(code))
    return CodecNode(
        n.OCTETS, len(elements), elements.itemsize, settings, code=code, size=len(code)
    )


def plain_bytes(content: bytes, models: tuple[int, ...] = (PLAIN, AFTER, MIXED)) -> CodecNode:
    """Return a short form of bytes about which nothing is known; a part of many tells which."""
    elements = np.frombuffer(content, np.uint8)
    if len(elements) > 2 * _SAMPLE:
        middle = len(elements) // 2
        part = elements[middle : middle + _SAMPLE]
        best = min((octets(part, model) for model in models), key=length)
        if length(best) > _SAMPLE * _GAIN:
            return stored(elements)
        models = (best.settings[0],)
    return min((stored(elements), *(octets(elements, m) for m in models)), key=length)


def split(elements: np.ndarray, plan: PieceFacts) -> Iterator[CodecNode]:
    """Yield the bytes of all elements by place, the sign moved behind a float's exponent."""
    width = elements.itemsize
    if width == 1:
        yield plain_bytes(elements.tobytes(), (PLAIN, AFTER))
        return
    rotated = int(plan.dtype in _FLOATS)
    turned = (elements << 1) | (elements >> (8 * width - 1)) if rotated else elements
    planes = np.ascontiguousarray(turned).view(np.uint8).reshape(-1, width)
    below = tuple(plain_bytes(planes[:, i].tobytes(), (PLAIN, AFTER)) for i in range(width))
    yield CodecNode(n.SPLIT, len(elements), width, (rotated,), below)


def center(values: np.ndarray) -> int:
    """Return the most frequent integer of a small range, [n], which codes best as zero."""
    least, most = int(values.min()), int(values.max())
    if most - least > 1 << 16:
        return 0
    return least + int(np.bincount(values - least).argmax())


def coded(values: np.ndarray, width: int, plan: PieceFacts, bias: int) -> Iterator[CodecNode]:
    """Yield the integers, [n], coded in rows, and in columns if the plan is a matrix's."""
    moved = values - bias
    if max(int(moved.max()), -int(moved.min())) > LARGEST:
        return
    rows = len(values) // plan.columns
    yield _integers(moved.reshape(rows, plan.columns), width, plan.inner, bias)
    if len(values) <= FEW and plan.columns > 1:
        yield _integers(moved.reshape(-1, 1), width, 1, bias)
    if plan.columns > 1 and 1 < rows <= n.MOST_COLUMNS:
        turned = np.ascontiguousarray(moved.reshape(rows, plan.columns).T)
        below = _integers(turned, width, 1, bias)
        yield CodecNode(n.TRANSPOSE, len(values), width, (plan.columns,), (below,))


def _integers(matrix: np.ndarray, width: int, inner: int, bias: int) -> CodecNode:
    mixed = steps_that_mix(matrix)
    code = encode_integers(matrix, inner=inner, mixed=mixed)
    zigzag = bias * 2 if bias >= 0 else -bias * 2 - 1
    settings = (matrix.shape[1], inner, mixed, zigzag, len(code))
    return CodecNode(n.INTEGERS, matrix.size, width, settings, code=code, size=len(code))

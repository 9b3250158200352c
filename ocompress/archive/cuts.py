"""Where files are cut: contents of tensors become pieces, everything else stays as it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import prod

from ocompress.archive.forms import PieceFacts
from ocompress.archive.nodes import MOST_COLUMNS
from ocompress.archive.wire import StoredTensor

_LEAST = 96
"""Bytes below which a tensor stays among the rest."""
_MOST = 1 << 22
"""Bytes of a piece; larger tensors are cut at rows, so that memory stays bounded."""
_WIDTHS = {
    1: 4, 4: 2, 5: 2, 6: 4, 7: 8, 10: 2, 11: 8, 12: 4, 13: 8, 14: 4, 15: 8, 16: 2,
}  # fmt: skip
"""Bytes of an element by ONNX's number of its type, where they are not 1."""
_PACKED = {21: 2, 22: 2, 23: 2, 25: 4, 26: 4}


@dataclass(frozen=True)
class TensorBytes:
    """A piece of a file, to be coded by itself.

    Attributes:
        offset: Where it begins.
        size: Its bytes.
        width: Bytes of an element.
        plan: What is known of it.
        tensor: The tensor that it is of, and where it begins in that.
    """

    offset: int
    size: int
    width: int
    plan: PieceFacts
    tensor: tuple[str, int] = ("", 0)


def inside(tensors: Iterable[StoredTensor]) -> list[TensorBytes]:
    """Return the pieces that tensors of a model file hold themselves."""
    spans = ((start, size, t) for t in tensors for start, size in t.spans)
    return _apart(spans)


def outside(tensors: Iterable[StoredTensor], location: str, size: int) -> list[TensorBytes]:
    """Return the pieces of an external data file of so many bytes."""
    spans = []
    for tensor in tensors:
        if tensor.is_external and tensor.external.get("location") == location:
            offset, length = tensor.place(size)
            if offset + length <= size:
                spans.append((offset, length, tensor))
    return _apart(spans)


def _apart(spans: Iterable[tuple[int, int, StoredTensor]]) -> list[TensorBytes]:
    """Return pieces that do not overlap, in order."""
    found: list[TensorBytes] = []
    end = 0
    for start, size, tensor in sorted(spans, key=lambda s: s[:2]):
        if start >= end and size >= _LEAST:
            found += _pieces(start, size, tensor)
            end = start + size
    return found


def _pieces(start: int, size: int, tensor: StoredTensor) -> Iterator[TensorBytes]:
    width = _WIDTHS.get(tensor.dtype, 1)
    if size % width:
        tensor, width = StoredTensor(tensor.name), 1  # whatever these bytes are
    plan = _plan(tensor, size // width)
    row = plan.columns * width // _PACKED.get(tensor.dtype, 1)
    step = max(_MOST // row, 1) * row if 0 < row <= _MOST else _MOST
    for at in range(start, start + size, step):
        part = min(step, start + size - at)
        fits = row > 0 and part % row == 0
        of = (tensor.name, at - start)
        yield TensorBytes(at, part, width, plan if fits else PieceFacts(plan.dtype), of)


def _plan(tensor: StoredTensor, stored: int) -> PieceFacts:
    dims, elements = tensor.dims, stored * _PACKED.get(tensor.dtype, 1)
    if len(dims) < 2 or prod(dims) != elements or not elements:
        return PieceFacts(tensor.dtype)
    columns = elements // dims[0]
    if columns > MOST_COLUMNS:
        return PieceFacts(tensor.dtype)
    return PieceFacts(tensor.dtype, columns=columns, inner=prod(dims[2:]))

"""Where the tensors of an ONNX file lie in its bytes, found without parsing it into objects.

Nothing is written again from what was understood: a field that is unknown, out of order or
malformed is skipped over, and stays in the file as it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from ocompress.errors import InvalidModelError

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LONGEST_VARINT = 10
_DEEPEST = 60
"""Levels of nested messages that are looked into; protobuf itself stops at 100."""
_NOT_ONNX = "it does not parse as an ONNX model"

_WITHIN: dict[str, dict[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
}
_DIMS, _TYPE, _FLOATS, _NAME, _RAW, _DOUBLES, _ENTRY, _LOCATION = 1, 2, 4, 8, 9, 10, 13, 14
_IR_VERSION, _GRAPH = 1, 7
_DIGITS = 20
"""Of a number that no file reaches."""


@dataclass
class StoredTensor:
    """A tensor of a file.

    Attributes:
        name: Its name, as far as it is text.
        dtype: Number of its element type in ONNX.
        dims: Its shape.
        spans: Offset and bytes of its content within the file, [offset, size].
        external: Entries of its external data, if it has any.
    """

    name: str = ""
    dtype: int = 0
    dims: list[int] = field(default_factory=list)
    spans: list[tuple[int, int]] = field(default_factory=list)
    external: dict[str, str] = field(default_factory=dict)
    is_external: bool = False

    def place(self, size: int) -> tuple[int, int]:
        """Return offset and bytes of its content in an external file of so many bytes.

        What is no number counts as zero; without a length it is all that follows.
        """
        offset = _number(self.external.get("offset", "0"))
        return offset, _number(self.external.get("length", str(size - offset)))


def stored_tensors(content: memoryview) -> list[StoredTensor]:
    """Return the tensors of an ONNX file in the order of their bytes.

    Raises:
        InvalidModelError: If it is no ONNX model, or is cut off.
    """
    seen, found = set(), []
    for number, kind, start, end in _fields(content, 0, len(content)):
        seen.add(number)
        within = _WITHIN["model"].get(number)
        if within and kind == _BYTES:
            found += _tensors(content, within, start, end, 1)
    if not {_IR_VERSION, _GRAPH} <= seen:
        msg = "it holds no graph or no IR version"
        raise InvalidModelError(msg)
    return found


def _tensors(
    content: memoryview, message: str, start: int, end: int, depth: int
) -> list[StoredTensor]:
    if message == "tensor":
        return [_tensor(content, start, end)]
    found: list[StoredTensor] = []
    if depth > _DEEPEST:
        return found
    for number, kind, begin, stop in _fields(content, start, end):
        within = _WITHIN[message].get(number)
        if within and kind == _BYTES:
            found += _tensors(content, within, begin, stop, depth + 1)
    return found


def _tensor(content: memoryview, start: int, end: int) -> StoredTensor:
    tensor = StoredTensor()
    for number, kind, begin, stop in _fields(content, start, end):
        if kind == _VARINT:
            _note_number(tensor, number, _varint(content, begin, stop)[0])
        elif kind == _BYTES and number == _DIMS:
            tensor.dims += list(_varints(content, begin, stop))
        elif kind == _BYTES and number in (_RAW, _FLOATS, _DOUBLES) and stop > begin:
            tensor.spans.append((begin, stop - begin))
        elif kind == _BYTES and number == _NAME:
            tensor.name = _text(content, begin, stop)
        elif kind == _BYTES and number == _ENTRY:
            entry = {n: _text(content, b, s) for n, _, b, s in _fields(content, begin, stop)}
            tensor.external[entry.get(1, "")] = entry.get(2, "")
    return tensor


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < _DIGITS else 0


def _note_number(tensor: StoredTensor, number: int, value: int) -> None:
    if number == _DIMS:
        tensor.dims.append(value)
    elif number == _TYPE:
        tensor.dtype = value
    elif number == _LOCATION:
        tensor.is_external = value == 1


def _fields(content: memoryview, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield number, wire type, and where the content begins and ends, of each field."""
    at = start
    while at < end:
        key, at = _varint(content, at, end)
        number, kind = key >> 3, key & 7
        begin = at
        if kind == _VARINT:
            _, at = _varint(content, at, end)
        elif kind == _FIXED64:
            at += 8
        elif kind == _FIXED32:
            at += 4
        elif kind == _BYTES:
            size, begin = _varint(content, at, end)
            at = begin + size
        else:
            raise InvalidModelError(_NOT_ONNX)
        if at > end or number == 0:
            raise InvalidModelError(_NOT_ONNX)
        yield number, kind, begin, at


def _varint(content: memoryview, at: int, end: int) -> tuple[int, int]:
    value = 0
    for i in range(_LONGEST_VARINT):
        if at + i >= end:
            break
        byte = content[at + i]
        value |= (byte & 0x7F) << (7 * i)
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at + i + 1
    raise InvalidModelError(_NOT_ONNX)


def _varints(content: memoryview, at: int, end: int) -> Iterator[int]:
    while at < end:
        value, at = _varint(content, at, end)
        yield value


def _text(content: memoryview, start: int, end: int) -> str:
    return bytes(content[start:end]).decode("utf-8", "surrogateescape")

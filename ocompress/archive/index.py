"""Reading the index of an archive: which files it holds, and where their codes lie."""

from __future__ import annotations

import zlib
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from pathlib import Path

from ocompress.archive import nodes as n
from ocompress.archive.nodes import OCTETS_EACH, CodecNode, Numbers, fail
from ocompress.archive.writer import CHUNK, END, MAGIC, VERSION
from ocompress.coding.octets import decode_bytes
from ocompress.errors import InvalidModelError, UnsupportedModelError

_TAIL = 20
_LARGEST_INDEX = 1 << 26
_LARGEST_FILE = 1 << 44
_MOST_PER_BYTE = 1 << 20
"""Bytes that one byte of an archive may stand for, beside the first 16 MiB."""
_INDEX_EACH, _NODES_EACH, _SMALL = 64, 4, 1 << 16
"""Bytes of the index, and nodes in it, for each byte of an archive, beside the first `_SMALL`."""


@dataclass(frozen=True)
class Piece:
    """A coded piece.

    Attributes:
        offset: Where it belongs in its file.
        size: Bytes that it stands for.
        node: Its codecs.
        at: Where its codes begin in the archive.
        check: CRC-32 of these.
    """

    offset: int
    size: int
    node: CodecNode
    at: int
    check: int


@dataclass(frozen=True)
class PackedFile:
    """A file of an archive.

    Attributes:
        name: Its name.
        size: Its bytes.
        digest: Its SHA-256.
        pieces: In order.
        rest_at: Where what is not in pieces begins among the rest of all files.
        covered: Bytes of all pieces before each, and of all.
    """

    name: str
    size: int
    digest: bytes
    pieces: tuple[Piece, ...]
    rest_at: int
    covered: tuple[int, ...]

    def within(self, start: int, end: int) -> slice:
        """Return which pieces have bytes from `start` up to `end`."""
        first = bisect_right(self.pieces, start, key=lambda p: p.offset + p.size)
        return slice(first, max(first, bisect_left(self.pieces, end, key=lambda p: p.offset)))


def is_archive(path: Path) -> bool:
    """Whether a file begins as archives do."""
    try:
        with path.open("rb") as stream:
            return stream.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


class Index:
    """What an archive holds.

    Attributes:
        chunks: Pieces of what is in no file's pieces, of all files together.
        files: The files, the model first.
        base: SHA-256 of the model of the archive that this one is a change of, None if of none.
    """

    def __init__(self, content: memoryview) -> None:
        """Read it.

        Raises:
            InvalidModelError: If it makes no sense.
            UnsupportedModelError: If a newer version wrote it.
        """
        index, self._end = _raw_index(content)
        numbers = Numbers(index, _SMALL + _NODES_EACH * len(content))
        version = numbers.next()
        if version != VERSION:
            msg = f"it has version {version} of the format, this build reads version {VERSION}"
            raise UnsupportedModelError(msg)
        self.base = numbers.bytes(32) if numbers.next(1) else None
        self._at = len(MAGIC)
        total = numbers.next()
        limit = (1 << 24) + _MOST_PER_BYTE * len(content)
        if total > limit:
            fail("its files are absurdly large")
        starts = range(0, total, CHUNK)
        if len(starts) * 5 > len(index):
            fail("its index is cut off")
        self.chunks = tuple(self._piece(numbers, at, min(CHUNK, total - at), 1) for at in starts)
        count, rest, files = numbers.next(len(index)), 0, []
        for _ in range(count):
            file = self._file(numbers, rest, limit)
            rest += file.size - file.covered[-1]
            limit -= file.size
            files.append(file)
        numbers.end()
        if rest != total or self._at != self._end or not files:
            fail("sizes in its index do not add up")
        self.files = tuple(files)

    def _file(self, numbers: Numbers, rest: int, limit: int) -> PackedFile:
        name = numbers.bytes(numbers.next(4096)).decode("utf-8", "surrogateescape")
        if not name or name in (".", "..") or set(name) & set("/\\\0"):
            fail(f"{name!r} is no name of a file")
        size, digest = numbers.next(_LARGEST_FILE), numbers.bytes(32)
        if size > limit:
            fail("its files are absurdly large")
        at, pieces, covered = 0, [], [0]
        for _ in range(numbers.next(_LARGEST_INDEX)):
            at += numbers.next(_LARGEST_FILE)
            part, width = numbers.next(n.LARGEST_PIECE), numbers.next()
            if width not in n.WIDTHS or not part or part % width or at + part > size:
                fail(f"a piece of {name!r} does not fit it")
            pieces.append(self._piece(numbers, at, part, width))
            covered.append(covered[-1] + part)
            at += part
        return PackedFile(name, size, digest, tuple(pieces), rest, tuple(covered))

    def _piece(self, numbers: Numbers, offset: int, size: int, width: int) -> Piece:
        node = n.read(numbers, size // width, width)
        check = int.from_bytes(numbers.bytes(4), "little")
        piece = Piece(offset, size, node, self._at, check)
        self._at += node.total
        if self._at > self._end:
            fail("codes go on after the end of the archive")
        return piece


def _raw_index(content: memoryview) -> tuple[bytes, int]:
    """Return the index and where it begins."""
    if bytes(content[: len(MAGIC)]) != MAGIC:
        msg = "it is no archive of ocompress"
        raise InvalidModelError(msg)
    if len(content) < len(MAGIC) + _TAIL or bytes(content[-len(END) :]) != END:
        fail("it is cut off")
    tail = content[-_TAIL:]
    size, raw, model, check = (int.from_bytes(tail[i : i + 4], "little") for i in (0, 4, 8, 12))
    begin = len(content) - _TAIL - size
    if begin < len(MAGIC):
        fail("its index is larger than the file")
    code = content[begin : len(content) - _TAIL]
    if zlib.crc32(bytes(code) + bytes(tail[:12])) != check:
        fail("its index does not have the checksum that it had")
    if raw > min(_LARGEST_INDEX, _SMALL + _INDEX_EACH * len(content)) or model > len(OCTETS_EACH):
        fail("its index is absurdly large")
    if model:
        if raw > OCTETS_EACH[model - 1] * size:
            fail(f"{size} bytes are no code of an index of {raw}")
        return decode_bytes(bytes(code), raw, model - 1), begin
    if raw != size:
        fail("its index has two sizes")
    return bytes(code), begin

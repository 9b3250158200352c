"""Writing an archive: what is no tensor first, then piece after piece, then the index."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from ocompress.archive import nodes
from ocompress.archive.cuts import TensorBytes
from ocompress.archive.forms import changed, plain_bytes, shortest
from ocompress.archive.nodes import CodecNode
from ocompress.coding.varint import varint

MAGIC = b"\x89OCZ\r\n\x1a\n"
END = b"OCZ\x01"
VERSION = 1
CHUNK = 1 << 22
"""Bytes that are coded together of what is no tensor."""
LARGE = 1 << 18
"""Bytes from which on it is worth to let go of what was read."""


@dataclass(frozen=True)
class SourceFile:
    """A file to pack.

    Attributes:
        name: Its name without folders.
        content: Its bytes.
        cuts: Its pieces, in order and apart from each other.
        release: Lets go of the memory that a mapped file takes; it is read again when needed.
    """

    name: str
    content: memoryview
    cuts: Sequence[TensorBytes]
    release: Callable[[], None] = lambda: None

    def read(self, at: int, size: int) -> bytes:
        """Return bytes, and let go of where they were read from."""
        found = bytes(self.content[at : at + size])
        if size >= LARGE:
            self.release()
        return found

    def digest(self) -> bytes:
        """Return the SHA-256 of the file."""
        found = hashlib.sha256()
        for at in range(0, len(self.content), CHUNK):
            found.update(self.read(at, CHUNK))
        return found.digest()


@dataclass(frozen=True)
class OldTensors:
    """What an archive is a change of.

    Attributes:
        digest: SHA-256 of its model.
        places: File and offset of the content of each tensor, and its bytes.
        read: Returns bytes of a file.
    """

    digest: bytes
    places: dict[str, tuple[int, int, int]]
    read: Callable[[int, int, int], bytes]

    def of(self, cut: TensorBytes) -> tuple[bytes, tuple[int, int]] | None:
        """Return what a piece was, and where that is, if a tensor of its name had as many bytes."""
        name, at = cut.tensor
        file, offset, size = self.places.get(name, (0, 0, 0))
        if not name or at + cut.size > size:
            return None
        return self.read(file, offset + at, cut.size), (file, offset + at)


def write_archive(
    stream: BinaryIO, sources: Sequence[SourceFile], base: OldTensors | None = None
) -> None:
    """Write an archive of files; the bytes depend on the files and their cuts only.

    Args:
        stream: Where, from its beginning.
        sources: The model file, then external data files.
        base: Another archive, whose tensors are taken for what they have in common.
    """
    stream.write(MAGIC)
    index = [varint(VERSION), varint(int(base is not None)), base.digest if base else b""]
    index += _write_rest(stream, sources)
    index.append(varint(len(sources)))
    for source in sources:
        index += _write_file(stream, source, base)
    stream.write(trailer(b"".join(index)))


def trailer(index: bytes) -> bytes:
    """Return the end of an archive: the coded index, and what finds and proves it."""
    node = plain_bytes(index)
    model = 0 if node.codec == nodes.STORED else node.settings[0] + 1
    fixed = b"".join(part.to_bytes(4, "little") for part in (len(node.code), len(index), model))
    check = zlib.crc32(node.code + fixed).to_bytes(4, "little")
    return node.code + fixed + check + END


def gaps(source: SourceFile) -> Iterator[memoryview]:
    """Yield what lies before, between and after the pieces of a file."""
    at = 0
    for cut in source.cuts:
        yield source.content[at : cut.offset]
        at = cut.offset + cut.size
    yield source.content[at:]


def _write_rest(stream: BinaryIO, sources: Sequence[SourceFile]) -> list[bytes]:
    total = sum(len(gap) for source in sources for gap in gaps(source))
    index = [varint(total)]
    index += [_write_node(stream, plain_bytes(chunk)) for chunk in _chunks(sources)]
    return index


def _chunks(sources: Sequence[SourceFile]) -> Iterator[bytes]:
    kept = bytearray()
    for source in sources:
        for gap in gaps(source):
            for at in range(0, len(gap), CHUNK):
                kept += gap[at : at + CHUNK]
                if len(kept) >= CHUNK:
                    yield bytes(kept[:CHUNK])
                    del kept[:CHUNK]
    if kept:
        yield bytes(kept)


def _write_file(stream: BinaryIO, source: SourceFile, base: OldTensors | None) -> list[bytes]:
    name = source.name.encode("utf-8", "surrogateescape")
    index = [varint(len(name)), name, varint(len(source.content)), source.digest()]
    index.append(varint(len(source.cuts)))
    at = 0
    for cut in source.cuts:
        content = source.read(cut.offset, cut.size)
        index += [varint(cut.offset - at), varint(cut.size), varint(cut.width)]
        old = base.of(cut) if base else None
        node = (
            changed(content, cut.width, cut.plan, *old)
            if old
            else shortest(content, cut.width, cut.plan)
        )
        index.append(_write_node(stream, node))
        at = cut.offset + cut.size
    return index


def _write_node(stream: BinaryIO, node: CodecNode) -> bytes:
    """Write the codes of a tree and return what the index says of it."""
    check = 0
    for leaf in node.leaves():
        stream.write(leaf.code)
        check = zlib.crc32(leaf.code, check)
    return nodes.written(node) + check.to_bytes(4, "little")

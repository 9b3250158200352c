"""Reading archives: the index first, then any piece by itself."""

from __future__ import annotations

import contextlib
import hashlib
import mmap
import os
import zlib
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Protocol

from ocompress.archive import nodes as n
from ocompress.archive.decoding import decode
from ocompress.archive.index import Index, PackedFile, Piece
from ocompress.archive.nodes import CodecNode, fail
from ocompress.archive.wire import StoredTensor, stored_tensors
from ocompress.archive.writer import CHUNK, LARGE, OldTensors
from ocompress.errors import InvalidModelError, UnsupportedModelError, UsageError

_UNUSABLE = " cannot be used: "
_UNASKED, _UNASKED_EACH = 1 << 30, 256
"""Bytes that files of an archive may have in all unless more are allowed: so many, or so many for
each byte of the archive, whichever is more."""


class Sink(Protocol):
    """What takes the bytes of a file, one part after the other."""

    def write(self, part: bytes, /) -> object:
        """Take a part."""
        ...


class Archive:
    """An archive that is open for reading; its files come first the model, then external data."""

    def __init__(
        self, path: Path, base: Archive | None = None, *, most: float | None = None
    ) -> None:
        """Read the index.

        Args:
            path: The archive.
            base: The one that it is a change of, if it is one.
            most: Bytes that its files may have in all; None is 1 GiB, or 256 times the archive.

        Raises:
            UsageError: If the file cannot be read, or is a change of another archive.
            InvalidModelError: If it is no archive, or is damaged.
            UnsupportedModelError: If a newer version wrote it, or its files are larger.
        """
        self.path = path
        try:
            with path.open("rb") as stream:
                self._map = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as error:
            msg = f"archive {str(path)!r} cannot be read: {error.strerror}"
            raise UsageError(msg) from error
        except ValueError as error:
            msg = f"{str(path)!r} is no archive: the file is empty"
            raise InvalidModelError(msg) from error
        self.content = memoryview(self._map)
        self._held: tuple[int, bytes] = (-1, b"")
        self._changed: tuple[int, bytes] = (-1, b"")
        with _naming(path):
            index = Index(self.content)
        self.chunks, self.files = index.chunks, index.files
        if index.base is not None and (base is None or base.files[0].digest != index.base):
            has = "is needed to read it" if base is None else "is another one than was named"
            how = "ocompress unpack ARCHIVE MODEL --base OTHER"
            msg = f"{str(path)!r} is a change of another archive, which {has}: {how}"
            raise UsageError(msg)
        self._base = base if index.base is not None else None
        self._check_size(max(_UNASKED, _UNASKED_EACH * len(self.content)) if most is None else most)

    @property
    def size(self) -> int:
        """Bytes of its files."""
        return sum(file.size for file in self.files)

    def _check_size(self, most: float) -> None:
        if self.size > most:
            msg = (
                f"{str(self.path)!r} holds {self.size:,} bytes, more than the {most:,.0f} that are "
                f"allowed; if you trust it, unpack it with ocompress unpack --max-size"
                f" {-(-self.size // 1_000_000)}MB"
            )
            raise UnsupportedModelError(msg)

    def write_file(self, file: PackedFile, stream: Sink) -> None:
        """Write one of the files; memory holds one piece at a time.

        Raises:
            InvalidModelError: If the archive is damaged.
        """
        digest = hashlib.sha256()
        with _naming(self.path):
            for content in self._contents(file):
                digest.update(content)
                stream.write(content)
            if digest.digest() != file.digest:
                fail(f"{file.name!r} does not have the checksum that it had")

    def check_file(self, file: PackedFile) -> None:
        """Check that one of the files comes back as it was.

        Raises:
            InvalidModelError: If it does not.
        """
        with Path(os.devnull).open("wb") as nowhere:
            self.write_file(file, nowhere)

    @cached_property
    def tensors(self) -> list[tuple[StoredTensor, list[Piece]]]:
        """The tensors of the model that are in pieces, with these, without decoding any."""
        with _naming(self.path):
            model = self.files[0]
            content = mmap.mmap(-1, max(model.size, 1))
            for at, part in self._gaps(model):
                content[at : at + len(part)] = part
            with memoryview(content) as view:
                return list(self._pieces_of(stored_tensors(view[: model.size])))

    def tensor(self, name: str) -> bytes:
        """Return the bytes of one tensor; no other one is decoded.

        Raises:
            KeyError: If no tensor of that name is in pieces.
            InvalidModelError: If the archive is damaged.
        """
        with _naming(self.path):
            for stored, pieces in self.tensors:
                if stored.name == name:
                    return b"".join(self.piece(piece) for piece in pieces)
        raise KeyError(name)

    def piece(self, piece: Piece) -> bytes:
        """Return the bytes that a piece stands for.

        Raises:
            InvalidModelError: If it is damaged.
        """
        codes = self.content[piece.at : piece.at + piece.node.total]
        if zlib.crc32(codes) != piece.check:
            fail(f"the codes at byte {piece.at} do not have the checksum that they had")
        base = self._base.read if self._base is not None else None
        made = decode(_filled(piece.node, _codes_of(codes, piece.node)), base).tobytes()
        if len(codes) >= LARGE and hasattr(self._map, "madvise"):
            self._map.madvise(mmap.MADV_DONTNEED)  # it is read again when needed
        return made

    def read(self, which: int, start: int, size: int) -> bytes:
        """Return bytes of a file, by its number.

        Raises:
            InvalidModelError: If the file has none there, or the archive is damaged.
        """
        with _naming(self.path):
            return self._read(which, start, size)

    def _read(self, which: int, start: int, size: int) -> bytes:
        if which >= len(self.files) or start + size > self.files[which].size:
            fail("it is a change of bytes that the other archive does not have")
        file, parts, at = self.files[which], [], start
        covers = file.within(start, start + size)
        for piece, before in zip(file.pieces[covers], file.covered[covers], strict=True):
            if piece.offset > at:
                parts.append(self._rest(file.rest_at + at - before, piece.offset - at))
                at = piece.offset
            parts.append(self._once(piece)[at - piece.offset :][: start + size - at])
            at += len(parts[-1])
        rest = file.rest_at + at - file.covered[covers.stop]
        parts.append(self._rest(rest, start + size - at))
        return b"".join(parts)

    def _once(self, piece: Piece) -> bytes:
        """Return the bytes of a piece, of which changes may take one part after the other."""
        if self._changed[0] != piece.at:
            self._changed = piece.at, self.piece(piece)
        return self._changed[1]

    def old_tensors(self) -> OldTensors:
        """Return what another archive, which is a change of this one, can take from it."""
        places = {}
        file_of = {p.at: i for i, file in enumerate(self.files) for p in file.pieces}
        for tensor, pieces in self.tensors:
            ends = [p.offset + p.size for p in pieces]
            if ends[:-1] != [p.offset for p in pieces[1:]]:
                continue  # in several fields of a tensor, between which there is more
            file = file_of[pieces[0].at]
            places[tensor.name] = (file, pieces[0].offset, sum(p.size for p in pieces))
        return OldTensors(self.files[0].digest, places, self.read)

    def _pieces_of(self, tensors: list[StoredTensor]) -> Iterator[tuple[StoredTensor, list[Piece]]]:
        by_name = {file.name: file for file in self.files[1:]}
        for tensor in tensors:
            file, spans = self.files[0], tensor.spans
            if tensor.is_external:
                found = by_name.get(tensor.external.get("location", ""))
                if found is None:
                    continue
                file, spans = found, [tensor.place(found.size)]
            pieces = [
                p for at, size in spans for p in file.pieces[file.within(at, at + size)]
                if at <= p.offset and p.offset + p.size <= at + size
            ]  # fmt: skip
            if pieces and sum(p.size for p in pieces) == sum(size for _, size in spans):
                yield tensor, pieces

    def _contents(self, file: PackedFile) -> Iterator[bytes]:
        gaps = self._gaps(file)
        for piece in file.pieces:
            yield next(gaps)[1]
            yield self.piece(piece)
        yield from (part for _, part in gaps)

    def _gaps(self, file: PackedFile) -> Iterator[tuple[int, bytes]]:
        """Yield place and content of what lies before, between and after the pieces."""
        at, rest = 0, file.rest_at
        for begin, end in [*((p.offset, p.offset + p.size) for p in file.pieces), (file.size, 0)]:
            yield at, self._rest(rest, begin - at)
            rest += begin - at
            at = end

    def _rest(self, start: int, size: int) -> bytes:
        parts, end = [], start + size
        while start < end:
            which = start // CHUNK
            if self._held[0] != which:
                self._held = which, self.piece(self.chunks[which])
            part = self._held[1][start - which * CHUNK :][: end - start]
            parts.append(part)
            start += len(part)
        return b"".join(parts)


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Say in errors which archive is meant, unless they say that already."""
    try:
        yield
    except (InvalidModelError, UnsupportedModelError) as error:
        if _UNUSABLE in str(error):
            raise
        msg = f"{str(path)!r}{_UNUSABLE}{error}"
        raise type(error)(msg) from error


def _codes_of(codes: memoryview, node: CodecNode) -> Iterator[bytes]:
    """Yield the code of each leaf."""
    at = 0
    for leaf in node.leaves():
        yield bytes(codes[at : at + leaf.size])
        at += leaf.size


def _filled(node: CodecNode, codes: Iterator[bytes]) -> CodecNode:
    """Return a tree with its codes in place."""
    code = next(codes) if node.codec in (n.STORED, n.OCTETS, n.INTEGERS) else b""
    return replace(node, code=code, below=tuple([_filled(b, codes) for b in node.below]))

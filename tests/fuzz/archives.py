"""Archives that lie with all checksums right, through every way to decode them."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from ocompress.archive import Archive, nodes
from ocompress.archive.nodes import CodecNode
from ocompress.archive.reader import _codes_of, _filled
from ocompress.archive.writer import END, MAGIC
from ocompress.coding.engine import can_compile, forced
from ocompress.coding.varint import varint
from ocompress.errors import InvalidModelError, UnsupportedModelError
from tests.fuzz.mutate import Rng, damaged_bytes, pick
from tests.fuzz.program import Outcome

_FOLDER = Path(__file__).parents[1] / "archive/golden"
_NUMBERS = (
    0, 1, 2, 3, 4, 7, 8, 64, 127, 255, 4096, 16519, 1 << 15, 1 << 16, 1 << 20, 1 << 22, 1 << 24,
    1 << 26, 1 << 32, 1 << 44, 1 << 48, (1 << 56) - 1,
)  # fmt: skip
_BELOW = {
    nodes.DELTA: 1, nodes.TRANSPOSE: 1, nodes.PACKED: 1, nodes.CONSTANT: 1, nodes.BASE: 1,
    nodes.COSINES: 1, nodes.SPLIT: 4, nodes.MASK: 2, nodes.GRID: 2, nodes.PALETTE: 2,
    nodes.BLOCKS: 2,
}  # fmt: skip
"""Nodes below each codec that has some."""


@dataclass(frozen=True)
class Part:
    """A piece as the index of a crafted archive will have it."""

    gap: int
    size: int
    width: int
    node: CodecNode


@cache
def _taken_apart(path: Path) -> tuple[tuple[Part, ...], tuple[Part, ...], int, bytes]:
    """Return the chunks and the pieces of an archive of one file, its size and its content."""
    archive = Archive(path)
    file, end, made = archive.files[0], 0, []
    for piece in (*archive.chunks, *file.pieces):
        codes = archive.content[piece.at : piece.at + piece.node.total]
        gap = piece.offset - end if piece in file.pieces else 0
        end = piece.offset + piece.size if piece in file.pieces else 0
        node = _filled(piece.node, _codes_of(codes, piece.node))
        made.append(Part(gap, piece.size, node.width, node))
    content = b"".join(archive._contents(file))
    count = len(archive.chunks)
    return tuple(made[:count]), tuple(made[count:]), file.size, content


def case(rng: Rng, folder: Path) -> Outcome:
    """Change an archive, make its checksums anew, and compare what all decoders make of it."""
    names = sorted(p for p in _FOLDER.glob("*.ocz") if not p.name.startswith("change"))
    first, parts, size, content = _taken_apart(pick(rng, names))
    chunks, pieces, claims = list(first), list(parts), {"size": size}
    claims["rest"] = sum(c.size for c in chunks)
    for _ in range(int(rng.integers(1, 4))):
        _change(chunks, pieces, claims, rng)
    index = _index(chunks, pieces, claims, hashlib.sha256(content).digest())
    if rng.random() < 0.2:
        index = damaged_bytes(index, rng)
    codes = b"".join(leaf.code for p in (*chunks, *pieces) for leaf in p.node.leaves())
    path = folder / "a.ocz"
    path.write_bytes(MAGIC + codes + _trailer(index))
    found = [_decoded(path, compiled=False)]
    if can_compile():
        found.append(_decoded(path, compiled=True))
    if found[-1] != found[0]:
        return Outcome("the reference and compiled code decode different bytes")
    if isinstance(found[0], bytes):
        if found[0] == content:
            return Outcome("", served=True)
        return Outcome("" if _is_refused(path) else "another model comes out of an archive")
    return Outcome("")


def _decoded(path: Path, *, compiled: bool) -> bytes | None:
    """Return what an archive decodes to, whatever it should; None if it is refused."""
    try:
        with forced(compiled=compiled):
            archive = Archive(path)
            return b"".join(archive._contents(archive.files[0]))
    except (InvalidModelError, UnsupportedModelError):
        return None


def _is_refused(path: Path) -> bool:
    archive = Archive(path)
    try:
        archive.check_file(archive.files[0])
    except InvalidModelError:
        return True
    return False


def _index(
    chunks: Sequence[Part], pieces: Sequence[Part], claims: dict[str, int], digest: bytes
) -> bytes:
    index = b"\1\0" + varint(claims["rest"]) + b"".join(_entry(c) for c in chunks)
    index += b"\1\6m.onnx" + varint(claims["size"]) + digest
    index += varint(claims.get("pieces", len(pieces)))
    for part in pieces:
        index += varint(part.gap) + varint(part.size) + varint(part.width) + _entry(part)
    return index


def _entry(part: Part) -> bytes:
    codes = b"".join(leaf.code for leaf in part.node.leaves())
    return nodes.written(part.node) + zlib.crc32(codes).to_bytes(4, "little")


def _trailer(index: bytes) -> bytes:
    fixed = index + b"".join(n.to_bytes(4, "little") for n in (len(index), len(index), 0))
    return fixed + zlib.crc32(fixed).to_bytes(4, "little") + END


def _odd(number: int, rng: Rng) -> int:
    near = (
        number + 1,
        max(number - 1, 0),
        number * int(rng.integers(2, 9)),
        int(rng.integers(300)),
    )
    return int(pick(rng, near) if rng.random() < 0.7 else pick(rng, _NUMBERS))


def _change(chunks: list[Part], pieces: list[Part], claims: dict[str, int], rng: Rng) -> None:
    if not pieces or rng.random() < 0.2:
        chunks[0] = replace(chunks[0], node=_changed(chunks[0].node, chunks[0].node, rng))
        return
    one, two = (int(rng.integers(len(pieces))) for _ in range(2))
    part = pieces[one]
    match int(rng.integers(12)):
        case 0:
            pieces[one], pieces[two] = pieces[two], part
        case 1:
            pieces.insert(one, pieces[two])
        case 2:
            del pieces[one]
        case 3:
            pieces[one] = replace(part, gap=_odd(part.gap, rng))
        case 4:
            pieces[one] = replace(part, size=_odd(part.size, rng), width=pick(rng, (1, 2, 4, 8)))
        case 5:
            claim = pick(rng, ("size", "rest", "pieces"))
            claims[claim] = _odd(claims.get(claim, len(pieces)), rng)
        case _:
            pieces[one] = replace(part, node=_changed(part.node, pieces[two].node, rng))


def _changed(node: CodecNode, other: CodecNode, rng: Rng) -> CodecNode:
    """Return a tree with one node changed, maybe for one of another tree."""
    if node.below and rng.random() < 0.7:
        at = int(rng.integers(len(node.below)))
        below = [*node.below]
        below[at] = _changed(below[at], other, rng)
        return replace(node, below=tuple(below))
    match int(rng.integers(6)):
        case 0:
            chosen: CodecNode = pick(rng, [other, *other.below, *node.below])
            return chosen
        case 1:
            for _ in range(int(rng.integers(1, 4))):
                node = _wrapped(node, list(_BELOW), rng)
            for _ in range(int(rng.integers(7)) if rng.random() < 0.3 else 0):
                node = _wrapped(node, [nodes.DELTA, nodes.CONSTANT, nodes.PACKED], rng)
            return node
        case 2 | 3 if node.code:
            code = pick(rng, (damaged_bytes(node.code, rng), b"\xff" * len(node.code), b""))
            return replace(node, code=code)
        case _ if node.settings:
            settings = [*node.settings]
            at = int(rng.integers(len(settings)))
            settings[at] = _odd(settings[at], rng)
            return replace(node, settings=tuple(settings))
    return replace(node, codec=int(rng.integers(len(nodes.NAMES))))


def _wrapped(node: CodecNode, codecs: list[int], rng: Rng) -> CodecNode:
    codec = int(pick(rng, codecs))
    ones = rng.random(nodes._SETTINGS[codec]) < 0.5
    settings = tuple(1 if one else _odd(4, rng) for one in ones)
    below = (node,) * _BELOW[codec]
    return replace(node, codec=codec, settings=settings, below=below, code=b"", size=0)

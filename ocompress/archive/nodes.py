"""How a piece of a file is coded: a tree of named codecs with settings.

A node stands for `count` elements of `width` bytes. Some hold a code, others have nodes below them
that stand for other arrays. docs/archive-format.md describes each codec.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NoReturn

from ocompress.archive.cosines import LARGEST_EXTENT
from ocompress.coding.varint import varint
from ocompress.errors import InvalidModelError

STORED, OCTETS, SPLIT, INTEGERS, GRID, PALETTE = 0, 1, 2, 3, 4, 5
MASK, CONSTANT, BLOCKS, PACKED, DELTA, TRANSPOSE, BASE, COSINES = 6, 7, 8, 9, 10, 11, 12, 13
NAMES = (
    "stored", "octets", "split", "integers", "grid", "palette",
    "mask", "constant", "blocks", "packed", "delta", "transpose", "base", "cosines",
)  # fmt: skip
_SETTINGS = (0, 2, 1, 5, 5, 1, 1, 0, 2, 1, 0, 1, 2, 4)
"""Numbers that each codec has."""

WIDTHS = (1, 2, 4, 8)
DEEPEST = 8
LARGEST_PIECE, _LARGEST_ARRAY = 1 << 24, 1 << 26
"""Bytes that one piece may stand for, and one of the arrays that it is made of."""
_ARRAYS_EACH, _ARRAYS_MORE = 20, 256
"""Bytes that all arrays of a piece hold at most, for each of its own and beside that."""
MOST_COLUMNS = 1 << 20
"""Of a matrix of integers."""
_LARGEST_NUMBER = 1 << 48
_MOST_MIXED = 24
_INTEGERS_EACH = 16519
"""Integers that a byte of code stands for at most: no bit is more likely than 65514 in 65536."""
OCTETS_EACH = (947, 947, 2065)
"""Bytes that a byte of code stands for at most, by model: eight bits each, plain ones at most
65488 in 65536."""


@dataclass(frozen=True)
class CodecNode:
    """A codec with its settings.

    Attributes:
        codec: Its number, an index of `NAMES`.
        count: Elements that it stands for.
        width: Bytes of each.
        settings: Its numbers.
        below: The nodes of the arrays that it is made of.
        code: Its code, if it has one; empty while only the index is known.
        size: Bytes of that.
    """

    codec: int
    count: int
    width: int
    settings: tuple[int, ...] = ()
    below: tuple[CodecNode, ...] = ()
    code: bytes = b""
    size: int = 0

    def leaves(self) -> Iterator[CodecNode]:
        """Yield the nodes that hold codes, in the order in which those lie in the file."""
        if self.codec in (STORED, OCTETS, INTEGERS):
            yield self
        for node in self.below:
            yield from node.leaves()

    @property
    def total(self) -> int:
        """Bytes of all codes."""
        return sum(leaf.size for leaf in self.leaves())

    @property
    def arrays(self) -> int:
        """Bytes of all arrays below it, which decoding has to make."""
        return sum(node.count * node.width + node.arrays for node in self.below)

    def described(self) -> str:
        """Return the names of the codecs, outermost first, such as `grid(stored integers)`."""
        inner = " ".join(node.described() for node in self.below)
        return f"{NAMES[self.codec]}({inner})" if inner else NAMES[self.codec]


def fail(what: str) -> NoReturn:
    """Refuse an archive that contradicts itself.

    Raises:
        InvalidModelError: Always.
    """
    msg = f"the archive is damaged or made up: {what}"
    raise InvalidModelError(msg)


class Numbers:
    """Reads the index."""

    def __init__(self, content: bytes, nodes: int) -> None:
        """Begin at the start; there may be so many nodes."""
        self._content, self._at = content, 0
        self._nodes = nodes

    def node(self) -> None:
        """Count a node.

        Raises:
            InvalidModelError: If there are too many.
        """
        self._nodes -= 1
        if self._nodes < 0:
            fail("its index has more nodes than its codes could need")

    def next(self, most: int = _LARGEST_NUMBER) -> int:
        """Return the next number.

        Raises:
            InvalidModelError: If it is above `most` or the index ends.
        """
        value = 0
        for shift in range(0, 56, 7):
            byte = self.bytes(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if value > most:
                    fail(f"a number of its index is {value}, above {most}")
                return value
        fail("a number of its index does not end")

    def bytes(self, size: int) -> bytes:
        """Return the next bytes.

        Raises:
            InvalidModelError: If there are fewer.
        """
        end = self._at + size
        if end > len(self._content):
            fail("its index is cut off")
        found, self._at = self._content[self._at : end], end
        return found

    def end(self) -> None:
        """Check that nothing is left.

        Raises:
            InvalidModelError: If there is.
        """
        if self._at != len(self._content):
            fail("its index goes on after its end")


def written(node: CodecNode) -> bytes:
    """Return the form of a tree in the index; count and width of the root are not in it."""
    parts = [bytes([node.codec])]
    parts += [varint(number) for number in node.settings]
    parts += [written(child) for child in node.below]
    return b"".join(parts)


def read(numbers: Numbers, count: int, width: int) -> CodecNode:
    """Read the tree of a piece from the index.

    Raises:
        InvalidModelError: If it makes no sense, or takes much more work than its piece is worth.
    """
    root = _read(numbers, count, width, 0)
    if root.arrays > _ARRAYS_EACH * count * width + _ARRAYS_MORE:
        fail(f"{count * width} bytes are made of arrays of {root.arrays}")
    return root


def _read(numbers: Numbers, count: int, width: int, depth: int) -> CodecNode:
    numbers.node()
    codec = numbers.next()
    if codec >= len(NAMES):
        fail(f"it needs codec {codec}, which this version does not know")
    if depth > DEEPEST:
        fail("its codecs are nested too deeply")
    settings = tuple(numbers.next() for _ in range(_SETTINGS[codec]))
    if codec == STORED:
        return CodecNode(codec, count, width, settings, size=count * width)
    if codec in (OCTETS, INTEGERS):
        return _checked(CodecNode(codec, count, width, settings, size=settings[-1]))
    arrays = _ARRAYS[codec](settings, count, width)
    for elements, size in arrays:
        if elements * size > _LARGEST_ARRAY or size not in WIDTHS:
            fail(f"an array of {NAMES[codec]} has {elements} elements of {size} bytes")
    below = tuple(_read(numbers, elements, size, depth + 1) for elements, size in arrays)
    return CodecNode(codec, count, width, settings, below)


def _checked(node: CodecNode) -> CodecNode:
    """Check a coded node; no code can be shorter, as every step costs something."""
    if node.codec == OCTETS:
        model = node.settings[0]
        if model >= len(OCTETS_EACH) or node.count * node.width > OCTETS_EACH[model] * node.size:
            fail(f"{node.size} bytes are no code of {node.count * node.width}")
        return node
    columns, inner, mixed = node.settings[:3]
    if not columns or node.count % columns or columns > MOST_COLUMNS:
        fail(f"{node.count} integers do not come in rows of {columns}")
    if not 0 < inner <= MOST_COLUMNS or not 0 < mixed <= _MOST_MIXED:
        fail(f"integers have kernels of {inner} and mix {mixed} steps")
    if node.count > _INTEGERS_EACH * node.size:
        fail(f"{node.size} bytes are no code of {node.count} integers")
    return node


Arrays = list[tuple[int, int]]
"""Elements and width of each array below a node."""


def _grid(settings: tuple[int, ...], count: int, width: int) -> Arrays:
    columns, rows_each, columns_each, second, scale = settings
    if width != 4 or not columns or count % columns or not rows_each or not columns_each:
        fail("a grid does not fit its tensor")
    if second > 1 or scale not in (4, 8):
        fail("a grid has scales of no known kind")
    rows = count // columns
    if rows_each > rows or columns_each > columns:
        fail("blocks of a grid are larger than its tensor")
    blocks = -(-rows // rows_each) * -(-columns // columns_each)
    return [(blocks, scale), *([(columns, scale)] if second else []), (count, 4)]


def _split(settings: tuple[int, ...], count: int, width: int) -> Arrays:
    if width == 1 or settings[0] > 1:
        fail("bytes cannot be split")
    return [(count, 1)] * width


def _palette(settings: tuple[int, ...], count: int, width: int) -> Arrays:
    if not 0 < settings[0] <= 1 << 15:
        fail(f"a palette has {settings[0]} entries")
    return [(settings[0], width), (count, 2)]


def _mask(settings: tuple[int, ...], count: int, width: int) -> Arrays:
    if not 0 < settings[0] <= count:
        fail(f"a mask keeps {settings[0]} elements of {count}")
    return [(count, 1), (settings[0], width)]


def _blocks(settings: tuple[int, ...], count: int, width: int) -> Arrays:
    size, entries = settings
    if not size or count % size or not 0 < entries <= 1 << 15:
        fail("blocks do not fit their tensor")
    return [(entries * size, width), (count // size, 2)]


def _packed(settings: tuple[int, ...], count: int, width: int) -> Arrays:
    if settings[0] not in (1, 2, 4) or width != 1:
        fail(f"bytes do not hold elements of {settings[0]} bits")
    return [(count * 8 // settings[0], 1)]


def _transpose(settings: tuple[int, ...], count: int, width: int) -> Arrays:
    if not settings[0] or count % settings[0]:
        fail(f"{count} elements are no matrix of {settings[0]} columns")
    return [(count, width)]


def _cosines(settings: tuple[int, ...], count: int, width: int) -> Arrays:
    columns, down, across, apart = settings
    if width != 4 or not columns or count % columns or columns > MOST_COLUMNS:
        fail("sums of cosines do not fit their tensor")
    if not (0 < down <= LARGEST_EXTENT and 0 < across <= LARGEST_EXTENT and apart):
        fail(f"sums of cosines have planes of {down} x {across}")
    if columns % (down * across * apart):
        fail(f"{columns} columns are no planes of {down} x {across}")
    return [(count, 4)]


_ARRAYS: dict[int, Callable[[tuple[int, ...], int, int], Arrays]] = {
    SPLIT: _split,
    GRID: _grid,
    PALETTE: _palette,
    MASK: _mask,
    CONSTANT: lambda _, __, width: [(1, width)],
    BLOCKS: _blocks,
    PACKED: _packed,
    DELTA: lambda _, count, width: [(count, width)],
    TRANSPOSE: _transpose,
    BASE: lambda _, count, width: [(count, width)],
    COSINES: _cosines,
}

"""What folding costs: bytes that computed constants would add to the file."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ocompress.ir import DType, Model, Node, Value, query

_NODE_BYTES = 64
"""What a node takes in a file at the very least, so what folding it saves."""
_FOLDED_BELOW = 1024
"""Bytes that a group may add for the sake of a simpler graph."""
_MOST_PACKED = 1 << 31
"""Bytes of memory that packed constants may take beyond what they take in the file."""
_FREE_GROWTH, _FREE_SHARE = 1024, 1000
_SMALL = 256
"""Bytes of a result that is folded whatever becomes of what it was made from."""


def free_growth(model: Model) -> int:
    """Return the bytes that a simpler graph may add to a file: a kilobyte, or a thousandth."""
    return max(_FREE_GROWTH, model.weight_bytes // _FREE_SHARE)


@dataclass
class Sorted:
    """What becomes of nodes that only constants reach.

    Attributes:
        folded: Nodes whose results take their place, in order.
        packed: Nodes whose results become constants that the file goes on computing.
        costly: Bytes that folding would add, by the last nodes of each group that is left alone.
    """

    folded: list[Node]
    packed: list[Node]
    costly: dict[Node, int]


def sort_out(nodes: list[Node], limit: int) -> Sorted:
    """Say what may be folded without making the file noticeably larger.

    Nodes that feed each other or read the same constant are judged together, since a constant
    goes away only once nobody reads it. What would make the file larger is packed where it can
    be. Of nodes that cost too much together, those with small results are folded all the same.

    Args:
        nodes: Nodes that only constants reach, in topological order.
        limit: Bytes that nodes that hang together may add where they cannot be packed, and that
            small groups may add all together.
    """
    kept: set[int] = set()
    packed: set[int] = set()
    costly: dict[Node, int] = {}
    allowance, room = limit, _MOST_PACKED
    for group in _groups(nodes):
        growth = _growth(group)
        inside = {id(n) for n in group}
        if growth <= min(allowance, _FOLDED_BELOW):
            allowance -= max(0, growth)
            kept.update(inside)
            continue
        small = _small_ones(group, inside)
        rest = [n for n in group if id(n) not in small]
        ends = [n for n in rest if _left(n, inside)]
        if growth <= room and _is_packable(rest, ends, inside):
            room -= growth
            packed.update(id(n) for n in ends)
            kept.update(small)
        elif growth <= limit:
            kept.update(inside)
        else:
            costly.update((n, growth) for n in ends)
            kept.update(small)
    return Sorted(
        [n for n in nodes if id(n) in kept], [n for n in nodes if id(n) in packed], costly
    )


def _is_packable(rest: list[Node], ends: list[Node], inside: set[int]) -> bool:
    """Whether the results of a group may be constants that a file computes.

    A large constant that something else reads is one weight with several readers, and integers
    of 8 bits and less are weights that were quantized: both stay visible as such.
    """
    if any(len(n.outputs) != 1 or n.output.is_output for n in rest):
        return False
    large = [v for n in rest for v in _read(n) if v.constant is not None and _is_large(v)]
    if any(v.dtype is not DType.BOOL and (v.dtype is None or v.dtype.bits <= 8) for v in large):
        return False
    if any(v.is_output or any(id(n) not in inside for n, _ in v.users) for v in large):
        return False
    return not large or len(ends) == 1


def _is_large(value: Value) -> bool:
    return value.constant is not None and value.constant.nbytes > _SMALL


def size_of(value: Value) -> int | None:
    """Return the bytes of a value, None if its shape or type is not known."""
    if value.data is not None:
        return value.data.nbytes
    if not query.is_static(value) or value.dtype is None or value.shape is None:
        return None
    count = 1
    for extent in value.shape:
        count *= extent if isinstance(extent, int) else 1
    return (count * value.dtype.bits + 7) // 8


def _groups(nodes: list[Node]) -> list[list[Node]]:
    leader = {id(n): id(n) for n in nodes}

    def find(key: int) -> int:
        while leader[key] != key:
            leader[key] = leader[leader[key]]
            key = leader[key]
        return key

    first_reader: dict[int, int] = {}
    for node in nodes:
        for value in _read(node):
            if value.producer is not None and id(value.producer) in leader:
                leader[find(id(node))] = find(id(value.producer))
            elif value.data is not None and value.data.nbytes > _SMALL:
                other = first_reader.setdefault(id(value), id(node))
                leader[find(id(node))] = find(other)
    groups: dict[int, list[Node]] = {}
    for node in nodes:
        groups.setdefault(find(id(node)), []).append(node)
    return list(groups.values())


def _growth(group: list[Node]) -> int:
    """Bytes of the results others read, less those of nodes and constants that go away."""
    inside = {id(n) for n in group}
    made = sum(size_of(v) or 0 for n in group for v in _left(n, inside))
    read = {id(v): v for n in group for v in _read(n) if v.data is not None}
    freed = sum(
        v.file_bytes
        for v in read.values()
        if not v.is_output and all(id(n) in inside for n, _ in v.users)
    )
    return made - freed - _NODE_BYTES * len(group)


def _small_ones(group: list[Node], inside: set[int]) -> set[int]:
    kept: set[int] = set()
    for node in group:
        made = [size_of(v) for v in node.outputs if v is not None]
        ready = all(
            v.producer is None or id(v.producer) not in inside or id(v.producer) in kept
            for v in _read(node)
        )
        if ready and all(size is not None and size <= _SMALL for size in made):
            kept.add(id(node))
    return kept


def _read(node: Node) -> Iterable[Value]:
    return (v for v in node.inputs if v is not None)


def _left(node: Node, inside: set[int]) -> list[Value]:
    """Return the results of a node that something outside reads."""
    return [
        v
        for v in node.outputs
        if v is not None and (v.is_output or any(id(n) not in inside for n, _ in v.users))
    ]

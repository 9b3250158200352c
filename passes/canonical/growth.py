"""What folding costs: bytes that computed constants would add to the file."""

from __future__ import annotations

from collections.abc import Iterable

from ocompress.ir import Node, Value, query

_NODE_BYTES = 64
"""What a node takes in a file at the very least, so what folding it saves."""
_SMALL = 256
"""Bytes of a result that is folded whatever becomes of what it was made from."""


def sort_out(nodes: list[Node], limit: int) -> tuple[list[Node], dict[Node, int]]:
    """Keep the nodes that may be folded without making the file noticeably larger.

    Nodes that feed each other or read the same constant are judged together, since a constant
    goes away only once nobody reads it. Of nodes that cost too much together, those with small
    results are kept all the same.

    Args:
        nodes: Nodes that only constants reach, in topological order.
        limit: Bytes that nodes that hang together may add.

    Returns:
        The nodes to fold in their order, and the bytes that the last ones of each group that is
        left alone would add.
    """
    kept: set[int] = set()
    costly: dict[Node, int] = {}
    for group in _groups(nodes):
        growth = _growth(group)
        if growth <= limit:
            kept.update(id(n) for n in group)
            continue
        inside = {id(n) for n in group}
        kept.update(_small_ones(group, inside))
        ends = [n for n in group if id(n) not in kept and _leaves(n, inside)]
        costly.update((n, growth) for n in ends)
    return [n for n in nodes if id(n) in kept], costly


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
        v.data.nbytes
        for v in read.values()
        if v.data is not None and not v.is_output and all(id(n) in inside for n, _ in v.users)
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


def _leaves(node: Node, inside: set[int]) -> bool:
    return bool(_left(node, inside))

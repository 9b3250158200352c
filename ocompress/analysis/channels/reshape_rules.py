"""Rule of the operators that keep the order of elements and regroup the axes.

An element of one axis goes with every element of another that it shares a number of the tensor
with. Any set that is closed under this may go: what is left is in the same order on both sides.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ocompress.analysis.channels.extent_rules import target
from ocompress.analysis.channels.parameters import Wanted, shape_elements
from ocompress.analysis.channels.relation import (
    OUT,
    Cycles,
    Link,
    Pairs,
    Relation,
    Spot,
    UnfollowedError,
)
from ocompress.analysis.channels.shuffle import Shuffle, shuffle_at
from ocompress.ir import Dim

Side = list[tuple[int, Dim]]
"""Axes with their extents, those of 1 left out."""


def reshape(rel: Relation) -> None:
    """Relate Reshape and Flatten; a channel shuffle is followed as one step."""
    rel.otherwise("reshape", f"{rel.node.label!r} regroups the axis in a way that is not known")
    shuffle = shuffle_at(rel.node)
    if shuffle is not None:
        _shuffle(rel, shuffle)
        return
    wanted: list[Wanted] | None = None
    if rel.node.op_type == "Reshape":
        wanted = shape_elements(rel.node, 1)
        if wanted is None:
            why = f"the shape that {rel.node.label!r} makes is computed"
            raise UnfollowedError(code="computed-shape", why=why)
        if None in wanted:
            why = f"the shape that {rel.node.label!r} makes is partly computed"
            rel.otherwise("computed-shape", why)
    found, (before, after) = blocks(_side(rel, 0), _side(rel, OUT))
    for here, there in found:
        _block(rel, here, there)
    if before and after:
        _inner(rel, before[-1], after[-1])
    for axis, element in enumerate(wanted or ()):
        if element is None or element.number != 0 or rel.node.attr("allowzero", 0):
            target(rel, axis, element, 1)
        elif rel.extent(OUT, axis) != 1 and not _tied_to_own(rel, axis):
            why = f"{rel.node.label!r} copies an extent from another axis"
            rel.stop(OUT, axis, "computed-shape", why)


def _tied_to_own(rel: Relation, axis: int) -> bool:
    if axis >= rel.rank(0):
        return False
    spot = rel.spot(0, axis)
    return any(
        link.pairs is None and link.other(spot) == rel.spot(OUT, axis)
        for link in rel.links.get(spot, ())
    )


def _shuffle(rel: Relation, shuffle: Shuffle) -> None:
    first: Spot = (shuffle.source, shuffle.axis)
    second: Spot = (shuffle.result, shuffle.axis)
    rel.join(Link(first, second, (shuffle.order, np.arange(shuffle.order.size))))
    rel.constraints.append(Cycles(second, shuffle.groups))
    for slot in (0, OUT):
        if rel.spot(slot, shuffle.axis) in (first, second):
            rel.repair(slot, shuffle.axis, 1)


def _side(rel: Relation, slot: int) -> Side:
    return [(axis, extent) for axis, extent in enumerate(rel.shape(slot)) if extent != 1]


def blocks(before: Side, after: Side) -> tuple[list[tuple[Side, Side]], tuple[Side, Side]]:
    """Pair runs of axes that hold the same elements.

    Args:
        before: Axes of the input with extents other than 1; extents may be symbols or None.
        after: Those of the output.

    Returns:
        Runs of axes on both sides, and the axes between them of which that is not known.
    """
    front = _aligned(before, after)
    used, made = sum(len(b) for b, _ in front), sum(len(a) for _, a in front)
    before, after = before[used:], after[made:]
    back = _aligned(before[::-1], after[::-1])
    used, made = sum(len(b) for b, _ in back), sum(len(a) for _, a in back)
    before, after = before[: len(before) - used], after[: len(after) - made]
    found = [*front, *((b[::-1], a[::-1]) for b, a in reversed(back))]
    if len(before) == len(after) == 1:
        return [*found, (before, after)], ([], [])
    return found, (before, after)


def _aligned(before: Side, after: Side) -> list[tuple[Side, Side]]:
    found: list[tuple[Side, Side]] = []
    i = j = 0
    while i < len(before) and j < len(after):
        run = _run(before[i:], after[j:])
        if run is None:
            break
        found.append((before[i : i + run[0]], after[j : j + run[1]]))
        i, j = i + run[0], j + run[1]
    return found


def _run(before: Side, after: Side) -> tuple[int, int] | None:
    """Return how many axes of each side hold the same elements, None if that is not known."""
    here, there = before[0][1], after[0][1]
    if here == there and here is not None:
        return 1, 1
    i = j = 1
    while isinstance(here, int) and isinstance(there, int):
        if here == there:
            return i, j
        side, at = (before, i) if here < there else (after, j)
        extent = side[at][1] if at < len(side) else None
        if not isinstance(extent, int):
            return None
        if here < there:
            here, i = here * extent, i + 1
        else:
            there, j = there * extent, j + 1
    return None


def _block(rel: Relation, before: Side, after: Side) -> None:
    if len(before) == len(after) == 1:
        rel.link(0, before[0][0], OUT, after[0][0])
        return
    if not all(isinstance(extent, int) for _, extent in (*before, *after)):
        return
    many, few = [int(e or 0) for _, e in before], [int(e or 0) for _, e in after]
    for i, (axis, _) in enumerate(before):
        for j, (other, _) in enumerate(after):
            first, second = rel.spot(0, axis), rel.spot(OUT, other)
            link = Link(first, second, pairs(many, i, few, j))
            _offer(rel, first, link, forced=len(after) == 1)
            _offer(rel, second, link, forced=len(before) == 1)


def _inner(rel: Relation, before: tuple[int, Dim], after: tuple[int, Dim]) -> None:
    """Relate two innermost axes of which one divides the other, whatever comes before them."""
    (axis, here), (other, there) = before, after
    if not isinstance(here, int) or not isinstance(there, int):
        return
    if here % there and there % here:
        return
    numbers = np.arange(max(here, there))
    rel.link(0, axis, OUT, other, (numbers % here, numbers % there))


def _offer(rel: Relation, spot: Spot, link: Link, *, forced: bool) -> None:
    (rel.links if forced else rel.choices).setdefault(spot, []).append(link)


def pairs(before: Sequence[int], i: int, after: Sequence[int], j: int) -> Pairs:
    """Return which elements of two axes of the same elements meet.

    Args:
        before: Extents of a run of axes.
        i: One of them.
        after: Extents of a run of axes with the same product.
        j: One of them.

    Returns:
        Elements along axis i and, in step, along axis j.
    """
    count = int(np.prod(before))
    numbers = np.arange(count)
    first = numbers // int(np.prod(before[i + 1 :])) % before[i]
    second = numbers // int(np.prod(after[j + 1 :])) % after[j]
    both = np.unique(first * after[j] + second)
    return both // after[j], both % after[j]

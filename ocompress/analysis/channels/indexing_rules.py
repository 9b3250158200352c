"""Rules of the operators that read or write elements at computed places, as graph nets do."""

from __future__ import annotations

from ocompress.analysis.channels.relation import OUT, Relation, UnfollowedError


def gather_nd(rel: Relation) -> None:
    """Relate the axes of the slices that are read; those of the places stay as they are."""
    rel.otherwise("gathered-axis", f"{rel.node.label!r} picks elements with computed indices")
    first, places = _slices(rel)
    for axis in range(places):
        rel.known.add(rel.spot(OUT, axis))
        rel.link(1, axis, OUT, axis)
    for axis in range(first, rel.rank(0)):
        rel.link(0, axis, OUT, axis - first + places)


def scatter_nd(rel: Relation) -> None:
    """Relate the axes of the slices that are written, in the data, the updates and the result."""
    rel.otherwise("gathered-axis", f"{rel.node.label!r} writes elements at computed indices")
    first, places = _slices(rel)
    for axis in range(first, rel.rank(0)):
        rel.link(0, axis, OUT, axis)
        rel.link(2, axis - first + places, OUT, axis)


def elements(rel: Relation) -> None:
    """Relate the axes that indices do not choose along: the same one of every operand."""
    rel.otherwise("gathered-axis", f"{rel.node.label!r} picks elements with computed indices")
    rank = rel.rank(0)
    chosen = int(rel.node.attr("axis", 0)) % max(rank, 1)
    for axis in range(rank):
        if axis != chosen:
            for slot in range(len(rel.node.inputs)):
                rel.link(slot, axis, OUT, axis)


def _slices(rel: Relation) -> tuple[int, int]:
    """Return the first axis of the slices of the data, and the number of axes of the places."""
    if int(rel.node.attr("batch_dims", 0)):
        why = f"{rel.node.label!r} has places of its own for each sample"
        raise UnfollowedError(code="gathered-axis", why=why)
    shape = rel.shape(1)
    if not shape or not isinstance(shape[-1], int):
        why = f"how many axes the indices of {rel.node.label!r} choose along is not known"
        raise UnfollowedError(code="unknown-extent", why=why)
    return shape[-1], len(shape) - 1

"""Rules of the operators that move, join and cut apart channels."""

from __future__ import annotations

import numpy as np

from ocompress.analysis.channels.parameters import axes_of, slice_bounds
from ocompress.analysis.channels.relation import OUT, Relation, UnfollowedError
from ocompress.analysis.padding import pad_amounts


def transpose(rel: Relation) -> None:
    """Relate every axis to where it goes."""
    rank = rel.rank(0)
    order = rel.node.attr("perm", None) or list(reversed(range(rank)))
    for to, axis in enumerate(order):
        rel.link(0, axis, OUT, to)


def squeeze(rel: Relation) -> None:
    """Relate the axes that stay."""
    shape = rel.shape(0)
    axes = {a % len(shape) for a in axes_of(rel.node)}
    axes = axes or {axis for axis, extent in enumerate(shape) if extent == 1}
    for to, axis in enumerate(a for a in range(len(shape)) if a not in axes):
        rel.link(0, axis, OUT, to)


def unsqueeze(rel: Relation) -> None:
    """Relate every axis to where it is between the new ones."""
    rank = rel.rank(OUT)
    new = {a % rank for a in axes_of(rel.node)}
    for axis, to in enumerate(a for a in range(rank) if a not in new):
        rel.link(0, axis, OUT, to)


def concat(rel: Relation) -> None:
    """Relate the parts, one after the other along the axis."""
    rank = rel.rank(OUT)
    along = int(rel.node.attr("axis", 0)) % max(rank, 1)
    start: int | None = 0
    for slot in range(len(rel.node.inputs)):
        for axis in range(rank):
            if axis != along:
                rel.link(slot, axis, OUT, axis)
        extent = rel.shape(slot)[along]
        if start is None or not isinstance(extent, int):
            why = f"{rel.node.label!r} joins parts of unknown extent"
            rel.stop(OUT, along, "unknown-extent", why)
            rel.stop(slot, along, "unknown-extent", why)
            start = None
            continue
        each = np.arange(extent)
        rel.link(slot, along, OUT, along, (each, each + start))
        start += extent


def split(rel: Relation) -> None:
    """Relate the parts to where they are cut from; the sizes follow."""
    rank = rel.rank(0)
    along = int(rel.node.attr("axis", 0)) % max(rank, 1)
    sizes = rel.node.input(1)
    if sizes is not None and sizes.constant is None:
        rel.stop(0, along, "computed-shape", f"the sizes of {rel.node.label!r} are computed")
    start = 0
    for slot in range(len(rel.node.outputs)):
        if not rel.has(~slot):
            raise UnfollowedError(code="unknown-shape", why=f"{rel.node.label!r} omits an output")
        for axis in range(rank):
            if axis != along:
                rel.link(0, axis, ~slot, axis)
        extent = rel.shape(~slot)[along]
        if not isinstance(extent, int):
            rel.stop(
                0, along, "unknown-extent", f"{rel.node.label!r} has outputs of unknown extents"
            )
            continue
        each = np.arange(extent)
        rel.link(0, along, ~slot, along, (each + start, each))
        start += extent
    in_attribute = sizes is None and rel.opset < 13
    rel.repair(0, along, None if in_attribute else 1, "split" if in_attribute else "")


def slice_(rel: Relation) -> None:
    """Relate what a slice of step 1 keeps; its bounds follow."""
    rel.otherwise("strided-slice", f"{rel.node.label!r} slices channels in computed or other steps")
    bounds = slice_bounds(rel.node, rel.shape(0))
    in_attributes = len(rel.node.inputs) < 2
    for axis in range(rel.rank(0)):
        if axis not in bounds:
            rel.link(0, axis, OUT, axis)
            continue
        bound = bounds[axis]
        if bound is None:
            continue
        start, end = bound
        rel.link(0, axis, OUT, axis, (np.arange(start, end), np.arange(end - start)))
        for at, name in ((1, "starts"), (2, "ends")):
            rel.repair(0, axis, None if in_attributes else at, name if in_attributes else "")


def pad(rel: Relation) -> None:
    """Relate what is between the padding; new channels of a constant may go like others."""
    rel.otherwise("padded-axis", f"{rel.node.label!r} fills in channels from others or cuts them")
    rank = rel.rank(0)
    amounts = pad_amounts(rel.node)
    if amounts is None:
        why = f"the padding of {rel.node.label!r} is computed"
        raise UnfollowedError(code="computed-shape", why=why)
    constant = rel.node.attr("mode", "constant") == "constant"
    in_attribute = rel.node.input(1) is None
    for axis in range(rank):
        before, after = amounts.get(axis, (0, 0))
        extent = rel.shape(0)[axis]
        if (before, after) == (0, 0):
            rel.link(0, axis, OUT, axis)
        elif constant and before >= 0 and after >= 0 and isinstance(extent, int):
            each = np.arange(extent)
            rel.link(0, axis, OUT, axis, (each, each + before))
            rel.repair(OUT, axis, None if in_attribute else 1, "pads" if in_attribute else "")
            rel.known.add(rel.spot(OUT, axis))

"""How seeds of an output are drawn that is put together of pieces of different kinds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from ocompress.analysis.gradients.joints import along_one_axis, joint_behind
from ocompress.analysis.gradients.seedings import Currency, Joined, Seeding, class_axis
from ocompress.ir import Node, Value

KindOf = Callable[[Value, np.ndarray, bool], Seeding | Joined]
"""Chooses how seeds of a value are drawn: the value, what the model made of it, and whether it is
known to be a part beside parts of other kinds."""


def joined_of(value: Value, output: np.ndarray, kind_of: KindOf) -> Joined | None:
    """Return the parts of an output that is put together of pieces of different kinds.

    Args:
        value: The formal output, its makers with their shapes where these are known.
        output: What the model made, any shape.
        kind_of: Chooses how seeds of a piece are drawn.
    """
    found = joint_behind(value, output)
    if found is None or not output.size:
        return None
    node, made, layout = found
    joined = _side_by_side(node, made, kind_of)
    if joined is None:
        return None
    axis = joined.axis % made.ndim
    laid = along_one_axis(axis, joined.channels, made.shape, layout)
    if laid is None:
        return None
    if output.shape == made.shape and laid[0] == axis:
        return joined
    whole = output.shape[laid[0]] == made.shape[axis]
    parts = [_carried(part, axis, output, laid[0], whole) for part in joined.parts]
    return Joined(*laid, parts)


def _carried(
    part: Seeding | Joined, axis: int, output: np.ndarray, now: int, whole: bool
) -> Seeding | Joined:
    """Return a part's seeding where its channels, once along `axis`, lie along `now`.

    Args:
        part: The seeding in the layout of the Concat.
        axis: Axis of the Concat's channels, not negative.
        output: The output that holds the part.
        now: Axis of its channels there.
        whole: Whether a channel is still one index along it.
    """
    if isinstance(part, Joined) and whole and part.axis == axis:
        pieces = [_carried(p, axis, output, now, whole) for p in part.parts]
        return Joined(now, part.channels, pieces)
    classes = isinstance(part, Seeding) and part.currency is not Currency.LOGITS
    if isinstance(part, Joined) or not (whole or classes):
        return Seeding(Currency.SQUARES, now)  # classes are no longer an axis of their own
    usual = class_axis(output.shape)
    return replace(part, axis=-1 if usual is None else usual)


def _side_by_side(node: Node, output: np.ndarray, kind_of: KindOf) -> Joined | None:
    """Return the parts of what a Concat makes if they are of different kinds."""
    axis = int(node.attr("axis", 0)) % output.ndim
    values = [v for v in node.inputs if v is not None and v.rank == output.ndim]
    extents = [e for v in values if v.shape and isinstance(e := v.shape[axis], int)]
    if len(extents) < len(node.inputs) or sum(extents) != output.shape[axis]:
        return None
    channels = np.split(np.arange(output.shape[axis]), np.cumsum(extents)[:-1])
    pieces = [np.take(output, there, axis) for there in channels]
    parts = [kind_of(v, a, False) for v, a in zip(values, pieces, strict=True)]
    scales = [p for p in parts if isinstance(p, Joined) and p.axis != axis]
    together = _together(scales) if len(scales) == len(parts) else None
    if together is not None:
        return together  # the same kinds side by side, for several scales of a detector
    kinds = {p.currency if isinstance(p, Seeding) else None for p in parts}
    nested = (isinstance(p, Joined) and p.axis == axis and not _differs_by_size(p) for p in parts)
    if len(kinds) < 2 and not any(nested):
        return None
    both = zip(values, pieces, strict=True)
    return Joined(axis, channels, [kind_of(v, a, True) for v, a in both])


def _together(pieces: Sequence[Joined]) -> Joined | None:
    """Return the parts that pieces have in common, None if they lie elsewhere or are others."""
    first = pieces[0]
    if any(not _lie_alike(first, p) for p in pieces[1:]):
        return None
    parts = [_common([p.parts[i] for p in pieces]) for i in range(len(first.parts))]
    found = [p for p in parts if p is not None]
    return replace(first, parts=found) if len(found) == len(parts) else None


def _lie_alike(first: Joined, other: Joined) -> bool:
    if first.axis != other.axis or len(first.channels) != len(other.channels):
        return False
    return all(map(np.array_equal, first.channels, other.channels))


def _common(parts: Sequence[Seeding | Joined]) -> Seeding | Joined | None:
    """Return how seeds of a part are drawn in all pieces, None if they are of different kinds.

    Pieces may differ in which channels are of like size, and by that in what is taken for logits.
    """
    plain = [Seeding(Currency.SQUARES) if _differs_by_size(p) else p for p in parts]
    joined = [p for p in plain if isinstance(p, Joined)]
    if joined:
        return _together(joined) if len(joined) == len(plain) else None
    seedings = [p for p in plain if isinstance(p, Seeding)]
    kinds = {p.currency for p in seedings}
    if kinds == {Currency.LOGITS, Currency.SQUARES}:
        return Seeding(Currency.SQUARES)
    return seedings[0] if len(kinds) == 1 else None


def _differs_by_size(part: Seeding | Joined) -> bool:
    """Whether all that a part holds is numbers of some size."""
    if isinstance(part, Joined):
        return all(_differs_by_size(p) for p in part.parts)
    return part.currency is Currency.SQUARES

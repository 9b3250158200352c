"""Putting channels of a model in another order, in all that makes, carries and reads them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ocompress.analysis import AnalysisManager
from ocompress.analysis.channels import ChannelGroups, Cut, Group
from ocompress.ir import Model, Node
from passes.pruning.cut_constants import rewrite

Order = tuple[Group, Sequence[int] | np.ndarray]
"""A group, and which of its channels comes at each place."""


@dataclass(frozen=True)
class Reorder:
    """Puts channels of a group in another order, wherever they lie.

    Attributes:
        asked: How the groups of a model are found.
        place: Which of them it is.
        order: The channel that comes at each place.
    """

    asked: ChannelGroups
    place: int
    order: tuple[int, ...]

    def apply(self, model: Model) -> bool:
        """Put the channels in order."""
        put_in_order(model, [self])
        return True


def put_in_order(model: Model, edits: Sequence[Reorder]) -> Moved:
    """Make several edits of groups that were found alike at once; return what has moved."""
    if not edits:
        return Moved()
    found = edits[0].asked.compute(model, AnalysisManager())
    return reorder([(found[e.place], e.order) for e in edits])


class Moved:
    """Where elements of constants come from, by node, input and axis."""

    def __init__(self) -> None:
        """Start with all where they are."""
        self._sources: dict[tuple[int, int], dict[int, np.ndarray]] = {}

    def add(self, cut: Cut, order: np.ndarray) -> None:
        """Let channel `order[i]` of a group come where channel i was, along one axis."""
        axes = self._sources.setdefault((id(cut.node), cut.index), {})
        source = axes.setdefault(cut.axis, np.arange(len(cut.channel)))
        places = cut.positions
        source[places] = places[order]

    def source(self, node: Node, index: int, shape: tuple[int, ...]) -> np.ndarray:
        """Return the number that each element of a constant of a shape had before it moved."""
        numbers = np.arange(int(np.prod(shape))).reshape(shape)
        return self.result(node, index, numbers)

    def signature(self, node: Node, index: int) -> bytes:
        """Return something that is equal for readers whose constants become the same."""
        axes = self._sources[id(node), index]
        return repr([(axis, axes[axis].tolist()) for axis in sorted(axes)]).encode()

    def result(self, node: Node, index: int, array: np.ndarray) -> np.ndarray:
        """Return what becomes of a constant's array as one node reads it."""
        for axis, source in self._sources.get((id(node), index), {}).items():
            array = np.take(array, source, axis)
        return array


def movable(group: Group) -> bool:
    """Whether channels of a group may trade places, and no constant has to be copied for that.

    What the file computes a constant of stays as it is, too.
    """
    return group.exchangeable and not any(_held(cut, group) for cut in group.cuts)


def reorder(orders: Iterable[Order]) -> Moved:
    """Put channels of several groups of a model in another order, in place.

    The result computes the same, up to the order in which sums are taken.

    Args:
        orders: Groups of one analysis, each at most once, with the channel that comes at each
            place. Their model has not changed since.

    Returns:
        Where elements of constants come from.

    Raises:
        ValueError: If channels of a group cannot trade places, or an order lacks one.
    """
    moved, cuts = Moved(), []
    for group, given in orders:
        order = np.asarray(given, np.int64)
        if not movable(group):
            msg = f"channels of {group.name!r} cannot trade places"
            raise ValueError(msg)
        if not np.array_equal(np.sort(order), np.arange(group.size)):
            msg = f"an order of {group.name!r} has each channel from 0 to {group.size - 1} once"
            raise ValueError(msg)
        for cut in filter(_varies, group.cuts):
            moved.add(cut, order)
            cuts.append(cut)
    rewrite(cuts, moved)
    return moved


def _held(cut: Cut, group: Group) -> bool:
    """Whether a constant cannot be rewritten for all its readers alike."""
    if not _varies(cut):
        return False
    if cut.value.packed is not None:
        return True
    alike = {
        (id(c.node), c.index)
        for c in group.cuts
        if c.value is cut.value and c.axis == cut.axis and np.array_equal(c.channel, cut.channel)
    }
    return len(alike) < cut.value.use_count


def _varies(cut: Cut) -> bool:
    """Whether the channels of a constant differ at all."""
    array = cut.value.constant
    assert array is not None, cut.value.name
    along = np.moveaxis(array, cut.axis, 0)
    return bool((along[1:] != along[:1]).any())

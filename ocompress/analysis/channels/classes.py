"""Elements in classes: what must go together, and what must stay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import networkx as nx
import numpy as np

from ocompress.analysis.channels.relation import Blocks, Constraint, Cycles, Link, Spot, Stop

Ties = list[tuple[np.ndarray, np.ndarray]]

_REMAINDER = Stop("shuffle-remainder", "the channels do not fill a round of the channel shuffle")


@dataclass(frozen=True)
class Classes:
    """Elements of all spots in classes.

    Attributes:
        of: Class of each element, by spot; classes are numbered from 0 in order of first element.
        count: Number of classes.
        stop: Why a class must stay, by class; only those that must.
    """

    of: dict[Spot, np.ndarray]
    count: int
    stop: dict[int, Stop]

    @property
    def free(self) -> int:
        """Number of classes that may go."""
        return self.count - len(self.stop)


@dataclass(frozen=True)
class _Elements:
    """Numbers for the elements of all spots, one after the other."""

    start: dict[Spot, int]
    total: int

    def of(self, spot: Spot, extent: int) -> np.ndarray:
        return self.start[spot] + np.arange(extent)


def classify(
    graph: nx.MultiGraph,
    constraints: Sequence[Constraint],
    stops: Sequence[tuple[Spot, Stop]],
) -> Classes:
    """Put elements in the smallest classes that links and constraints allow.

    Args:
        graph: Spots and links.
        constraints: What a removal must keep to.
        stops: What must stay.
    """
    extents: dict[Spot, int] = dict(graph.nodes(data="extent"))
    start: dict[Spot, int] = {}
    total = 0
    for spot, extent in extents.items():
        start[spot] = total
        total += extent
    elements = _Elements(start, total)
    ties = [_tie(elements, extents, link) for _, _, link in graph.edges(data="link")]
    base = unite(total, ties)
    fixed = np.zeros(total, bool)
    labels = _settle(base, elements, extents, constraints, fixed)
    windows, left = _windows(base, elements, extents, constraints)
    if windows:
        other_fixed = np.isin(base, base[left])
        other = _settle(_more(base, windows), elements, extents, constraints, other_fixed)
        if _free(other, other_fixed) > _free(labels, fixed):
            labels, fixed = other, other_fixed
    names, numbered = np.unique(labels, return_inverse=True)
    of = {spot: numbered[at : at + extents[spot]] for spot, at in start.items()}
    kept = {int(c): _REMAINDER for c in np.unique(numbered[fixed])}
    for spot, stop in reversed(stops):
        held = of[spot] if stop.elements is None else of[spot][stop.elements]
        kept.update({int(c): stop for c in np.unique(held)})
    return Classes(of, len(names), kept)


def unite(count: int, ties: Ties) -> np.ndarray:
    """Return, for each of `count` numbers, the smallest that ties connect it with.

    Args:
        count: How many numbers.
        ties: Pairs of arrays of numbers; those at the same place are connected.
    """
    labels = np.arange(count)
    if not ties:
        return labels
    first = np.concatenate([a for a, _ in ties])
    second = np.concatenate([b for _, b in ties])
    while True:
        here, there = labels[first], labels[second]
        if np.array_equal(here, there):
            return labels
        low = np.minimum(here, there)
        np.minimum.at(labels, here, low)
        np.minimum.at(labels, there, low)
        while not np.array_equal(labels, labels[labels]):
            labels = labels[labels]


def _free(labels: np.ndarray, fixed: np.ndarray) -> int:
    return len(np.unique(labels)) - len(np.unique(labels[fixed]))


def _more(labels: np.ndarray, ties: Ties) -> np.ndarray:
    return unite(labels.size, [*ties, (np.arange(labels.size), labels)])


def _tie(
    elements: _Elements, extents: dict[Spot, int], link: Link
) -> tuple[np.ndarray, np.ndarray]:
    if link.pairs is None:
        first = elements.of(link.first, extents[link.first])
        return first, elements.of(link.second, extents[link.second])
    return (
        elements.start[link.first] + link.pairs[0],
        elements.start[link.second] + link.pairs[1],
    )


def _settle(
    labels: np.ndarray,
    elements: _Elements,
    extents: dict[Spot, int],
    constraints: Sequence[Constraint],
    fixed: np.ndarray,
) -> np.ndarray:
    """Merge classes until each by itself keeps to every constraint."""
    broken = True
    while broken:
        broken = False
        for constraint in constraints:
            at = elements.of(constraint.spot, extents[constraint.spot])
            if _holds(labels[at], fixed[at], constraint):
                continue
            labels = _more(labels, [(at, at[_partner(at.size, constraint)])])
            fixed |= np.isin(labels, labels[fixed])
            broken = True
    return labels


def _partner(extent: int, constraint: Constraint) -> np.ndarray:
    """Return, for each element, the first of those that go with it in the plainest scheme."""
    numbers = np.arange(extent)
    if isinstance(constraint, Blocks):
        return numbers % (extent // constraint.count)
    return numbers // constraint.count * constraint.count


def _holds(labels: np.ndarray, fixed: np.ndarray, constraint: Constraint) -> bool:
    names, numbered = np.unique(labels, return_inverse=True)
    if isinstance(constraint, Blocks):
        block = np.arange(labels.size) // (labels.size // constraint.count)
        cells = np.zeros((len(names), constraint.count), int)
        np.add.at(cells, (numbered, block), 1)
        uneven = (cells != cells[:, :1]).any(axis=1)
        return not uneven[np.unique(numbered[~fixed])].any()
    where = np.flatnonzero(~fixed)
    where = where[np.argsort(numbered[where], kind="stable")]
    sizes = np.bincount(numbered[where], minlength=len(names))
    if (sizes % constraint.count).any():
        return False
    runs = where.reshape(-1, constraint.count)
    return bool((np.diff(runs, axis=1) == 1).all())


def _windows(
    base: np.ndarray,
    elements: _Elements,
    extents: dict[Spot, int],
    constraints: Sequence[Constraint],
) -> tuple[Ties, np.ndarray]:
    """Tie runs that stay within the groups of the convolution after a channel shuffle.

    Taking out runs of as many neighbours as there are parts, wherever they begin, keeps the order
    in which a shuffle deals out the parts. So runs may begin anew in every group of the
    convolution; what is left over at the end of a group stays.

    Returns:
        The ties, and the numbers of the elements that stay.
    """
    ties: Ties = []
    left = [np.zeros(0, int)]
    for cycle in constraints:
        for blocks in constraints if isinstance(cycle, Cycles) else ():
            if not isinstance(blocks, Blocks):
                continue
            at = elements.of(cycle.spot, extents[cycle.spot])
            same = elements.of(blocks.spot, extents[blocks.spot])
            each = at.size // blocks.count
            if at.size != same.size or not np.array_equal(base[at], base[same]):
                continue
            if each % cycle.count:
                place = np.arange(at.size) % each
                first = place // cycle.count * cycle.count
                rest = place >= each // cycle.count * cycle.count
                ties.append((at[~rest], at[first[~rest]]))
                left.append(at[rest])
    return ties, np.concatenate(left)


__all__ = ["Classes", "Spot", "classify", "unite"]

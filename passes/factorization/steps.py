"""What a chain is made of: convolutions, and what stands between and beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class ChainLink:
    """One convolution of a chain.

    Attributes:
        weight: (outputs, input channels of a group, *kernel).
        groups: Its groups.
        walks: For each spatial axis whether it takes the layer's strides, pads and dilations.
        mode: Axis of what is flattened before the layer that the weight, (outputs, inputs), is
            applied to, 0 for the last one and 1 for the one before; None for a convolution.
        tap: Where in the layer's kernel a kernel of one tap stands; None if it is all of it.
    """

    weight: np.ndarray
    groups: int
    walks: tuple[bool, ...]
    mode: int | None = None
    tap: tuple[int, ...] | None = None


@dataclass(frozen=True)
class ShuffleStep:
    """A transposition of channels, behind a link that walks like the layer.

    Attributes:
        outer: How often it is done, on runs of channels.
        rows: Channels (rows, columns, width) become (columns, rows, width).
        columns: See `rows`.
        width: See `rows`.
    """

    outer: int
    rows: int
    columns: int
    width: int

    def order(self) -> np.ndarray:
        """Return which channel comes at each place."""
        size = self.outer * self.rows * self.columns * self.width
        split = np.arange(size).reshape(self.outer, self.rows, self.columns, self.width)
        return split.swapaxes(1, 2).reshape(-1)


@dataclass(frozen=True)
class Pick:
    """Channels in another order.

    Attributes:
        channels: Which channel comes at each place, every one once.
    """

    channels: np.ndarray


@dataclass(frozen=True)
class Fork:
    """Branches that all read the same, their outputs put together.

    Attributes:
        branches: The chains.
        order: Which of all outputs, branch after branch, comes at each place.
    """

    branches: Sequence[Sequence[Step]]
    order: np.ndarray


Step = ChainLink | ShuffleStep | Pick | Fork


def links_of(steps: Sequence[Step]) -> list[ChainLink]:
    """Return all convolutions, in the order in which they are written."""
    found = []
    for step in steps:
        if isinstance(step, ChainLink):
            found.append(step)
        elif isinstance(step, Fork):
            found += [link for branch in step.branches for link in links_of(branch)]
    return found


def bytes_of(steps: Sequence[Step], itemsize: int) -> int:
    """Return the bytes of weights and of what says where channels go."""
    moved = sum(s.order.size for s in steps if isinstance(s, Fork) and not is_identity(s.order))
    moved += sum(s.channels.size for s in steps if isinstance(s, Pick))
    return sum(link.weight.size for link in links_of(steps)) * itemsize + 8 * moved


def width_of(steps: Sequence[Step]) -> int:
    """Return the channels that a chain makes."""
    last = steps[-1]
    if isinstance(last, ChainLink):
        return int(last.weight.shape[0])
    if isinstance(last, ShuffleStep):
        return last.outer * last.rows * last.columns * last.width
    return len(last.channels if isinstance(last, Pick) else last.order)


def is_identity(order: np.ndarray) -> bool:
    """Whether an order of channels, (channels,), is the one they are in."""
    return bool((order == np.arange(len(order))).all())


def undone(channels: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Return what stands at each place before channels are picked, (channels,) as is `order`."""
    found = np.empty_like(order)
    found[channels] = order
    return found


def tails(steps: Sequence[Step], order: np.ndarray) -> list[tuple[ChainLink, np.ndarray]]:
    """Return the convolutions whose outputs are those of the chain, and which ones they are.

    Args:
        steps: The chain.
        order: What the outputs of the chain are called, [outputs].
    """
    for step in reversed(steps):
        if isinstance(step, ChainLink):
            return [(step, order)]
        if isinstance(step, Pick):
            order = undone(step.channels, order)
        elif isinstance(step, ShuffleStep):
            order = undone(step.order(), order)
        else:
            order = undone(step.order, order)
            ends = np.cumsum([width_of(branch) for branch in step.branches])
            parts = np.split(order, ends[:-1])
            pairs = zip(step.branches, parts, strict=True)
            return [tail for branch, part in pairs for tail in tails(branch, part)]
    return []


def merged(each: Sequence[Sequence[Step]]) -> list[Step]:
    """Return the chain that does at once what chains of one form do to parts of the channels."""
    if len(each) == 1:
        return list(each[0])
    return [_merged(same) for same in zip(*each, strict=True)]


def trimmed(steps: Sequence[Step]) -> list[Step]:
    """Return a chain without what leaves all channels in their places."""
    return [s for s in steps if not (isinstance(s, Pick) and is_identity(s.channels))]


def _merged(same: Sequence[Step]) -> Step:
    first = same[0]
    if isinstance(first, ChainLink):
        links = [s for s in same if isinstance(s, ChainLink)]
        weight = np.concatenate([link.weight for link in links])
        return replace(first, weight=weight, groups=sum(link.groups for link in links))
    if isinstance(first, ShuffleStep):
        return replace(first, outer=sum(s.outer for s in same if isinstance(s, ShuffleStep)))
    if isinstance(first, Pick):
        picks = [s.channels for s in same if isinstance(s, Pick)]
        starts = np.cumsum([0, *map(len, picks)])
        moved = [p + start for p, start in zip(picks, starts, strict=False)]
        return Pick(np.concatenate(moved))
    return _merged_forks([s for s in same if isinstance(s, Fork)])


def _merged_forks(forks: Sequence[Fork]) -> Fork:
    """Put branches together, and follow the outputs of each fork to where they come to lie."""
    pairs = zip(*(fork.branches for fork in forks), strict=True)
    branches = [merged(same) for same in pairs]
    widths = np.array([[width_of(b) for b in fork.branches] for fork in forks])
    before = np.cumsum(np.concatenate([[0], widths.T.reshape(-1)]))[:-1]
    starts = before.reshape(widths.T.shape).T
    orders = []
    for fork, start, width in zip(forks, starts, widths, strict=True):
        lie = [np.arange(w) + s for s, w in zip(start, width, strict=True)]
        orders.append(np.concatenate(lie)[fork.order])
    return Fork(branches, np.concatenate(orders))

"""Orders of channels in which words say more of a layer.

The error that is left of vectors by the best words grows with a root of the determinant of their
covariance (Martinez et al., Permute, Quantize, and Fine-tune, 2021). Which inputs are neighbours,
and so make a vector, follows from the order of the channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from passes.sharing.word_starts import BlockMetric

_ROUNDS, _FEW_ROUNDS = 200, 20
"""Of swaps each time that a search starts, at most and mostly."""
_SHAKEN, _SHAKES = 0.1, 40
"""Share of the channels that are dealt anew when no swap gains anything, and how often."""
_RIDGE = 1e-6
_LEAST = 1e-9
"""What a round of swaps has to gain, relative to the whole."""
_WORK = 2e8
"""Products of pairs of channels, about, after which no channels are dealt anew."""


@dataclass(frozen=True)
class Seating:
    """How the inputs of a layer make blocks, as far as they are channels that may change places.

    Attributes:
        seats: Place of each element of each block in the order of the channels, (blocks, block); -1
            where something else lies.
        products: Of the weights of each two channels, outputs counting as much as errors of them
            cost, summed over outputs and over the places of a channel, (channels, channels).
    """

    seats: np.ndarray
    products: np.ndarray

    def covariance(self, order: np.ndarray) -> np.ndarray:
        """Return the products of elements of blocks, summed over blocks, (block, block)."""
        who = np.where(self.seats >= 0, order[self.seats], -1)
        both = (who[:, :, None] >= 0) & (who[:, None, :] >= 0)
        each = self.products[who[:, :, None], who[:, None, :]]
        found: np.ndarray = np.where(both, each, 0.0).sum(axis=0, dtype=np.float64)
        diagonal = np.einsum("ii->i", found)
        diagonal += _RIDGE * diagonal.mean() + 1e-300
        return found


def seats_of(rows: np.ndarray, inputs: int, block: int) -> np.ndarray | None:
    """Return the places of channels in blocks, (blocks, block), as `Seating` has them.

    Args:
        rows: Rows of a layer's matrix that each channel has, (channels, places).
        inputs: Rows of the matrix.
        block: Inputs of a word.

    Returns:
        None if no block has inputs of two channels, or if they make other blocks at every place, so
        that no order is of use.
    """
    first = rows[:, 0]
    apart = rows - first[:, None]
    if (apart != apart[:1]).any() or (apart % block).any() or inputs % block:
        return None
    seats = np.full((inputs // block, block), -1)
    seats[first // block, first % block] = np.arange(len(rows))
    seats = seats[(seats >= 0).any(axis=1)]
    return seats if ((seats >= 0).sum(axis=1) > 1).any() else None


def products_of(rows: np.ndarray, matrix: np.ndarray, metric: BlockMetric) -> np.ndarray:
    """Return products of the weights of channels, (channels, channels), as `Seating` has them.

    What errors of inputs cost counts in the mean: equal blocks should look equal, whatever each
    of them reads.

    Args:
        rows: Rows of the matrix that each channel has, (channels, places).
        matrix: The weight, (1, inputs, outputs).
        metric: What errors of single weights cost.
    """
    inputs = float(metric.grams.mean())
    scaled = matrix[0] * np.sqrt(inputs * metric.outputs[0])
    return np.asarray(sum(scaled[at] @ scaled[at].T for at in rows.T), np.float32)


def spread(seatings: Sequence[Seating], order: np.ndarray) -> float:
    """Return what words are expected to leave of layers, up to a factor."""
    return float(sum(s.seats.shape[1] * _mean_width(s.covariance(order)) for s in seatings))


def best_order(seatings: Sequence[Seating], size: int, seed: int) -> np.ndarray:
    """Return the order of channels that lets words leave least, as far as swaps find it.

    It starts with the order there is, and with the channels in falling order of their power, those
    of most power at the first element of each block. What a swap gains is taken to be linear, which
    never promises too much, as roots of determinants are concave: so all swaps that gain, no two in
    the same blocks, are made at once. Where none gains, some channels are dealt anew.

    Args:
        seatings: How layers read the channels.
        size: Number of channels.
        seed: Draws.
    """
    rng = np.random.default_rng(seed)
    cells = _cells(seatings, size)
    starts = [np.arange(size), _by_power(seatings, size)]
    found = [_descended(seatings, start, cells) for start in starts]
    best = min(found, key=lambda order: spread(seatings, order))
    least = spread(seatings, best)
    work = len(seatings) * size**2 * _FEW_ROUNDS
    for _ in range(int(min(_SHAKES, _WORK / work))):
        some = rng.permutation(size)[: max(2, round(_SHAKEN * size))]
        shaken = best.copy()
        shaken[some] = best[rng.permutation(some)]
        shaken = _descended(seatings, shaken, cells)
        now = spread(seatings, shaken)
        if now < least:
            best, least = shaken, now
    return best


def _mean_width(covariance: np.ndarray) -> float:
    """Return the geometric mean of the variances along the axes of a covariance."""
    _, log = np.linalg.slogdet(covariance)
    return float(np.exp(log / len(covariance)))


def _by_power(seatings: Sequence[Seating], size: int) -> np.ndarray:
    """Return channels of most power at the first element of blocks, those of least at the last."""
    power = sum(np.diagonal(s.products) / max(np.trace(s.products), 1e-300) for s in seatings)
    longest = max(seatings, key=lambda s: s.seats.shape[1])
    place = np.full(size, longest.seats.shape[1])
    for at in range(longest.seats.shape[1]):
        own = longest.seats[:, at]
        place[own[own >= 0]] = at
    order = np.empty(size, np.int64)
    order[np.argsort(place, kind="stable")] = np.argsort(-np.asarray(power), kind="stable")
    return order


def _cells(seatings: Sequence[Seating], size: int) -> np.ndarray:
    """Return a number for each place, [channels]; places of one block have the same."""
    cells = np.arange(size)
    while True:
        before = cells.copy()
        for each in seatings:
            own = np.where(each.seats >= 0, cells[each.seats], size)
            least = np.broadcast_to(own.min(axis=1, keepdims=True), own.shape)
            taken = each.seats >= 0
            np.minimum.at(cells, each.seats[taken], least[taken])
        if np.array_equal(before, cells):
            return cells


def _descended(seatings: Sequence[Seating], start: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """Swap channels until no swap gains anything."""
    order = start.copy()
    for _ in range(_ROUNDS):
        gains = sum(swap_bounds(each, order) for each in seatings)
        assert isinstance(gains, np.ndarray)
        least = -_LEAST * spread(seatings, order)
        if not swap(order, gains, cells, least):
            break
    return order


def swap_bounds(seating: Seating, order: np.ndarray) -> np.ndarray:
    """Return what swaps of channels at two places add to `spread` at most, (places, places)."""
    seats, products = seating.seats, seating.products
    covariance = seating.covariance(order)
    block, size = len(covariance), len(order)
    pull = (np.linalg.inv(covariance) * _mean_width(covariance)).astype(products.dtype)
    taken = seats >= 0
    who = np.where(taken, order[seats], 0)
    seen = np.where(taken, products[order][:, who], 0)  # (places, blocks, block)
    own = np.diagonal(pull)
    power = np.diagonal(products)[order]
    others = pull - np.diag(own)
    costs = 2 * (seen.reshape(-1, block) @ others) + np.repeat(power, len(seats))[:, None] * own
    here = np.zeros((size, size), products.dtype)
    here[:, seats[taken]] = costs.reshape(size, -1)[:, taken.reshape(-1)]
    # neighbours in a block meet themselves in `costs`; their own product stays where they swap
    kept = np.diagonal(here)
    found: np.ndarray = here + here.T - kept - kept[:, None]
    for one in range(block):
        for other in range(one):
            both = taken[:, one] & taken[:, other]
            a, b = seats[both, one], seats[both, other]
            apart = power[a] + power[b] - 2 * products[order[a], order[b]]
            found[a, b] -= 2 * pull[one, other] * apart
            found[b, a] = found[a, b]
    return found


def swap(order: np.ndarray, gains: np.ndarray, cells: np.ndarray, least: float) -> int:
    """Make the swaps that gain most, no two of which touch the same blocks.

    Args:
        order: Changed in place, (channels,).
        gains: What swaps add to `spread`, (places, places).
        cells: A number for each place, the same for those of one block.
        least: What a swap adds at most, less than zero.

    Returns:
        How many were made.
    """
    some = np.flatnonzero(np.triu(gains < least, 1))
    some = some[np.argsort(gains.reshape(-1)[some], kind="stable")][: 16 * len(order)]
    used = np.zeros(len(order), bool)
    made = 0
    for one, other in zip(*np.unravel_index(some, gains.shape), strict=True):
        if used[cells[one]] or used[cells[other]]:
            continue
        used[cells[[one, other]]] = True
        order[one], order[other] = order[other], order[one]
        made += 1
    return made

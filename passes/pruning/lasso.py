"""Which channels a layer can do without together, by a price on the factors of all of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from passes.pruning.channel_costs import Order, Reader, follow

_PRICES, _LOWEST = 60, 1e-4
"""Prices on the way down from the one that no channel is worth, and the last one relative to it."""
_SWEEPS, _SETTLED = 30, 1e-4
"""Rounds over the channels at each price at most, and the change of a factor that is none."""


def lasso(readers: Sequence[Reader], size: int) -> Order:
    """Take those channels first whose factors vanish first as the price on factors rises.

    Every channel has a factor, 1 as the model is; least squares on what the readers put out, plus
    a price on the sum of their magnitudes, makes some of them zero (He et al., Channel Pruning
    for Accelerating Very Deep Neural Networks, 2017). What a channel costs when it goes in that
    order is what the readers lose after their other weights made up for it.

    Args:
        readers: All that read the channels.
        size: Number of channels.
    """
    total = np.zeros((size, size))
    for reader in readers:
        total += gram(reader)
    return follow(readers, vanishing(total))


def gram(reader: Reader) -> np.ndarray:
    """Return the mean products of what channels contribute to a reader's outputs.

    Returns:
        (channels, channels): sum over outputs, weighed by what an error of each costs.
    """
    weight = reader.scaled()
    size = len(reader.rows)
    owner = np.full(len(weight), size)  # inputs of no channel go to a row that is thrown away
    there = reader.rows >= 0
    owner[reader.rows[there]] = np.nonzero(there)[0]
    products = (weight @ weight.T) * reader.hessian
    by_row = np.zeros((size + 1, len(weight)))
    np.add.at(by_row, owner, products)
    found = np.zeros((size + 1, size + 1))
    np.add.at(found, owner, by_row.T)
    return found[:size, :size]


def vanishing(total: np.ndarray) -> np.ndarray:
    """Return channels in the order in which their factors vanish as the price rises.

    Args:
        total: Mean products of what they contribute, (channels, channels).
    """
    wanted = total.sum(axis=1)  # what all channels together make, seen by each
    start = float(np.abs(wanted).max(initial=0.0))
    factors = np.zeros(len(total))
    entered = np.zeros(len(total))
    size_then = np.zeros(len(total))
    for price in start * np.geomspace(1, _LOWEST, _PRICES):
        _descend(total, wanted, factors, float(price))
        new = (factors != 0) & (entered == 0)
        entered[new] = price
        size_then[new] = np.abs(factors[new])
    # of those that vanish between the same prices the smaller factor does first; of those that
    # no price is low enough for the one that contributes less goes first
    return np.lexsort((np.diagonal(total), size_then, entered))


def _descend(total: np.ndarray, wanted: np.ndarray, factors: np.ndarray, price: float) -> None:
    """Minimize f' G f / 2 - w' f + price * |f|, one factor after the other, in place."""
    own = np.diagonal(total)
    seen = total @ factors
    open_ = np.flatnonzero(own > 0)
    for _ in range(_SWEEPS):
        largest = 0.0
        for at in open_:
            pull = wanted[at] - seen[at] + own[at] * factors[at]
            new = np.sign(pull) * max(abs(pull) - price, 0.0) / own[at]
            change = new - factors[at]
            if change:
                seen += total[at] * change
                factors[at] = new
                largest = max(largest, abs(change))
        if largest < _SETTLED:
            # zeros may have become worth something: look at all of them before it is over
            idle = open_.size == int((own > 0).sum())
            open_ = np.flatnonzero(own > 0)
            if idle:
                return
        else:
            open_ = np.flatnonzero(factors)

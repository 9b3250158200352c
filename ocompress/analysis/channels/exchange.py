"""Which channels may trade places.

Taking channels out keeps the order of the others; trading places does not. So it is not enough that
elements go together: every tie has to hold for the elements of each channel in the same way, the
first of the one spot with the first of the other in this channel as in all others.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ocompress.analysis.channels.relation import Link, Spot
from ocompress.analysis.channels.walk import Trail

_ODD = np.uint64(0x9E3779B97F4A7C15)
_MIX = np.uint64(0xBF58476D1CE4E5B9)


def kinds(trail: Trail, of: Mapping[Spot, np.ndarray], count: int) -> np.ndarray:
    """Return a number for each class, [count]; classes with the same one may trade places.

    Those on a spot that counts in blocks or in turns, as groups of a convolution and channel
    shuffles do, have numbers of their own.

    Args:
        trail: Spots and how they are tied.
        of: Class of each element, by spot.
        count: Number of classes.
    """
    ranks = {spot: _ranks(classes) for spot, classes in of.items()}
    found = np.zeros(count, np.uint64)
    for _, _, link in trail.graph.edges(data="link"):
        found = found * _ODD + _ties(link, of, ranks, count)
    for constraint in trail.constraints:
        held = np.unique(of[constraint.spot])
        found[held] = _scattered(held + 1) ^ found[held] * _ODD
    return found


def _ranks(classes: np.ndarray) -> np.ndarray:
    """Return for each element how many of its class come before it."""
    order = np.argsort(classes, kind="stable")
    first = np.searchsorted(classes[order], classes[order])
    ranks = np.empty(classes.size, np.int64)
    ranks[order] = np.arange(classes.size) - first
    return ranks


def _ties(
    link: Link, of: Mapping[Spot, np.ndarray], ranks: Mapping[Spot, np.ndarray], count: int
) -> np.ndarray:
    """Return for each class a number for the ties of its elements, by their ranks."""
    first, second = ranks[link.first], ranks[link.second]
    one, other = link.pairs if link.pairs is not None else (np.arange(first.size),) * 2
    pairs = _scattered(first[one] * (second.max(initial=0) + 1) + second[other] + 1)
    found = np.zeros(count, np.uint64)
    np.add.at(found, of[link.first][one], pairs)
    return found


def _scattered(numbers: np.ndarray) -> np.ndarray:
    """Return numbers of 64 bits that look random, different ones for different numbers."""
    bits = numbers.astype(np.uint64) * _ODD
    bits = (bits ^ (bits >> np.uint64(30))) * _MIX
    mixed: np.ndarray = bits ^ (bits >> np.uint64(31))
    return mixed

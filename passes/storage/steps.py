"""Places of what is not zero, as steps from one to the next."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

_BITS = (4, 8)
_MOST = 2
"""Bits of steps for each weight above which they surely take more than a bit for every weight."""


def gapped(places: np.ndarray, size: int) -> Iterator[tuple[np.ndarray, int]]:
    """Yield places that steps of few bits reach, and these bits, where they are worth a look.

    Args:
        places: Ascending, int [k].
        size: Of the constant.
    """
    for bits in _BITS:
        found = with_steps(places, bits)
        if len(found) * bits < _MOST * size:
            yield found, bits


def with_steps(places: np.ndarray, bits: int) -> np.ndarray:
    """Return places with more of them between those that are too far apart, ascending."""
    most = (1 << bits) - 1
    gaps = np.diff(places, prepend=0)
    more = np.maximum(-(-gaps // most) - 1, 0)
    found = np.repeat(places, more + 1)
    back = np.arange(len(found)) - np.repeat(np.cumsum(more + 1) - 1, more + 1)
    return np.asarray(found + back * most)

"""Channels whose sizes differ so much that they cannot be in one unit."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

GAP = 8.0
"""Factor between the sizes of neighbouring channels, in order of size, that parts them."""
_MOST_CHANNELS = 4096
_LEAST_SEEN = 4
"""Elements of a channel below which its size is not known."""
_FLOOR = 1e-9
"""Size over that of the largest channel below which channels are all alike."""


@dataclass(frozen=True)
class Scales:
    """Channels by size.

    Attributes:
        axis: Axis of the channels, counted from the end (negative).
        groups: Indices along it of the channels of like size, each in order; the group of the first
            channel comes first.
        gap: Largest factor between neighbouring channels in order of size.
    """

    axis: int
    groups: tuple[np.ndarray, ...]
    gap: float


def scales_along(values: np.ndarray, axis: int, gap: float = GAP) -> Scales | None:
    """Group the channels along an axis by size, None if all are alike.

    Channels are put in order of their largest magnitude; wherever the next one is larger by a
    factor, a new group begins. How rarely a channel is far from zero is no unit, so means would
    mislead, and values within [0, 1] are alike.

    Args:
        values: Finite numbers of any shape.
        axis: The axis, counted from the end (negative).
        gap: The factor.
    """
    extent = values.shape[axis]
    few = values.size < _LEAST_SEEN * extent
    if not 1 < extent <= _MOST_CHANNELS or few or within_unit(values):
        return None
    others = tuple(a for a in range(values.ndim) if a != values.ndim + axis)
    size = np.abs(values).max(axis=others).astype(np.float64)
    floor = max(float(size.max()) * _FLOOR, np.finfo(np.float64).tiny)
    order = np.argsort(size, kind="stable")
    gaps = np.diff(np.log(np.maximum(size[order], floor)))
    cuts = np.flatnonzero(gaps > np.log(gap)) + 1
    if not len(cuts):
        return None
    groups = sorted((np.sort(g) for g in np.split(order, cuts)), key=lambda g: int(g[0]))
    return Scales(axis, tuple(groups), float(np.exp(gaps.max())))


def scales_of(values: np.ndarray, gap: float = GAP) -> Scales | None:
    """Group channels by size along the axis on which they differ most, the first left out.

    Args:
        values: Any shape, the first axis that of samples.
        gap: How many times larger the next group has to be.
    """
    return widest(scales_along(values, axis, gap) for axis in range(-values.ndim + 1, 0))


def within_unit(values: np.ndarray) -> bool:
    """Whether values may be probabilities: there are some, and all within [0, 1]."""
    return bool(values.size) and float(values.min()) >= 0 and float(values.max()) <= 1


def widest(found: Iterable[Scales | None]) -> Scales | None:
    """Return the grouping with the largest gap, the first of equals."""
    there = [s for s in found if s is not None]
    return max(there, key=lambda s: s.gap, default=None)

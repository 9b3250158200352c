"""Integers times scales, found by looking at the values."""

from __future__ import annotations

import numpy as np

from ocompress.archive.grids import find_grid

_FIRST = 8
"""Channels that have to lie on grids before all of them are looked at."""


def on_grid(array: np.ndarray, axes: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the integers and scales whose products are an array, bit for bit.

    Args:
        array: float32, any shape.
        axes: The axes whose indices have a scale of their own.

    Returns:
        The integers, as float32 of the array's shape, and float32 scales that broadcast with it;
        None if it lies on no such grid.
    """
    others = tuple(a for a in range(array.ndim) if a not in axes)
    turned = array.transpose(*axes, *others)
    channels = int(np.prod(turned.shape[: len(axes)]))
    rows = np.ascontiguousarray(turned).reshape(channels, -1)
    if not rows.size or find_grid(rows[:_FIRST], 1, rows.shape[1]) is None:
        return None
    grid = find_grid(rows, 1, rows.shape[1])
    if grid is None or grid.scales.dtype != np.float32:
        return None
    levels = grid.levels.astype(np.float32).reshape(turned.shape)
    back = np.argsort((*axes, *others))
    shape = tuple(n if a in axes else 1 for a, n in enumerate(array.shape))
    return np.ascontiguousarray(levels.transpose(back)), grid.scales.reshape(shape)


def axes_of(shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    """Return the axes that scales of an array may belong to: rows, columns, those of each matrix.

    Args:
        shape: Of two extents or more.
    """
    if len(shape) == 3:  # weights of recurrent layers, matrices that are stacked
        return [(0,), (0, 1), (0, 2)]
    return [(0,), (1,)]

"""Which elements of an output belong to which sample."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def row_count(shape: Sequence[int], samples: int) -> int:
    """Return how many samples an output tells apart: all, or 1 if it is one result of the feed.

    Samples are counted by axis 0, by another axis (the second of `[T, N, C]`), or by runs of as
    many rows each (`[N * T, C]`).

    Args:
        shape: Extents of the output, or of what was made of it.
        samples: Samples of the feed.
    """
    told = samples in shape or (samples > 1 and shape and shape[0] and shape[0] % samples == 0)
    return samples if told else 1


def by_sample(values: np.ndarray, samples: int) -> np.ndarray:
    """Return an output with its samples first, [samples, elements], or as one row.

    Args:
        values: The output, or what was made of it; any shape.
        samples: Samples of the feed.
    """
    rows = row_count(values.shape, samples)
    if not values.size:
        return values.reshape(rows, 0)
    axis = values.shape.index(samples) if rows == samples and samples in values.shape else 0
    turned = np.moveaxis(values, axis, 0) if axis else values
    return turned.reshape(rows, -1)

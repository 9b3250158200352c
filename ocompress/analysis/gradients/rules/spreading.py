"""Linear maps along axes that several rules are made of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ocompress.analysis.gradients.tape import Tape
from ocompress.ir import Value


def fit(tape: Tape, g: Value, before: Sequence[int], after: Sequence[int]) -> Value:
    """Add zeros around a value, or take away elements where a number is negative.

    Args:
        tape: Where to write.
        g: Any value.
        before: Elements to add at the start of each axis.
        after: Elements to add at its end.
    """
    if not any(before) and not any(after):
        return g
    if max(*before, *after) <= 0:  # slicing is faster
        axes = [axis for axis, cut in enumerate(zip(before, after, strict=True)) if any(cut)]
        starts = tape.integers([-before[axis] for axis in axes])
        ends = tape.integers([after[axis] or np.iinfo(np.int64).max for axis in axes])
        return tape.op("Slice", g, starts, ends, tape.integers(axes))
    return tape.op("Pad", g, tape.integers([*before, *after]), tape.scalar(0), mode="constant")


def spread_apart(tape: Tape, g: Value, shape: Sequence[int], axis: int, step: int) -> Value:
    """Put `step - 1` zeros between neighbours along an axis.

    Args:
        tape: Where to write.
        g: A value.
        shape: Its shape.
        axis: Along which axis, from the end where negative.
        step: Distance of two neighbours afterwards.

    Returns:
        A value of extent `(n - 1) step + 1` along the axis.
    """
    axis %= len(shape)
    extent = shape[axis]
    if step == 1 or extent == 1:
        return g
    lead, rest = list(shape[:axis]), list(shape[axis + 1 :])
    thin = tape.reshape(g, [*lead, extent, 1, *rest])
    after = [0] * (len(shape) + 1)
    after[axis + 1] = step - 1
    padded = fit(tape, thin, [0] * len(after), after)
    full = tape.reshape(padded, [*lead, extent * step, *rest])
    after = [0] * len(shape)
    after[axis] = 1 - step
    return fit(tape, full, [0] * len(shape), after)


def sum_at(
    tape: Tape, g: Value, shape: Sequence[int], axis: int, sources: np.ndarray, extent: int
) -> Value:
    """Add every element to the place along an axis that it was read from.

    Args:
        tape: Where to write.
        g: The gradient of what was read.
        shape: Its shape.
        axis: Along which axis.
        sources: For each position of `g` along the axis, the place, shape [shape[axis]].
        extent: Number of places.

    Returns:
        A value of extent `extent` along the axis.
    """
    full, wide = [1] * len(shape), list(shape)
    full[axis], wide[axis] = shape[axis], extent
    where = tape.const(np.asarray(sources, np.int64).reshape(full))
    places = tape.spread(where, shape)
    return tape.op("ScatterElements", tape.zeros(wide), places, g, axis=axis, reduction="add")


def contract(tape: Tape, g: Value, rank: int, axis: int, matrix: np.ndarray) -> Value:
    """Multiply by a matrix along an axis: what a linear map along it passes back.

    Args:
        tape: Where to write.
        g: The gradient of what the map made, of extent `made` along the axis.
        rank: Number of axes.
        axis: Along which axis.
        matrix: Shape [made, read].
    """
    order = list(range(rank))
    order[axis], order[-1] = order[-1], order[axis]
    turned = tape.transpose(g, order) if axis != rank - 1 else g
    product = tape.op("MatMul", turned, tape.const(matrix.astype(np.float32)))
    return tape.transpose(product, order) if axis != rank - 1 else product

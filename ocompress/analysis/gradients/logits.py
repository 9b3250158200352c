"""Whether numbers that a linear layer makes can be logits of classes."""

from __future__ import annotations

import numpy as np

from ocompress.ir import Model

_FEW_CLASSES = 4
"""Of up to so many channels beside other outputs, evidence is asked for that they are classes."""
_SUM_TOLERANCE = 1e-3
_ROWS = 32
"""Rows that it takes to say what channels have in common."""
_COMMON = 0.3
"""What channels have in common, 1 for independent ones, that those of a softmax hardly exceed.
Cross entropy moves no sum of logits: twelve nets of 2 to 4 classes, trained for one to four epochs,
have 0.002 to 0.11 of it, and before training 0.5 to 1.3."""
_MANY = 32
"""Least extent of what has no other axis beside the batch that is no coincidence."""
_OFF = 30.0
"""Common offset of logits over how they differ, at most: nothing teaches a net to have one."""
_SUREST = 50.0
"""Nats between the two largest logits that no net is sure by in the median."""


def may_be_logits(output: np.ndarray, axis: int, *, alone: bool, like: bool = False) -> bool:
    """Return whether the values of an output can be logits along an axis.

    A softmax does not see what its logits have in common, so training does not teach it to vary.
    Positions, sizes and angles have no such reason: two to four of them beside other outputs are
    numbers if they have anything in common. Of a sole output, and of many channels, no such
    evidence is asked for: nets that nobody trained have logits that move in step, too. What has the
    extents of an input is as likely that input again, without noise or a step later, so there
    nothing but evidence counts.

    Args:
        output: Any float type and shape.
        axis: Of the classes, at least two.
        alone: Whether it is the model's one float output.
        like: Whether it has the extents of an input (`shaped_as_input`).
    """
    values = np.asarray(np.moveaxis(output, axis, -1), np.float64)
    rows = values.reshape(-1, values.shape[-1])
    rows = rows[np.isfinite(rows).all(axis=1)]
    if not len(rows):
        return True
    best = np.partition(rows, -2, axis=1)[:, -2:]
    if np.median(best[:, 1] - best[:, 0]) > _SUREST:
        return False
    if abs(float(rows.mean())) > _OFF * float(rows.std()) > 0:
        return False
    if like:
        return len(rows) >= _ROWS and _common(rows) <= _COMMON
    few = rows.shape[1] <= _FEW_CLASSES and not alone
    return not few or len(rows) < _ROWS or _common(rows) <= _COMMON


def shaped_as_input(output: np.ndarray, model: Model) -> bool:
    """Return whether an output has the extents of a float input, as what restores or continues it.

    The batch does not count, nor do extents that inputs leave open; the class axis must be known.
    A few features may be as many as there are classes.
    """
    axis = 1 if output.ndim > 3 else -1
    few = output.ndim == 2 and output.shape[1] < _MANY
    return not few and any(
        value.dtype is not None
        and value.dtype.is_float
        and value.shape is not None
        and len(value.shape) == output.ndim > 1
        and isinstance(value.shape[axis], int)
        and all(
            not isinstance(extent, int) or extent == there
            for extent, there in zip(value.shape[1:], output.shape[1:], strict=True)
        )
        for value in model.graph.inputs
    )


def _common(rows: np.ndarray) -> float:
    """Return how much of the variation all channels share: 1 in the mean if none does."""
    moved = rows - rows.mean(axis=0)
    power = float(np.square(moved).sum())
    return float(np.square(moved.sum(axis=1)).sum()) / power if power else 0.0


def sums_to_one(output: np.ndarray, axis: int) -> bool:
    """Whether values of any shape are within [0, 1] and sum to one along an axis."""
    values = np.asarray(output, np.float64)
    if values.size == 0 or not (values.min() >= 0 and values.max() <= 1 + _SUM_TOLERANCE):
        return False
    return bool(np.all(np.abs(values.sum(axis=axis) - 1) <= _SUM_TOLERANCE))

"""Whether numbers that a linear layer makes can be logits of classes."""

from __future__ import annotations

import numpy as np

_FEW_CLASSES = 4
"""Of up to so many channels beside other outputs, evidence is asked for that they are classes."""
_ROWS = 32
"""Rows that it takes to say what channels have in common."""
_COMMON = 0.3
"""What channels have in common, 1 for independent ones, that those of a softmax hardly exceed.
Cross entropy moves no sum of logits: twelve nets of 2 to 4 classes, trained for one to four epochs,
have 0.002 to 0.11 of it, and before training 0.5 to 1.3."""
_SUREST = 50.0
"""Nats between the two largest logits that no net is sure by in the median."""


def may_be_logits(output: np.ndarray, axis: int, *, alone: bool) -> bool:
    """Return whether the values of an output can be logits along an axis.

    A softmax does not see what its logits have in common, so training does not teach it to vary.
    Positions, sizes and angles have no such reason: two to four of them beside other outputs are
    numbers if they have anything in common. Of a sole output, and of many channels, no such
    evidence is asked for: nets that nobody trained have logits that move in step, too.

    Args:
        output: Any float type and shape.
        axis: Of the classes, at least two.
        alone: Whether it is the model's one float output.
    """
    values = np.asarray(np.moveaxis(output, axis, -1), np.float64)
    rows = values.reshape(-1, values.shape[-1])
    rows = rows[np.isfinite(rows).all(axis=1)]
    if not len(rows):
        return True
    best = np.partition(rows, -2, axis=1)[:, -2:]
    if np.median(best[:, 1] - best[:, 0]) > _SUREST:
        return False
    few = rows.shape[1] <= _FEW_CLASSES and not alone
    return not few or len(rows) < _ROWS or _common(rows) <= _COMMON


def _common(rows: np.ndarray) -> float:
    """Return how much of the variation all channels share: 1 in the mean if none does."""
    moved = rows - rows.mean(axis=0)
    power = float(np.square(moved).sum())
    return float(np.square(moved.sum(axis=1)).sum()) / power if power else 0.0

"""Samples by which a pass chooses, and that no pass of its pipeline is fitted to.

A model looks better on samples that it was fitted to than on others. So a training that is judged
on samples which a pass before it has seen is refused where it helps, or ends too early.
"""

from __future__ import annotations

from collections.abc import Sequence

from ocompress.io.dataset import Dataset
from ocompress.io.holdout import Split, hold_out
from ocompress.pipeline.base import Pass

SHARE, MOST = 0.1, 2000
"""Part of the samples that is put aside, and how many are at most: the divergence is that of the
same samples each time, so few tell which weights are better."""


def sets_aside(passes: Sequence[Pass]) -> bool:
    """Whether passes need samples that none of them is fitted to."""
    return any(item.sets_aside for item in passes)


def put_aside(data: Dataset, passes: Sequence[Pass], seed: int = 0) -> Split:
    """Return the samples that passes are fitted to, and those by which some of them choose.

    Both are the whole where none does, or the data cannot be divided.

    Args:
        data: What passes may see.
        passes: All that run on them, one after the other.
        seed: Makes the draw repeatable.
    """
    if not sets_aside(passes):
        return Split(data, data)
    return hold_out(data, share=SHARE, most=MOST, seed=seed)

"""Sweeping over data: runs the model batch by batch and feeds accumulators."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ocompress.analysis.statistics import Wish, Wishes
from ocompress.io.dataset import Dataset
from ocompress.ir import Model


def observe(
    model: Model, data: Dataset, wishes: Wishes, progress: Callable[[int, int], None]
) -> dict[tuple[str, Wish], Any]:
    """Run `model` over `data` once and return the finished summaries.

    Args:
        model: Not changed.
        data: Feeds.
        wishes: Which summaries of which values (of the main graph or of bodies).
        progress: Called with the number of feeds done and their total.
    """
    raise NotImplementedError

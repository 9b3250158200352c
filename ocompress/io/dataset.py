"""What calibration and evaluation data look like to the rest of the compiler."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol, runtime_checkable

import numpy as np

Feeds = Mapping[str, np.ndarray]
"""One call of the model: an array per input name."""


@runtime_checkable
class Dataset(Protocol):
    """Feeds that can be iterated over any number of times, always in the same order."""

    @property
    def samples(self) -> int:
        """Number of samples over all feeds."""
        ...

    @property
    def source(self) -> str:
        """Where the data came from, for reports: a file name or `module:function`."""
        ...

    @property
    def labels(self) -> np.ndarray | None:
        """Labels in the order of the samples, None when the data have none."""
        ...

    def __len__(self) -> int:
        """Count the feeds."""
        ...

    def __iter__(self) -> Iterator[Feeds]:
        """Iterate over the feeds; only one at a time is held in memory."""
        ...

    def take(self, samples: int) -> Dataset:
        """Return the first feeds that together hold at most `samples` samples, at least one."""
        ...

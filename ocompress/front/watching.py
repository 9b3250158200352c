"""Data that say how far a run over them is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from ocompress.io import Dataset, Feeds

Told = Callable[[int, int], None]
"""Is told how many feeds were used, and of how many."""


@dataclass(frozen=True)
class Watched:
    """The same data; whoever goes through them tells how far it is."""

    data: Dataset
    tell: Told

    @property
    def source(self) -> str:
        """Where the data came from."""
        return self.data.source

    @property
    def samples(self) -> int:
        """Number of samples over all feeds."""
        return self.data.samples

    @property
    def labels(self) -> np.ndarray | None:
        """Labels in the order of the samples."""
        return self.data.labels

    def __len__(self) -> int:
        """Count the feeds."""
        return len(self.data)

    def __iter__(self) -> Iterator[Feeds]:
        """Iterate over the feeds; one counts once the next is asked for."""
        total = len(self.data)
        for done, feeds in enumerate(self.data):
            self.tell(done, total)
            yield feeds
        self.tell(total, total)

    def take(self, samples: int) -> Dataset:
        """Return the first feeds; nobody waits for those."""
        return self.data.take(samples)

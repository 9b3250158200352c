"""Data that say how far a run over them is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ocompress.io import Feeds
from ocompress.io.dataset import Wrapped

Told = Callable[[int, int], None]
"""Is told how many feeds were used, and of how many."""


@dataclass(frozen=True)
class Watched(Wrapped):
    """The same data; whoever goes through them tells how far it is."""

    tell: Told

    def __iter__(self) -> Iterator[Feeds]:
        """Iterate over the feeds; one counts once the next is asked for."""
        total = len(self.data)
        for done, feeds in enumerate(self.data):
            self.tell(done, total)
            yield feeds
        self.tell(total, total)

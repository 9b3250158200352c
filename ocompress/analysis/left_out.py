"""The samples that nothing was fitted to, where what is fitted judges itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ocompress.analysis.second_moments import FOLDS, Dealer
from ocompress.io.dataset import Dataset, Feeds, Wrapped, axes_of, cut_at


@dataclass(frozen=True)
class Dealt(Wrapped):
    """One of the two parts of a dataset that `Dealer` deals samples to.

    Feeds are cut along their first axis, as `cut_at` of 1 allows.
    """

    judges: bool
    """Whether it is the part that judges, one sample of three; else the one to fit to."""

    @property
    def samples(self) -> int:
        """Number of samples, if each item of the first axis is one."""
        out = self.data.samples // FOLDS
        return out if self.judges else self.data.samples - out

    @property
    def labels(self) -> None:
        """Labels: none."""

    def __len__(self) -> int:
        """Count the feeds."""
        return sum(1 for _ in self)

    def __iter__(self) -> Iterator[Feeds]:
        """Iterate over what is left of the feeds."""
        dealer = Dealer()
        for feed in self.data:
            extents = {len(array) if array.ndim else 0 for array in feed.values()}
            judges = dealer.judges(max(1, extents.pop()) if len(extents) == 1 else 1)
            chosen = judges if self.judges else ~judges
            if chosen.all():
                yield feed
            elif chosen.any():
                yield {name: array[chosen] for name, array in feed.items()}

    def take(self, samples: int) -> Dealt:
        """Return the first of them, about `samples`."""
        whole = samples * FOLDS if self.judges else -(-samples * FOLDS // (FOLDS - 1))
        return Dealt(self.data.take(whole), self.judges)


def parts_of(data: Dataset) -> tuple[Dealt, Dealt] | None:
    """Return the samples to fit to and those to judge by.

    Returns:
        None if there are too few for both, or feeds have to stay whole.
    """
    if cut_at(data) != 1 or axes_of(data) or data.samples < FOLDS:
        return None
    return Dealt(data, judges=False), Dealt(data, judges=True)

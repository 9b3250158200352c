"""Data in two parts: one that passes are fitted to, and one that nothing but verdicts ever see.

What was fitted to samples looks better on them than on others, the more so the fewer there are.
So whatever judges a model (limits, guards, the final figures) has samples of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ocompress.io.batches import ArrayDataset
from ocompress.io.dataset import Dataset, Feeds, Wrapped, samples_in

SHARE, MOST = 0.2, 5000
"""Part of the samples that is held out, and how many that are at most where nobody asks for more:
they tell a share to within a point, and others say more where weights are fitted to them."""
_FEW_SHARE, _FEW = 1 / 3, 64
"""Of few samples a larger part is held out, until there are so many: a verdict on a fifth of 100
could not tell 90 % from 100 %."""


@dataclass(frozen=True)
class Split:
    """The two parts.

    Attributes:
        fit: What passes see.
        held_out: What judges see.
    """

    fit: Dataset
    held_out: Dataset

    @property
    def is_apart(self) -> bool:
        """Whether the two parts have no sample in common."""
        return self.fit is not self.held_out


def hold_out(
    data: Dataset, *, share: float = SHARE, most: int | None = MOST, seed: int = 0
) -> Split:
    """Hold out a part of the samples, drawn at random.

    Where the model leaves the batch free single samples are drawn, else whole feeds. Both parts
    keep the order of the data. Of data that cannot be divided (one sample, or one feed of a fixed
    batch) both parts are the whole.

    Args:
        data: All there is.
        share: Part that is held out; few samples give up to a third until 64 are held out. 0
            holds nothing out.
        most: Samples that are held out at most, but for the last feed; None for any number.
        seed: Makes the draw repeatable.
    """
    pieces = _pieces(data)
    count = held_count(pieces, share) if share else 0
    if most is not None and count > 1 and data.samples * count > most * pieces:
        count = max(1, -(-most * pieces // data.samples))
    if not count or count >= pieces:
        return Split(data, data)
    drawn = np.random.default_rng([seed, pieces]).permutation(pieces)[:count]
    out = np.zeros(pieces, bool)
    out[drawn] = True
    return Split(_pick(data, ~out), _pick(data, out))


def held_count(samples: int, share: float = SHARE) -> int:
    """Return how many of so many samples are held out; 0 of a single one."""
    few = min(round(samples * max(share, _FEW_SHARE)), _FEW)
    wanted = max(round(samples * share), few if share >= SHARE else 0)
    return min(max(wanted, 1), samples - 1)


@dataclass(frozen=True)
class PickedFeeds(Wrapped):
    """Some feeds of a dataset."""

    keep: np.ndarray
    """Which feeds, bool [feeds]."""
    limit: int | None = None

    @cached_property
    def _sizes(self) -> np.ndarray:
        """Samples of each feed of all the data; the first call goes through them once."""
        return np.array([samples_in(self.data, feed) for feed in self.data])

    @cached_property
    def _used(self) -> np.ndarray:
        used = self.keep.copy()
        if self.limit is not None:
            total = np.cumsum(np.where(used, self._sizes, 0))
            first = int(np.flatnonzero(used)[0])
            used &= total <= self.limit
            used[first] = True
        return used

    @property
    def samples(self) -> int:
        """Number of samples over all feeds."""
        return int(self._sizes[self._used].sum())

    @property
    def labels(self) -> np.ndarray | None:
        """Labels of the samples that are used."""
        labels = self.data.labels
        return None if labels is None else labels[np.repeat(self._used, self._sizes)]

    def __len__(self) -> int:
        """Count the feeds."""
        return int(self._used.sum())

    def __iter__(self) -> Iterator[Feeds]:
        """Iterate over the feeds."""
        for feed, used in zip(self.data, self._used, strict=True):
            if used:
                yield feed

    def take(self, samples: int) -> PickedFeeds:
        """Return the first feeds that together hold at most `samples` samples, at least one."""
        limit = samples if self.limit is None else min(samples, self.limit)
        return replace(self, limit=limit)


def _pieces(data: Dataset) -> int:
    """Return into how many pieces data can be divided: the smallest feeds, or feeds."""
    if isinstance(data, ArrayDataset) and data.plan.cut:
        return data.rows // data.plan.unit.rows
    return len(data)


def _pick(data: Dataset, keep: np.ndarray) -> Dataset:
    if isinstance(data, ArrayDataset) and data.plan.cut:
        return data.pick(keep)
    return PickedFeeds(data, keep)

"""What calibration and evaluation data look like to the rest of the compiler."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
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


def cut_at(data: Dataset) -> int:
    """Return how many rows of a feed stay together when it is cut; 0 if feeds stay whole.

    Datasets of other makers need not say; theirs may be cut anywhere.
    """
    return int(getattr(data, "cut_at", 1))


def axes_of(data: Dataset) -> Mapping[str, int | None]:
    """Return the axis that counts samples of the inputs where that is not the first.

    None stands for inputs that are one sample as a whole.
    """
    return dict(getattr(data, "axes", {}))


def samples_in(data: Dataset, feed: Feeds) -> int:
    """Return how many samples one feed of a dataset holds.

    Of datasets that do not say, the extent of axis 0 that comes nearest to the mean over all feeds
    tells (other inputs may hold tables of another length).
    """
    if hasattr(data, "samples_in"):
        return int(data.samples_in(feed))
    mean = data.samples / max(len(data), 1)
    if data.samples == len(data):
        return 1
    extents = [a.shape[0] for a in map(np.asarray, feed.values()) if a.ndim]
    return min(extents, key=lambda extent: abs(extent - mean), default=1)


def notes_of(data: Dataset) -> list[str]:
    """Return what a user should be told about data, one sentence each."""
    notes = list(getattr(data, "notes", ()))
    if data.samples > 1 and all_alike(data):
        same = f"all {data.samples} samples are the same numbers, so results say nothing of others"
        notes.append(f"{same}; give samples as the model will meet them")
    return [f"{data.source}: {note}" for note in notes]


def all_alike(data: Dataset) -> bool:
    """Whether every sample is the same as the first; stops at one that is not.

    Of feeds that hold several samples, inputs count that have an element for each on their axis.
    """
    first: dict[str, bytes] = {}
    axes = axes_of(data)
    for feed in data:
        count = samples_in(data, feed)
        for name, given in feed.items():
            array, axis = np.asarray(given), axes.get(name, 0)
            cut = axis is not None and axis < array.ndim and array.shape[axis] == count
            rows = np.moveaxis(array, axis, 0) if cut and axis is not None else array[None]
            for row in rows:
                if first.setdefault(name, row.tobytes()) != row.tobytes():
                    return False
    return bool(first)


@dataclass(frozen=True)
class Wrapped:
    """Another dataset in all respects; subclasses change some."""

    data: Dataset

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

    @property
    def cut_at(self) -> int:
        """Rows of a feed that stay together when it is cut; 0 if it stays whole."""
        return cut_at(self.data)

    @property
    def axes(self) -> Mapping[str, int | None]:
        """The axis that counts samples of the inputs where that is not the first."""
        return axes_of(self.data)

    def samples_in(self, feed: Feeds) -> int:
        """Return how many samples one of the feeds holds."""
        return samples_in(self.data, feed)

    def __len__(self) -> int:
        """Count the feeds."""
        return len(self.data)

    def __iter__(self) -> Iterator[Feeds]:
        """Iterate over the feeds."""
        return iter(self.data)

    def take(self, samples: int) -> Dataset:
        """Return the first feeds that together hold at most `samples` samples, at least one."""
        return self.data.take(samples)

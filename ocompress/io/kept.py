"""Data that are read and decoded once, though passes go through them many times."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from ocompress.io.arrays import ArraySource, HeldArray
from ocompress.io.batches import ArrayDataset
from ocompress.io.dataset import Dataset
from ocompress.io.feeds import ChainDataset, FeedDataset, Opener

MOST_KEPT = 512 << 20
"""Bytes of decoded arrays that are kept; larger data are decoded each time."""


def kept(data: Dataset, most_bytes: int = MOST_KEPT) -> Dataset:
    """Return the same data, their arrays kept in memory once they have been read.

    Args:
        data: Data from files or functions.
        most_bytes: Data that take more once they are decoded are returned as they are.
    """
    if isinstance(data, ArrayDataset):
        if sum(_bytes(a) for a in data.arrays.values()) > most_bytes:
            return data
        return replace(data, arrays={name: _kept(a) for name, a in data.arrays.items()})
    if isinstance(data, ChainDataset):
        share = most_bytes // max(1, len(data.parts))
        return replace(data, parts=[kept(part, share) for part in data.parts])
    if isinstance(data, FeedDataset):
        return replace(data, start=KeptFeeds(data.start, most_bytes))
    return data


@dataclass
class KeptArray:
    """An array of which the part that was read is kept."""

    source: ArraySource
    _read: np.ndarray | None = field(default=None, init=False, repr=False)

    @property
    def shape(self) -> tuple[int, ...]:
        """Extents."""
        return self.source.shape

    @property
    def dtype(self) -> np.dtype:
        """Element type."""
        return self.source.dtype

    def whole(self) -> np.ndarray:
        """Return all of it."""
        have = self._read
        if have is None or len(have) < self.shape[0]:
            have = self._read = _frozen(self.source.whole())
        return have

    def rows(self, group: int, stop: int) -> Iterator[np.ndarray]:
        """Read axis 0 up to `stop` in groups; the last may be smaller."""
        have = self._read
        if have is not None and len(have) >= stop:
            yield from HeldArray(have).rows(group, stop)
            return
        pieces: list[np.ndarray] = []
        for piece in self.source.rows(group, stop):
            pieces.append(_frozen(piece))
            if sum(map(len, pieces)) >= stop:  # readers never ask for what comes after the last
                self._read = pieces[0] if len(pieces) == 1 else _frozen(np.concatenate(pieces))
            yield pieces[-1]


@dataclass
class KeptFeeds:
    """Starts feeds that are kept once all of them came and fit."""

    start: Opener
    most_bytes: int
    _feeds: list[Mapping[str, object]] | None = field(default=None, init=False, repr=False)

    def __call__(self) -> Iterator[Mapping[str, object]]:
        """Iterate over the feeds from the beginning."""
        if self._feeds is not None:
            yield from self._feeds
            return
        held: list[Mapping[str, object]] | None = []
        size = 0
        for feed in self.start():
            size += sum(a.nbytes for a in feed.values() if isinstance(a, np.ndarray))
            if held is not None and size <= self.most_bytes:
                held.append(dict(feed))
            else:
                held = None
            yield feed
        self._feeds = held


def _kept(source: ArraySource) -> ArraySource:
    inside = isinstance(source, HeldArray | KeptArray) or not source.shape
    return source if inside else KeptArray(source)


def _bytes(source: ArraySource) -> int:
    return int(np.prod(source.shape, dtype=np.float64)) * source.dtype.itemsize


def _frozen(array: np.ndarray) -> np.ndarray:
    """Return an array that no reader can change for the next one."""
    array = array.view()
    array.flags.writeable = False
    return array

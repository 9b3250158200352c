"""Datasets made of whole feeds: model zoo folders, files of different shapes, functions."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError

from ocompress.errors import DataError
from ocompress.io.batch_axes import Axis
from ocompress.io.dataset import Dataset, Wrapped, axes_of, cut_at, samples_in
from ocompress.io.inputs import InputSpec, checked_feed
from ocompress.ir.tensors import read_tensor
from ocompress.wording import counted

Opener = Callable[[], Iterable[Mapping[str, object]]]
"""Starts the feeds from the beginning."""


@dataclass(frozen=True)
class FeedDataset:
    """Feeds that come one by one from a function that starts them afresh."""

    source: str
    specs: tuple[InputSpec, ...]
    start: Opener
    given_labels: np.ndarray | None = None
    limit: int | None = None
    notes: tuple[str, ...] = ()
    divisible: bool = True
    """Whether the model takes feeds that are cut along their first axis."""
    single: bool = False
    """Whether a feed is one sample, whatever its extents."""

    @property
    def cut_at(self) -> int:
        """Rows of a feed that stay together when it is cut; 0 if it stays whole."""
        return int(self.divisible and not self.axes)

    @property
    def axes(self) -> dict[str, Axis]:
        """The axis that counts samples of the inputs where that is not the first."""
        return {s.name: s.axis for s in self.specs if s.axis != 0}

    def samples_in(self, feed: Mapping[str, np.ndarray]) -> int:
        """Return how many samples one of the feeds holds."""
        return 1 if self.single else samples_of(feed, self.axes)

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        """Iterate over the feeds, each checked against the model."""
        total = 0
        for number, raw in enumerate(self.start()):
            feed = checked_feed(self.source, self.specs, raw, number)
            total += self.samples_in(feed)
            if self.limit is not None and number and total > self.limit:
                return
            yield feed
            if self.limit is not None and total >= self.limit:
                return

    @cached_property
    def _counts(self) -> list[int]:
        counts = [self.samples_in(feed) for feed in self]
        if not counts:
            msg = f"data {self.source!r} are empty: there is no feed"
            raise DataError(msg)
        return counts

    @property
    def samples(self) -> int:
        """Number of samples over all feeds; the first call goes through them once."""
        return sum(self._counts)

    def __len__(self) -> int:
        """Count the feeds; the first call goes through them once."""
        return len(self._counts)

    @property
    def labels(self) -> np.ndarray | None:
        """Labels of the samples that are used."""
        if self.given_labels is None:
            return None
        short = len(self.given_labels) < self.samples
        if short or (self.limit is None and len(self.given_labels) != self.samples):
            msg = (
                f"data {self.source!r} have {counted(self.samples, 'sample')} but "
                f"{counted(len(self.given_labels), 'label')}; give one label a sample"
            )
            raise DataError(msg)
        return self.given_labels[: self.samples]

    def take(self, samples: int) -> FeedDataset:
        """Return the first feeds that together hold at most `samples` samples, at least one."""
        limit = samples if self.limit is None else min(samples, self.limit)
        return replace(self, limit=limit)


@dataclass(frozen=True)
class ChainDataset:
    """Several datasets one after the other."""

    source: str
    parts: Sequence[Dataset]
    notes: tuple[str, ...] = field(default=())

    @property
    def cut_at(self) -> int:
        """Rows of a feed that stay together when it is cut; 0 if it stays whole."""
        return cut_at(self.parts[0])

    @property
    def axes(self) -> Mapping[str, Axis]:
        """The axis that counts samples of the inputs where that is not the first."""
        return axes_of(self.parts[0])

    def samples_in(self, feed: Mapping[str, np.ndarray]) -> int:
        """Return how many samples one of the feeds holds."""
        own = self._by_shapes.get(_shapes(feed), self.parts[0])
        return samples_in(own, feed)

    @cached_property
    def _by_shapes(self) -> dict[_Shapes, Dataset]:
        """The parts that are one feed each, which may have units of their own, by its shapes."""
        whole = [p for p in self.parts if len(p) == 1]
        return {_shapes(next(iter(p))): p for p in whole}

    @property
    def samples(self) -> int:
        """Number of samples over all parts."""
        return sum(p.samples for p in self.parts)

    @property
    def labels(self) -> np.ndarray | None:
        """Labels of all parts, None if one of them has none."""
        labels = [p.labels for p in self.parts]
        known = [found for found in labels if found is not None]
        return np.concatenate(known) if len(known) == len(labels) else None

    def __len__(self) -> int:
        """Count the feeds."""
        return sum(len(p) for p in self.parts)

    def __iter__(self) -> Iterator[Mapping[str, np.ndarray]]:
        """Iterate over the feeds of each part in turn."""
        for part in self.parts:
            yield from part

    def take(self, samples: int) -> ChainDataset:
        """Return the first feeds that together hold at most `samples` samples, at least one."""
        kept: list[Dataset] = []
        left = samples
        for part in self.parts:
            if kept and left <= 0:
                break
            kept.append(part.take(left))
            left -= kept[-1].samples
        if len(kept) > 1 and left < 0:
            kept.pop()
        return replace(self, parts=kept)


class Unlabelled(Wrapped):
    """The same data without their labels."""

    @property
    def labels(self) -> None:
        """None, whatever the data have."""
        return

    def take(self, samples: int) -> Unlabelled:
        """Return the first feeds that together hold at most `samples` samples, at least one."""
        return Unlabelled(self.data.take(samples))


_Shapes = frozenset[tuple[str, tuple[int, ...]]]


def _shapes(feed: Mapping[str, np.ndarray]) -> _Shapes:
    return frozenset((name, array.shape) for name, array in feed.items())


def samples_of(feed: Mapping[str, np.ndarray], axes: Mapping[str, Axis] | None = None) -> int:
    """Return the extent that the batch axes of all inputs of rank 1 and more share, else 1.

    Args:
        feed: Arrays by name.
        axes: The axis that counts samples where that is not the first; None is no axis.
    """
    extents = set()
    for name, array in feed.items():
        axis = (axes or {}).get(name, 0)
        if array.ndim:
            extents.add(1 if axis is None else array.shape[axis if axis < array.ndim else 0])
    return extents.pop() if len(extents) == 1 else 1


def from_function(
    spec: str, specs: tuple[InputSpec, ...], labels: np.ndarray | None, limit: int | None
) -> FeedDataset:
    """Use what `module:function` returns: feeds, or an object with `get_next()`.

    Args:
        spec: `module:function`.
        specs: What the model reads.
        labels: Labels, [samples, ...], None without any.
        limit: Samples to use at most.

    Raises:
        DataError: If it cannot be imported, or raises.
    """
    module, _, name = spec.partition(":")
    if "" not in sys.path:  # a module in the present folder, as `python -m` would find it
        sys.path.insert(0, "")
    try:
        function = getattr(importlib.import_module(module), name)
    except Exception as error:
        msg = f"data {spec!r} cannot be imported: {type(error).__name__}: {error}"
        raise DataError(msg) from error
    if not callable(function):
        msg = f"data {spec!r} is not a function"
        raise DataError(msg)
    return FeedDataset(spec, specs, lambda: _call(spec, function), labels, limit)


def _call(spec: str, function: Callable[[], Any]) -> Iterator[Mapping[str, object]]:
    try:
        made = function()
        if hasattr(made, "get_next"):
            made = iter(made.get_next, None)
        for feed in made:
            yield _mapping(spec, feed)
    except DataError:
        raise
    except Exception as error:
        msg = f"data {spec!r} raised {type(error).__name__}: {error}"
        raise DataError(msg) from error


def _mapping(spec: str, feed: object) -> Mapping[str, object]:
    if isinstance(feed, Mapping):
        return feed
    msg = f"data {spec!r} gave a {type(feed).__name__}; a feed is a dict from input names to arrays"
    raise DataError(msg)


def from_zoo(
    folder: Path,
    sets: Sequence[Path],
    specs: tuple[InputSpec, ...],
    labels: np.ndarray | None,
    limit: int | None,
) -> FeedDataset:
    """Use `input_N.pb` files as the ONNX model zoo lays them out, one folder a feed.

    Args:
        folder: Where they lie.
        sets: The folders, one a feed.
        specs: What the model reads.
        labels: Labels, [samples, ...], None without any.
        limit: Samples to use at most.
    """
    return FeedDataset(
        str(folder), specs, lambda: (_zoo_feed(s, specs) for s in sets), labels, limit
    )


def _zoo_feed(folder: Path, specs: tuple[InputSpec, ...]) -> dict[str, np.ndarray]:
    feed = {}
    files = sorted(folder.glob("input_*.pb"), key=lambda p: int(p.stem.partition("_")[2]))
    for path, spec in zip(files, specs, strict=False):
        tensor = onnx.TensorProto()
        try:
            tensor.ParseFromString(path.read_bytes())
            array = read_tensor(tensor)
        except (DecodeError, OSError, ValueError, TypeError) as error:
            msg = f"data file {str(path)!r} holds no tensor: {error}"
            raise DataError(msg) from error
        names = {s.name for s in specs}
        feed[tensor.name if tensor.name in names else spec.name] = array
    return feed

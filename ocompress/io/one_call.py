"""One call of a model with as many samples as the user wants to time."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from ocompress.errors import OptionError, RuntimeFailureError
from ocompress.io.batch_axes import Axis, batch_axes
from ocompress.io.dataset import Dataset, Feeds, axes_of, cut_at, samples_in
from ocompress.ir import Model
from ocompress.runtime import Session


@dataclass(frozen=True)
class OneCall:
    """A dataset of one feed that says how many samples it holds.

    Attributes:
        source: Where the samples came from.
        feed: The feed.
        samples: Samples in it.
        cut_at: Rows of it that stay together when it is cut; 0 if it stays whole.
        axes: The axis that counts samples of the inputs where that is not the first.
    """

    source: str
    feed: Feeds
    samples: int
    labels: None = None
    cut_at: int = 1
    axes: Mapping[str, Axis] = field(default_factory=dict)

    def samples_in(self, feed: Feeds) -> int:
        """Return how many samples the feed holds."""
        return self.samples

    def __len__(self) -> int:
        """Count the feeds: one."""
        return 1

    def __iter__(self) -> Iterator[Feeds]:
        """Iterate over the one feed."""
        yield self.feed

    def take(self, samples: int) -> OneCall:
        """Return the data as they are: at least one feed is taken."""
        return self


def one_call(model: Model, data: Dataset, batch: int, *, threads: int = 1) -> OneCall:
    """Join the first samples of data to one feed; too few come over again.

    Args:
        model: What will be timed; it is run once where samples were joined.
        data: Feeds of any number of samples.
        batch: Samples that the feed holds.
        threads: Threads within an operator.

    Raises:
        OptionError: If the model fixes its batch at another number.
    """
    first = next(iter(data.take(batch)))
    held = samples_in(data, first)
    if held == batch:
        return OneCall(data.source, first, batch)
    told = {**batch_axes(model), **axes_of(data)}
    axes = _counting(model, first, told)
    if not axes or not (cut_at(data) or any(told.values())):
        raise OptionError(_fixed(held, batch))
    feed = _joined(data, axes, batch)
    try:
        Session(model, threads=threads).run(feed)
    except RuntimeFailureError as error:
        raise OptionError(_fixed(held, batch)) from error
    return OneCall(data.source, feed, batch, cut_at=0 if any(told.values()) else 1)


def _joined(data: Dataset, axes: Mapping[str, int], batch: int) -> dict[str, np.ndarray]:
    parts: list[Feeds] = []
    count = 0
    for feed in itertools.cycle(data.take(batch)):
        parts.append(feed)
        count += samples_in(data, feed)
        if count >= batch:
            break
    found = {name: np.asarray(array) for name, array in parts[0].items()}
    for name, axis in axes.items():
        whole = np.concatenate([part[name] for part in parts], axis)
        rows = whole.shape[axis] * batch // count
        found[name] = whole[(*[slice(None)] * axis, slice(rows))]
    return found


def _counting(model: Model, feed: Feeds, told: Mapping[str, Axis]) -> dict[str, int]:
    """Return the axis of each input that counts samples: a free first one, or of the same name.

    Args:
        model: Says what is free.
        feed: One feed.
        told: Axes that are known from the graph or the data.
    """
    shapes = {v.name: v.shape for v in model.graph.inputs}
    others = [n for n in feed if n not in told]
    free = [s[0] for n in others if (s := shapes.get(n)) and not isinstance(s[0], int)]
    names = {extent for extent in free if isinstance(extent, str)}
    found = {n: axis for n, axis in told.items() if n in feed and axis is not None}
    for name in others:
        array, shape = np.asarray(feed[name]), shapes.get(name)
        extents = shape if shape is not None else (None,) * array.ndim
        axis = next((a for a, extent in enumerate(extents) if extent in names), None)
        if axis is None and extents and not isinstance(extents[0], int):
            axis = 0
        if axis is not None:
            found[name] = axis
    return found


def _fixed(held: int, batch: int) -> str:
    return (
        f"the model fixes its batch at {held}, so a batch of {batch} cannot be timed; leave "
        "--batch out, or give a model with a free batch"
    )

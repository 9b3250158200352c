"""Where outputs come from: a session run feed by feed, or outputs put aside earlier."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping
from tempfile import SpooledTemporaryFile
from typing import Any, Protocol, cast

import numpy as np

from ocompress.io.dataset import Dataset, Feeds
from ocompress.ir import Model
from ocompress.runtime import Level, Session
from ocompress.validation.decisions import as_float

LARGE = 1 << 30
"""Bytes of weights above which only one session is held at a time."""
_IN_MEMORY = 64 << 20
"""Bytes that are put aside in memory; more goes to a temporary file."""


class Source(Protocol):
    """Gives the outputs of one model for each feed, in the order of the data."""

    def outputs(self, feeds: Feeds) -> dict[str, np.ndarray]:
        """Return the tensors among the outputs for the next feed."""
        ...


class LiveSource:
    """Runs a session."""

    def __init__(self, model: Model, level: Level, threads: int) -> None:
        """Load the model.

        Raises:
            RuntimeFailureError: If it cannot be loaded.
        """
        self._session = Session(model, level=level, threads=threads)
        self._inputs = {v.name for v in model.graph.inputs}

    def outputs(self, feeds: Feeds) -> dict[str, np.ndarray]:
        """Run the next feed; what is no tensor, and made of none, is left out.

        Raises:
            DataError: If the feed does not fit.
            RuntimeFailureError: If an operator fails.
        """
        results = self._session.run({n: a for n, a in feeds.items() if n in self._inputs})
        return {n: a for name, result in results.items() for n, a in _tensors(name, result)}


def _tensors(name: str, result: object) -> Iterator[tuple[str, np.ndarray]]:
    """Yield what can be compared of an output.

    A sequence of tensors gives them one by one, `name[0]`; maps from classes to scores, one for
    each sample, as those of scikit-learn, are a table with the classes in order.
    """
    if isinstance(result, np.ndarray | np.generic):
        yield name, np.asarray(result)
    elif isinstance(result, Mapping):
        yield from _tensors(name, [result])
    elif isinstance(result, list) and result and isinstance(first := result[0], Mapping):
        keys = sorted(first)
        if all(isinstance(row, Mapping) and sorted(row) == keys for row in result):
            yield name, np.array([[row[key] for key in keys] for row in result])
    elif isinstance(result, list):
        for index, part in enumerate(result):
            yield from _tensors(f"{name}[{index}]", part)


class OutputShelf:
    """Arrays put aside in order, in memory up to a bound and in a temporary file beyond it."""

    def __init__(self, in_memory: int = _IN_MEMORY) -> None:
        """Make an empty shelf."""
        self._file = SpooledTemporaryFile(max_size=in_memory)  # noqa: SIM115  (see next line)
        weakref.finalize(self, self._file.close)
        self._names: list[tuple[str, ...]] = []

    def put(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Append one feed's arrays."""
        self._names.append(tuple(arrays))
        for array in arrays.values():
            plain = array.astype(np.str_) if array.dtype.kind == "O" else np.asarray(array)
            plain = as_float(plain) if plain.dtype.kind == "V" else plain
            np.lib.format.write_array(cast("Any", self._file), plain, allow_pickle=False)

    def __iter__(self) -> Iterator[dict[str, np.ndarray]]:
        """Iterate over what was put; one iteration at a time."""
        self._file.seek(0)
        for names in self._names:
            yield {n: np.lib.format.read_array(cast("Any", self._file)) for n in names}


class ShelfSource:
    """Runs a model over all the data at once, so that its session can be let go."""

    def __init__(self, model: Model, level: Level, threads: int, data: Dataset) -> None:
        """Run the model over the data.

        Raises:
            DataError: If a feed does not fit.
            RuntimeFailureError: If the model cannot be loaded or run.
        """
        live = LiveSource(model, level, threads)
        shelf = OutputShelf()
        for feeds in data:
            shelf.put(live.outputs(feeds))
        self._rest = iter(shelf)

    def outputs(self, feeds: Feeds) -> dict[str, np.ndarray]:
        """Return what the next feed gave."""
        return next(self._rest)


class SourceOpener(Protocol):
    """Opens a source for a model at an optimization level."""

    def __call__(self, model: Model, level: Level) -> Source:
        """Open it.

        Raises:
            RuntimeFailureError: If the model cannot be loaded.
        """
        ...


def live_opener(threads: int) -> SourceOpener:
    """Open sessions."""
    return lambda model, level: LiveSource(model, level, threads)


def shelf_opener(threads: int, data: Dataset) -> SourceOpener:
    """Run each model over all the data when it is opened."""
    return lambda model, level: ShelfSource(model, level, threads, data)

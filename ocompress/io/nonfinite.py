"""Data with NaN or infinities: meant by some models, a mistake for all others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import numpy as np

from ocompress.errors import DataError, RuntimeFailureError
from ocompress.ir import Model
from ocompress.runtime import Session

_LARGE = 1 << 30
"""Bytes of weights above which no session is made for a look at the data."""


class Spec(Protocol):
    """An input, as far as it matters here."""

    @property
    def name(self) -> str:
        """Name of the input."""
        ...

    @property
    def trial(self) -> NonfiniteTrial | None:
        """Runs the model; None refuses every NaN and infinity."""
        ...


class NonfiniteTrial:
    """Runs a model on feeds with NaN or infinities, to see what it makes of them.

    Masks of attention hold -inf, imputers want NaN; the outputs are numbers all the same. Where
    every output of a sample is NaN or infinite, the sample tells nothing about any model.
    """

    def __init__(self, model: Model) -> None:
        """Keep the model; no session is made before it is needed."""
        self._model = model
        self._session: Session | None = None
        self._known: set[tuple[str, int]] = set()

    def lost(self, source: str, feed: Mapping[str, np.ndarray], rows: list[int], first: int) -> int:
        """Return the first of some samples that the model makes nothing of, -1 if there is none.

        Args:
            source: Where the feed came from.
            feed: The feed.
            rows: Samples of the feed that hold NaN or infinities.
            first: Number of its first sample; a feed is tried out once.
        """
        if (source, first) in self._known or self._model.weight_bytes > _LARGE:
            return -1
        try:
            self._session = self._session or Session(self._model)
            made = self._session.run(feed)
        except (DataError, RuntimeFailureError):
            return -1  # whoever wants the outputs says what is wrong
        floats = [np.asarray(a) for a in made.values() if getattr(a, "dtype", None) is not None]
        floats = [a for a in floats if a.dtype.kind == "f" and a.size]
        for row in rows:
            parts = [a[row] if a.ndim and len(a) > row else a for a in floats]
            if parts and not any(np.isfinite(p).any() for p in parts):
                return row
        self._known.add((source, first))
        return -1


def refuse_lost(
    source: str, specs: Iterable[Spec], feed: Mapping[str, np.ndarray], numbers: Sequence[int]
) -> None:
    """Refuse NaN and infinities that leave the model nothing to say.

    Args:
        source: Where the feed came from, for messages.
        specs: The inputs.
        feed: Arrays by input name, each [samples, ...] or anything else.
        numbers: Number of each sample of the feed in the user's data, for messages.

    Raises:
        DataError: Naming the input and the sample.
    """
    for spec in specs:
        array = feed.get(spec.name)
        if array is None or array.dtype.kind not in "fV":
            continue
        wrong = ~np.isfinite(array)
        if not wrong.any():
            continue
        by_row = wrong.reshape(len(wrong) if wrong.ndim else 1, -1).any(axis=1)
        rows = [int(i) for i in np.flatnonzero(by_row)]
        lost = rows[0] if spec.trial is None else spec.trial.lost(source, feed, rows, numbers[0])
        if lost >= 0:
            msg = (
                f"data {source!r}: {spec.name!r} holds NaN or infinity in sample "
                f"{number_of(lost, numbers)}, for which the model's outputs are "
                "all NaN or infinity; leave it out"
            )
            raise DataError(msg)


def number_of(row: int, numbers: Sequence[int]) -> int:
    """Return the number of the sample in a row of a feed; of one that is a sample, its own."""
    return numbers[min(row, len(numbers) - 1)]

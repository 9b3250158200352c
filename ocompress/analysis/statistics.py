"""Statistics of activations: what can be observed, and the observers of several passes merged.

A pass says in `Pass.observers` what it will want to know of which value; the manager merges the
observers of the passes that follow into one sweep over the data. An observer makes an accumulator
that sees the value batch by batch and keeps a bounded summary, never the activations themselves.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np


class Accumulator(ABC):
    """Sees one value batch by batch; memory does not grow with the number of batches."""

    @abstractmethod
    def update(self, batch: np.ndarray) -> None:
        """Take in one batch as the runtime made it, in any shape; it may be empty."""

    @abstractmethod
    def result(self) -> Any:
        """Return the finished summary."""


@dataclass(frozen=True)
class Observer(ABC):
    """One kind of summary of one value; equal observers share an accumulator."""

    @abstractmethod
    def start(self) -> Accumulator:
        """Make a fresh accumulator."""


Observers = Mapping[str, frozenset[Observer]]
"""For each value name, the summaries wanted of it."""

Statistics = Mapping[tuple[str, Observer], Any]
"""The finished summaries. A value the runtime never computed has none."""


def merge(every: Iterable[Observers]) -> dict[str, frozenset[Observer]]:
    """Return the union of several passes' observers."""
    merged: dict[str, frozenset[Observer]] = {}
    for observers in every:
        for name, wanted in observers.items():
            merged[name] = merged.get(name, frozenset()) | wanted
    return merged

"""Statistics of activations: what can be wished for, and the wishes of several passes merged.

A pass says in `Pass.wishes` what it will want to know of which value; the manager merges the
wishes of the passes that follow into one sweep over the data. A wish makes an accumulator that
sees the value batch by batch and keeps a bounded summary, never the activations themselves.
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
        """Take in one batch as the runtime made it; it may be empty."""

    @abstractmethod
    def result(self) -> Any:
        """Return the finished summary."""


@dataclass(frozen=True)
class Wish(ABC):
    """One kind of summary of one value; equal wishes share an accumulator."""

    @abstractmethod
    def start(self) -> Accumulator:
        """Make a fresh accumulator."""


Wishes = Mapping[str, frozenset[Wish]]
"""For each value name, the summaries wanted of it."""

Statistics = Mapping[tuple[str, Wish], Any]
"""The finished summaries. A value the runtime never computed has none."""


def merge(all_wishes: Iterable[Wishes]) -> dict[str, frozenset[Wish]]:
    """Return the union of several passes' wishes."""
    merged: dict[str, frozenset[Wish]] = {}
    for wishes in all_wishes:
        for name, wanted in wishes.items():
            merged[name] = merged.get(name, frozenset()) | wanted
    return merged

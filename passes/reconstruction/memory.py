"""What was measured of a model, for passes that meet the very same model later."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ocompress.analysis import Analysis, AnalysisManager
from ocompress.ir import Facet, Model

HELD = 512 << 20
"""Bytes of all that is remembered, at most."""


class Memory:
    """Arrays by a model's fingerprint and what they say of it.

    A pass that changed nothing, or whose result was rolled back, has measured for the next one.
    What does not fit beside what is known of the same model is not kept; what is known of others
    makes room.
    """

    def __init__(self, most_bytes: int = HELD) -> None:
        """Start with nothing known."""
        self._most = most_bytes
        self._held = 0
        self._entries: dict[str, dict[Hashable, tuple[np.ndarray, ...]]] = {}

    def get(self, model: str, what: Hashable) -> tuple[np.ndarray, ...] | None:
        """Return what is known; None if nothing is.

        Args:
            model: Fingerprint of the model.
            what: Says what the arrays are.
        """
        return self._entries.get(model, {}).get(what)

    def put(self, model: str, what: Hashable, arrays: tuple[np.ndarray, ...]) -> bool:
        """Keep arrays, which must not be changed from then on; False if there is no room."""
        size = sum(array.nbytes for array in arrays)
        own = self._entries.setdefault(model, {})
        for other in [m for m in self._entries if m != model]:
            if self._held + size > self._most:
                lost = self._entries.pop(other)
                self._held -= sum(a.nbytes for entry in lost.values() for a in entry)
        if self._held + size > self._most:
            return False
        for array in arrays:
            array.flags.writeable = False
        own[what] = arrays
        self._held += size
        return True


@dataclass(frozen=True)
class Remembered(Analysis[Memory]):
    """The memory of a pipeline on its data; no change makes it stale, for it goes by content."""

    reads: ClassVar[Facet] = Facet.NONE

    def compute(self, model: Model, analyses: AnalysisManager) -> Memory:
        """Start with nothing known."""
        return Memory()

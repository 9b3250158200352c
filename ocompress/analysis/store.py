"""The measurement store: what was measured of a model, for whoever meets the very same model."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np

HELD = 512 << 20
"""Bytes of all that is kept, at most."""


class MeasurementStore:
    """Arrays by the fingerprint of a model and what they say of it, all on the same data.

    A pass that changed nothing, or whose result was rolled back, has measured for the next one,
    and a search measures the original once. What does not fit beside what is known of the same
    model is not kept; what is known of others makes room.
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
            what: Says what the arrays are: the kind of measurement, its settings, where.
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

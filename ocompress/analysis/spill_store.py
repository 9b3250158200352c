"""Arrays put aside: in memory up to a bound, on disk beyond it."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path

import numpy as np

from ocompress.stopping import folder_for


class SpillStore:
    """Keeps arrays by key; what does not fit into memory goes to a temporary folder."""

    def __init__(self, most_bytes: int) -> None:
        """Start empty.

        Args:
            most_bytes: Bytes that are held in memory at most.
        """
        self._most = most_bytes
        self._held = 0
        self._arrays: dict[Hashable, object] = {}
        self._files: dict[Hashable, Path] = {}
        self._folder: Path | None = None
        self._count = 0

    def put(self, key: Hashable, array: object) -> None:
        """Keep an array; a sequence of arrays stays in memory.

        Raises:
            OSError: If the disk is full.
        """
        self.drop(key)
        if not isinstance(array, np.ndarray) or not self._goes_to_disk(array):
            self._arrays[key] = array
            self._held += _bytes(array)
            return
        if self._folder is None:
            self._folder = folder_for(self)
        self._count += 1
        file = self._folder / f"{self._count}.npy"
        try:
            np.save(file, array)
        except OSError:
            file.unlink(missing_ok=True)
            raise
        self._files[key] = file

    def get(self, key: Hashable) -> np.ndarray:
        """Return an array.

        Raises:
            KeyError: If there is none of this key.
        """
        if key in self._files:
            found: np.ndarray = np.load(self._files[key])
            return found
        return self._arrays[key]  # type: ignore[return-value]  # sequences pass through

    def __contains__(self, key: Hashable) -> bool:
        """Whether there is an array of this key."""
        return key in self._files or key in self._arrays

    def drop(self, key: Hashable) -> None:
        """Forget an array, if there is one of this key."""
        self._held -= _bytes(self._arrays.pop(key, None))
        file = self._files.pop(key, None)
        if file is not None:
            file.unlink()

    def _goes_to_disk(self, array: np.ndarray) -> bool:
        """Whether an array is too much for memory; only numbers can be saved without pickle."""
        return self._held + array.nbytes > self._most and array.dtype.kind in "biufc"


def _bytes(array: object) -> int:
    return array.nbytes if isinstance(array, np.ndarray) else 0

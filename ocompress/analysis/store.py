"""The measurement store: what was measured of a model, for whoever meets the very same model."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Hashable
from pathlib import Path

import numpy as np

from ocompress import runtime
from ocompress.errors import OptionError
from ocompress.io import CacheFiles, Dataset
from ocompress.io.arrays import DAMAGED

HELD, _HELD_BESIDE_FILES = 512 << 20, 256 << 20
"""Bytes of all that is kept in memory, at most; files give back what memory has no room for."""
_ON_DISK = 4 << 30
"""Bytes of the files that are kept, at most."""
_FORMAT = 1
"""Changes when measurements of the same name become others."""


class MeasurementStore:
    """Arrays by the fingerprint of a model and what they say of it, all on the same data.

    A pass that changed nothing, or whose result was rolled back, has measured for the next one,
    and a search measures the original once. What does not fit beside what is known of the same
    model is not kept; what is known of others makes room.

    With a folder, all of it is kept there, too, in files that are named by what they hold: model,
    data, measurement and the version of ONNX Runtime. Several processes may share the folder.
    """

    def __init__(
        self, most_bytes: int | None = None, folder: Path | None = None, data: Dataset | None = None
    ) -> None:
        """Start with what the folder knows.

        Args:
            most_bytes: Bytes that are kept in memory, at most; None for 512 MiB, or 256 MiB beside
                files.
            folder: Where measurements are kept for later runs; made if it is not there.
            data: What is measured on; files in the folder are for these data alone.

        Raises:
            OptionError: If there can be no such folder.
        """
        self._files = None
        if folder is not None and data is not None:
            self._files = CacheFiles(folder, ".npz", _ON_DISK)
        self._whose = digest_of(data) if self._files is not None and data is not None else ""
        if folder is not None:
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                msg = f"the cache {str(folder)!r} cannot be made ({error.strerror}); name another"
                raise OptionError(msg) from error
        usual = HELD if self._files is None else _HELD_BESIDE_FILES
        self._most = usual if most_bytes is None else most_bytes
        self._held = 0
        self._entries: dict[str, dict[Hashable, tuple[np.ndarray, ...]]] = {}

    def get(self, model: str, what: Hashable) -> tuple[np.ndarray, ...] | None:
        """Return what is known; None if nothing is.

        Args:
            model: Fingerprint of the model.
            what: Says what the arrays are: the kind of measurement, its settings, where.
        """
        known = self._entries.get(model, {}).get(what)
        if known is None:
            known = self.saved(model, what)
            if known is not None:
                self._hold(model, what, known)
        return known

    def put(self, model: str, what: Hashable, arrays: tuple[np.ndarray, ...]) -> bool:
        """Keep arrays of any shape, not to be changed from then on; False if there is no room."""
        self._write(model, what, arrays)
        return self._hold(model, what, arrays)

    def save(self, model: str, what: Hashable, arrays: tuple[np.ndarray, ...]) -> bool:
        """Keep arrays in the folder alone, in place of others of that name; False without one."""
        self._write(model, what, arrays)
        return self.has_folder

    def saved(self, model: str, what: Hashable) -> tuple[np.ndarray, ...] | None:
        """Return what is kept in the folder, perhaps since an earlier run; None if nothing is."""
        content = None if self._files is None else self._files.read(self._key(model, what))
        return None if content is None else _arrays(content)

    @property
    def has_folder(self) -> bool:
        """Whether anything is kept for later runs."""
        return self._files is not None

    def _write(self, model: str, what: Hashable, arrays: tuple[np.ndarray, ...]) -> None:
        if self._files is None:
            return
        file = io.BytesIO()
        np.savez(file, *arrays)
        if not self._files.write(self._key(model, what), file.getvalue()):
            self._files = None  # a full disk costs the next run time, not this one its result

    def _key(self, model: str, what: Hashable) -> Hashable:
        return (_FORMAT, runtime.VERSION, model, self._whose, what)

    def _hold(self, model: str, what: Hashable, arrays: tuple[np.ndarray, ...]) -> bool:
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


def digest_of(data: Dataset) -> str:
    """Return a digest of all feeds."""
    found = hashlib.sha256()
    for feed in data:
        for name, array in sorted(feed.items()):
            values = np.asarray(array)
            found.update(f"{name} {values.dtype} {values.shape} ".encode())
            plain = values if values.dtype.kind != "O" else np.array(repr(values.tolist()))
            found.update(np.ascontiguousarray(plain).tobytes())
    return found.hexdigest()


def _arrays(content: bytes) -> tuple[np.ndarray, ...] | None:
    """Return the arrays of a file; None if it is damaged."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as archive:
            return tuple(archive[f"arr_{at}"] for at in range(len(archive.files)))
    except DAMAGED:
        return None

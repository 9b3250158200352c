"""The measurement store: what was measured of a model, for whoever meets the very same model."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Hashable, Sized
from pathlib import Path

import numpy as np

from ocompress import runtime
from ocompress.analysis.spill_store import SpillStore
from ocompress.errors import OptionError
from ocompress.io import CacheFiles, Dataset
from ocompress.io.arrays import DAMAGED

_IN_MEMORY = 192 << 20
"""Bytes that are kept in memory, at most."""
_PUT_ASIDE, _BESIDE_FILES = 2 << 30, 192 << 20
"""Bytes that are kept for the run, at most, what is put aside on disk included; files of later runs
give back what there is no room for."""
_ON_DISK = 4 << 30
"""Bytes of the files that are kept for later runs, at most."""
_FORMAT = 1
"""Changes when measurements of the same name become others."""


class MeasurementStore:
    """Arrays by the fingerprint of a model and what they say of it, all on the same data.

    A pass that changed nothing, or whose result was rolled back, has measured for the next one,
    and a search measures the original once. What memory has no room for is put aside in a temporary
    folder. What does not fit beside what is known of the same model is not kept; what is known of
    others makes room.

    With a folder, all of it is kept there, too, in files that are named by what they hold: model,
    data, measurement and the version of ONNX Runtime. Several processes may share the folder.

    Attributes:
        of: The part of the data that it is about; empty for all of them.
    """

    def __init__(
        self, most_bytes: int | None = None, folder: Path | None = None, data: Dataset | None = None
    ) -> None:
        """Start with what the folder knows.

        Args:
            most_bytes: Bytes that are kept for this run, at most; None for 2 GiB, or 192 MiB beside
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
        usual = _PUT_ASIDE if self._files is None else _BESIDE_FILES
        self._most = usual if most_bytes is None else most_bytes
        self.of = ""
        self._parts: dict[str, MeasurementStore] = {}
        self._held = 0
        self._shelf = SpillStore(_IN_MEMORY)
        self._sizes: dict[str, dict[Hashable, tuple[int, ...]]] = {}
        """Bytes of the arrays on the shelf, by model and what they are."""

    def part(self, name: str) -> MeasurementStore:
        """Return what is known of models on a part of the data, in the same folder.

        Args:
            name: Tells the part from others, however often the data are read.
        """
        if name not in self._parts:
            known = self._parts[name] = MeasurementStore(self._most)
            known.of, known._files = name, self._files
            known._whose = f"{self._whose} {name}"
        return self._parts[name]

    def get(self, model: str, what: Hashable) -> tuple[np.ndarray, ...] | None:
        """Return what is known; None if nothing is.

        Args:
            model: Fingerprint of the model.
            what: Says what the arrays are: the kind of measurement, its settings, where.
        """
        held = self._sizes.get(model, {}).get(what)
        if held is not None:
            return tuple(map(_fixed, map(self._shelf.get, _places(model, what, held))))
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
        sizes = tuple(array.nbytes for array in arrays)
        for other in [m for m in self._sizes if m != model]:
            if self._held + sum(sizes) > self._most:
                self._forget(other)
        if self._held + sum(sizes) > self._most:
            return False
        self._sizes.setdefault(model, {})[what] = sizes
        self._held += sum(sizes)
        try:
            for place, array in zip(_places(model, what, sizes), arrays, strict=True):
                self._shelf.put(place, _fixed(array))
        except OSError:  # a full disk: what is not kept is measured again
            self._forget(model)
            return False
        return True

    def _forget(self, model: str) -> None:
        for what, sizes in self._sizes.pop(model).items():
            self._held -= sum(sizes)
            for place in _places(model, what, sizes):
                self._shelf.drop(place)


def _places(model: str, what: Hashable, arrays: Sized) -> list[Hashable]:
    return [(model, what, at) for at in range(len(arrays))]


def _fixed(array: np.ndarray) -> np.ndarray:
    """Return an array that nobody may change from now on."""
    array.flags.writeable = False
    return array


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

"""What passes proposed for a model, for the next pipeline that gives them the same model."""

from __future__ import annotations

import contextlib
import io
import pickle
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

from ocompress.io import CacheFiles
from ocompress.pipeline.registry import all_passes

_MOST = 12
"""Proposals that are kept in memory; each holds a model, and what was found out about it."""
_LARGEST = 128 << 20
"""Bytes of a proposal that is kept in a file, at most."""
_PLAIN = {
    "builtins": {"set", "frozenset", "slice", "range", "complex", "bytearray", "object"},
    "collections": {"OrderedDict", "defaultdict", "deque", "Counter"},
    "copyreg": {"_reconstructor"},
    "functools": {"partial"},
    "numpy": {"ndarray", "dtype"},
    "numpy._core.multiarray": {"_reconstruct", "scalar"},
    "numpy._core.numeric": {"_frombuffer"},
    "numpy.core.multiarray": {"_reconstruct", "scalar"},
    "numpy.core.numeric": {"_frombuffer"},
    "pathlib": {"PosixPath", "PurePosixPath"},
}
"""What a proposal may be made of beside classes of ours and of passes."""


@dataclass
class ProposalMemo:
    """Proposals by what they depend on; the one that was not used for longest makes room.

    Attributes:
        files: Keeps them for later runs; None keeps them for this one.
        whose: What all of them have in common there: data, program, target.
    """

    files: CacheFiles | None = None
    whose: str = ""
    _known: OrderedDict[Hashable, Any] = field(default_factory=OrderedDict)

    def get(self, key: Hashable) -> Any:
        """Return what is known; None if nothing is."""
        if key not in self._known and self.files is not None:
            content = self.files.read((self.whose, key), own=True)
            found = None if content is None else _restored(content)
            if found is not None:
                self._hold(key, found)
        if key in self._known:
            self._known.move_to_end(key)
        return self._known.get(key)

    def put(self, key: Hashable, found: object) -> None:
        """Keep something; what cannot be written stays in memory only."""
        self._hold(key, found)
        if self.files is None:
            return
        with contextlib.suppress(Exception):  # whatever keeps a proposal from being written
            content = pickle.dumps(found, pickle.HIGHEST_PROTOCOL)
            if len(content) <= _LARGEST:
                self.files.write((self.whose, key), content)

    def _hold(self, key: Hashable, found: object) -> None:
        self._known[key] = found
        while len(self._known) > _MOST:
            self._known.popitem(last=False)


class _Reader(pickle.Unpickler):
    """Reads what `ProposalMemo` wrote: it makes objects of known classes and calls nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        """Return a class of ours or of a pass."""
        roots = {"ocompress", *(cls.__module__.partition(".")[0] for cls in all_passes())}
        if module.partition(".")[0] in roots:
            found = super().find_class(module, name)
            if isinstance(found, type):
                return found
        elif name in _PLAIN.get(module, ()):
            return super().find_class(module, name)
        msg = f"{module}.{name} is no part of a proposal"
        raise pickle.UnpicklingError(msg)


def _restored(content: bytes) -> Any:
    try:
        return _Reader(io.BytesIO(content)).load()
    except Exception:  # damaged, or of another version
        return None

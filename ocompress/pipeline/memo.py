"""What passes proposed for a model, for the next pipeline that gives them the same model."""

from __future__ import annotations

import contextlib
import hashlib
import io
import pickle
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

from ocompress.io import CacheFiles
from ocompress.ir import Graph, Model
from ocompress.pipeline.registry import all_passes

_MOST = 12
"""Proposals that are kept in memory; each holds a model, and what was found out about it."""
_HELD = 128 << 20
"""Bytes of proposals that files have, too, at most: they can be read again."""
_ROOM = 256 << 20
"""Bytes of models that were made of proposals, at most."""
LARGEST = 128 << 20
"""Bytes that are kept in a file, at most."""
_PLAIN = {
    "builtins": {"set", "frozenset", "slice", "range", "complex", "bytearray", "object"},
    "collections": {"OrderedDict", "defaultdict", "deque", "Counter"},
    "copyreg": {"_reconstructor"},
    "numpy": {"ndarray", "dtype"},
    "numpy._core.multiarray": {"_reconstruct", "scalar"},
    "numpy._core.numeric": {"_frombuffer"},
    "numpy.core.multiarray": {"_reconstruct", "scalar"},
    "numpy.core.numeric": {"_frombuffer"},
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
    _written: dict[Hashable, int] = field(default_factory=dict)
    """Bytes in files of what is kept in memory."""
    _made: OrderedDict[Hashable, tuple[Any, int]] = field(default_factory=OrderedDict)

    def get(self, key: Hashable, model: Model) -> Any:
        """Return what is known; None if nothing is.

        Args:
            key: What it depends on.
            model: The model that it shall be about, if it is read from a file; one of its content.
        """
        if key not in self._known and self.files is not None:
            found, size = self._load(self.named(key, model), model)
            if found is not None:
                self._hold(key, found, size)
        if key in self._known:
            self._known.move_to_end(key)
        return self._known.get(key)

    def put(self, key: Hashable, found: object, model: Model) -> None:
        """Keep something about a model; what cannot be written stays in memory only."""
        size = 0 if self.files is None else self.write(self.named(key, model), found, model)
        self._hold(key, found, size)

    def named(self, key: Hashable, model: Model) -> Hashable:
        """Return a key with the names of all nodes, by which proposals name parts."""
        names = hashlib.sha256("\n".join(n.label for _, n in model.nodes()).encode())
        return self.whose, key, names.hexdigest()

    def read(self, name: Hashable, model: Model) -> Any:
        """Return what a file keeps; None if there is none.

        Args:
            name: What `named` made of its key.
            model: The model that it shall be about.
        """
        return self._load(name, model)[0]

    def _load(self, name: Hashable, model: Model) -> tuple[Any, int]:
        """Return what a file keeps, None if there is none, and its bytes."""
        content = None if self.files is None else self.files.read(name, own=True)
        return (None, 0) if content is None else (_restored(content, model), len(content))

    def write(self, name: Hashable, found: object, model: Model) -> int:
        """Keep something about a model in a file alone; return its bytes, 0 if it cannot be."""
        with contextlib.suppress(Exception):  # whatever keeps it from being written
            stream = io.BytesIO()
            _Writer(stream, model).dump(found)
            if self.files is not None and stream.tell() <= LARGEST:
                self.files.write(name, stream.getvalue())
                return stream.tell()
        return 0

    def made(self, key: Hashable) -> Any:
        """Return what was made of a proposal, None if nothing was; it must not be changed."""
        if key not in self._made:
            return None
        self._made.move_to_end(key)
        return self._made[key][0]

    def keep_made(self, key: Hashable, found: object, size: int) -> None:
        """Keep what was made of a proposal, in memory only, as long as there is room for its bytes.

        Args:
            key: What it depends on.
            found: What was made.
            size: Its bytes.
        """
        self._made[key] = found, size
        while sum(size for _, size in self._made.values()) > _ROOM:
            self._made.popitem(last=False)

    def _hold(self, key: Hashable, found: object, size: int) -> None:
        """Keep something in memory; what was not used for longest makes room.

        Args:
            key: What it depends on.
            found: What is known.
            size: Bytes in its file, 0 if there is none.
        """
        self._known[key], self._written[key] = found, size
        older = [k for k in self._known if self._written[k]]
        while len(older) > 1 and sum(self._written.values()) > _HELD:
            self._drop(older.pop(0))
        while len(self._known) > _MOST:
            self._drop(next(iter(self._known)))

    def _drop(self, key: Hashable) -> None:
        del self._known[key], self._written[key]


# -- files ----------------------------------------------------------------------------------
#
# A file holds no model: what a proposal says of nodes and values says which ones they are, and
# whoever reads it has a model of the same content.


def _parts(model: Model) -> list[object]:
    """Return the graphs, nodes and values of a model, in order."""
    found: list[object] = []
    seen: set[Graph] = set()

    def enter(graph: Graph) -> None:
        if graph not in seen:
            seen.add(graph)
            found.extend((graph, *graph.inputs, *graph.initializers.values()))

    enter(model.graph)
    for graph, node in model.nodes():
        enter(graph)
        found.extend((node, *(value for value in node.outputs if value is not None)))
    return found


class _Writer(pickle.Pickler):
    """Writes what a proposal says of a model, but not the model."""

    def __init__(self, stream: io.BytesIO, model: Model) -> None:
        super().__init__(stream, pickle.HIGHEST_PROTOCOL)
        self._model = model
        self._parts = _parts(model)
        self._places = {id(part): place for place, part in enumerate(self._parts)}

    def persistent_id(self, obj: object) -> int | None:
        """Return the place of a part of the model, -1 for the model; None for all else."""
        place = self._places.get(id(obj))
        if place is None and isinstance(obj, Model):
            if obj.graph is self._model.graph:
                return -1
            msg = "a proposal with a model of its own is not written"
            raise pickle.PicklingError(msg)
        return place


class _Reader(pickle.Unpickler):
    """Reads what `_Writer` wrote: it makes objects of known classes and calls nothing else."""

    def __init__(self, stream: io.BytesIO, model: Model) -> None:
        super().__init__(stream)
        self._model, self._parts = model, _parts(model)

    def persistent_load(self, pid: Any) -> object:
        """Return a part of the model."""
        return self._model if pid == -1 else self._parts[pid]

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


def _restored(content: bytes, model: Model) -> Any:
    try:
        return _Reader(io.BytesIO(content), model).load()
    except Exception:  # damaged, or of another version
        return None

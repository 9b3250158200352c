"""What layers of the original make, at places that are drawn once for all candidates."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ocompress.analysis.linear_rows import Site
from ocompress.analysis.segment_runner import Walk
from ocompress.analysis.store import MeasurementStore
from ocompress.io.dataset import Dataset
from ocompress.ir import Model, Node, Value, fingerprint

Extents = tuple[int, ...]


@dataclass(frozen=True)
class Made:
    """What a layer makes of one feed.

    Attributes:
        places: Places that were looked at, in random order: the first of them are a fair sample.
        shape: Extents of the output.
        results: The output there, (items, places, groups, outputs).
        shortcut: The same of a value that the output is added to, with its extents; None if there
            is none.
    """

    places: np.ndarray
    shape: Extents
    results: np.ndarray
    shortcut: tuple[Extents, np.ndarray] | None = None


class ReferenceRows:
    """Looks at an original, layer after layer; what the store knows is not computed again."""

    def __init__(
        self, model: Model, data: Dataset, seed: int, store: MeasurementStore | None = None
    ) -> None:
        """Stop before the first node.

        Args:
            model: The original; not to be changed.
            data: Feeds.
            seed: Draws the places.
            store: What is known; None keeps nothing.
        """
        self._model, self._data, self._seed = model, data, seed
        self._store = store if store is not None else MeasurementStore(0)
        self._whose = fingerprint(model) if store is not None else ""
        self._walk: Walk | None = None
        self._next: Node | None = None
        self._order = {id(n): at for at, n in enumerate(model.graph.nodes)}

    def is_before(self, value: Value, site: Site) -> bool:
        """Whether a value is made before a layer is run."""
        maker = value.producer
        return maker is None or self._order.get(id(maker), len(self._order)) < self._at(site)

    def go_to(self, site: Site) -> None:
        """Say which layer is looked at next, mostly; layers behind it may be, too.

        The model is run up to there only when something is not known.
        """
        self._next = site.node

    def peek(self, values: Sequence[Value]) -> Iterator[dict[str, np.ndarray]]:
        """Yield values of the layer that is looked at, and of those behind it, feed by feed.

        Raises:
            ValueError: If the layer lies before one that was looked at already.
            RuntimeFailureError: If ONNX Runtime cannot run the model.
        """
        if self._walk is None:
            self._walk = Walk(self._model, self._data)
        if self._next is not None:
            self._walk.past(self._next)
            self._next = None
        return self._walk.peek(values)

    def made(self, site: Site, shortcut: Value | None, share: float) -> Sequence[Made]:
        """Return what a layer makes, feed by feed.

        Args:
            site: The layer.
            shortcut: What its output is added to, None if nothing; made before it.
            share: Part of all rows that are wanted which each feed is to give.
        """
        name = site.node.output.name
        what = ("made", self._seed, name, "" if shortcut is None else shortcut.name, share)
        known = self._store.get(self._whose, what)
        if known is None:
            found = self._look(site, shortcut, share)
            self._store.put(self._whose, what, tuple(a for made in found for a in _arrays(made)))
            return found
        each = 3 if shortcut is None else 5
        return [_made(known[at : at + each]) for at in range(0, len(known), each)]

    def _look(self, site: Site, shortcut: Value | None, share: float) -> list[Made]:
        makes = site.node.output
        wanted = [makes] if shortcut is None else [makes, shortcut]
        found = []
        for at, seen in enumerate(self.peek(wanted)):
            array = seen[makes.name]
            rng = np.random.default_rng([self._seed, at])
            places = rng.permutation(site.result_places(array))[: site.count(array, share)]
            around = None
            if shortcut is not None and seen[shortcut.name].shape == array.shape:
                other = seen[shortcut.name]
                around = other.shape, site.results(other, places)
            elif shortcut is not None:
                around = (), np.zeros(0, np.float32)
            found.append(Made(places, array.shape, site.results(array, places), around))
        return found

    def _at(self, site: Site) -> int:
        return self._order[id(site.node)]


def _arrays(made: Made) -> list[np.ndarray]:
    found = [made.places, np.array(made.shape), np.ascontiguousarray(made.results)]
    if made.shortcut is not None:
        found += [np.array(made.shortcut[0]), np.ascontiguousarray(made.shortcut[1])]
    return found


def _made(arrays: Sequence[np.ndarray]) -> Made:
    places, shape, results, *rest = arrays
    extents = tuple(int(e) for e in shape)
    around = (tuple(int(e) for e in rest[0]), rest[1]) if rest else None
    return Made(places, extents, results, around)

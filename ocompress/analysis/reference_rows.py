"""What layers of the original make, at places that are drawn once for all candidates."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, takewhile

import numpy as np

from ocompress.analysis.linear_rows import Site
from ocompress.analysis.portions import FeedSizes, portion
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


@dataclass(frozen=True)
class Ask:
    """What is wanted of a layer.

    Attributes:
        site: The layer.
        stop: How far the model is run: past this node, which is the layer or stands before it.
        shortcut: What its output is added to, None if nothing; made before it.
        share: Part of all rows that are wanted which each feed is to give.
    """

    site: Site
    stop: Node
    shortcut: Value | None
    share: float

    @property
    def rows(self) -> float:
        """How many rows each feed is to give."""
        return self.share * self.site.fit_rows

    @property
    def values(self) -> list[Value]:
        """What has to be seen."""
        makes = self.site.node.output
        return [makes] if self.shortcut is None else [makes, self.shortcut]


class ReferenceRows:
    """Looks at an original, at several layers at once; what the store knows is not made again."""

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
        self._sizes: FeedSizes | None = None
        self._found: dict[Hashable, list[Made]] = {}
        self._order = {id(n): at for at, n in enumerate(model.graph.nodes)}

    def is_before(self, value: Value, site: Site) -> bool:
        """Whether a value is made before a layer is run."""
        maker = value.producer
        return maker is None or self._order.get(id(maker), len(self._order)) < self._at(site)

    def peek(self, values: Sequence[Value], stop: Node) -> Iterator[dict[str, np.ndarray]]:
        """Yield values feed by feed, and run the model past a node unless it was.

        Raises:
            RuntimeFailureError: If ONNX Runtime cannot run the model.
        """
        if self._walk is None or any(self._walk.is_gone(v) for v in values):
            self._walk = Walk(self._model, self._data)
        if self._walk.ahead(stop):
            return self._walk.show(stop, values, past=True)
        return self._walk.peek(values)

    def made(self, ask: Ask, ahead: Iterable[Ask] = ()) -> Sequence[Made]:
        """Return what a layer makes, feed by feed.

        Args:
            ask: What is wanted.
            ahead: What is likely to be wanted next, in order of execution: what fits is looked at
                on the way.
        """
        known = self._known(ask)
        if known is None:
            unknown = takewhile(lambda a: self._known(a) is None, ahead)
            self._look(portion((a, self._bytes(a)) for a in chain([ask], unknown)))
            known = self._found[self._key(ask)]
        self._found.pop(self._key(ask), None)
        return known

    def _key(self, ask: Ask) -> Hashable:
        around = "" if ask.shortcut is None else ask.shortcut.name
        return ("made", self._seed, ask.site.node.output.name, around, ask.share)

    def _known(self, ask: Ask) -> list[Made] | None:
        key = self._key(ask)
        if key in self._found:
            return self._found[key]
        arrays = self._store.get(self._whose, key)
        return None if arrays is None else _split(arrays, ask)

    def _bytes(self, ask: Ask) -> float:
        """Return the bytes of what is made of one feed, and of what is kept of all."""
        if self._sizes is None:
            self._sizes = FeedSizes(self._model, self._data)
        site = ask.site
        rows = len(self._data) * ask.rows
        kept = 4 * len(ask.values) * rows * site.groups * site.outputs
        return kept + sum(self._sizes.of(v) for v in ask.values)

    def _look(self, together: Sequence[Ask]) -> None:
        """Look at some layers, the model run past the stop of the last."""
        every: list[list[Made]] = [[] for _ in together]
        values = {v.name: v for ask in together for v in ask.values}
        for at, seen in enumerate(self.peek(list(values.values()), together[-1].stop)):
            for ask, made in zip(together, every, strict=True):
                made.append(self._drawn(ask, seen, at))
        for ask, made in zip(together, every, strict=True):
            arrays = tuple(array for one in made for array in _arrays(one))
            self._found[self._key(ask)] = _split(arrays, ask)  # what the store has, not a copy
            self._store.put(self._whose, self._key(ask), arrays)

    def _drawn(self, ask: Ask, seen: Mapping[str, np.ndarray], at: int) -> Made:
        """Return what a layer makes of feed number `at`, at places drawn for it."""
        site, array = ask.site, seen[ask.site.node.output.name]
        rng = np.random.default_rng([self._seed, at])
        places = rng.permutation(site.result_places(array))[: site.count(array, ask.rows)]
        around = None
        if ask.shortcut is not None:
            other = seen[ask.shortcut.name]
            around = (), np.zeros(0, np.float32)
            if other.shape == array.shape:
                around = other.shape, site.results(other, places)
        return Made(places, array.shape, site.results(array, places), around)

    def _at(self, site: Site) -> int:
        return self._order[id(site.node)]


def _arrays(made: Made) -> list[np.ndarray]:
    found = [made.places, np.array(made.shape), np.ascontiguousarray(made.results)]
    if made.shortcut is not None:
        found += [np.array(made.shortcut[0]), np.ascontiguousarray(made.shortcut[1])]
    return found


def _split(arrays: Sequence[np.ndarray], ask: Ask) -> list[Made]:
    each = 3 if ask.shortcut is None else 5
    return [_made(arrays[at : at + each]) for at in range(0, len(arrays), each)]


def _made(arrays: Sequence[np.ndarray]) -> Made:
    places, shape, results, *rest = arrays
    extents = tuple(int(e) for e in shape)
    around = (tuple(int(e) for e in rest[0]), rest[1]) if rest else None
    return Made(places, extents, results, around)

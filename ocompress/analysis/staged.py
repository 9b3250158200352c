"""Running a large model as several sessions in a row, so that loading it takes linear time.

The larger a graph is, the longer ONNX Runtime takes to load each of its nodes. Four times the
layers of a net of 3,400 nodes took twelve times as long with all optimizations, seven times with
none.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ocompress.errors import RuntimeFailureError
from ocompress.io.dataset import Feeds
from ocompress.ir import DType, Model, Node, Value, reads
from ocompress.ir.extract import extract
from ocompress.runtime import Level, Session

MOST_NODES = 5000
"""Nodes that are loaded at once. Nearly all nets have fewer and are one session as ever. Dividing
takes time, too, which pays from about there on."""
CALM = {"session.intra_op.allow_spinning": "0"}
"""Sessions take turns; waiting workers of one would take the cores from the others."""


class Segment:
    """Some nodes of a model as a model of its own, loaded when it first runs."""

    def __init__(
        self,
        part: Model,
        inputs: Sequence[str],
        *,
        level: Level = Level.ALL,
        config: Mapping[str, str] = CALM,
    ) -> None:
        """Take over a model.

        Args:
            part: The nodes, by `extract`.
            inputs: What it is given.
            level: Graph optimization level.
            config: Configuration of the session.
        """
        self.inputs = inputs
        self._part, self._level, self._config = part, level, config
        self._session: Session | None = None

    def session(self, feeds: Feeds) -> Session:
        """Load it, once; the feeds tell the types of its inputs where the model does not."""
        if self._session is None:
            known = self._open(feeds)
            made = (v for node in self._part.graph.nodes for v in node.outputs)
            for inner in made:
                if inner is not None and inner.dtype is not None:
                    inner.set_type(inner.dtype, None)  # what was cut has other extents
            try:
                self._session = self._load()
            except RuntimeFailureError:
                # the runtime takes extents that it is not told for others (Attention of opset 23)
                for value, extents in known.items():
                    value.set_type(value.dtype, extents)
                self._session = self._load()
        return self._session

    def _load(self) -> Session:
        return Session(self._part, threads=0, level=self._level, config=self._config)

    def _open(self, feeds: Feeds) -> dict[Value, tuple[int | None, ...]]:
        """Leave extents of inputs open; returns those that are the same whatever is fed."""
        known: dict[Value, tuple[int | None, ...]] = {}
        for value in self._part.graph.inputs:
            array = feeds.get(value.name)
            if not isinstance(array, np.ndarray) or value.data is not None or _is_optional(value):
                continue
            given = value.shape if value.rank == array.ndim else None
            fixed = given if given is not None else (None,) * array.ndim
            pairs = zip(fixed, array.shape, strict=True)
            known[value] = tuple(size if isinstance(e, int) else None for e, size in pairs)
            value.set_type(DType.of(array), (None,) * array.ndim)
        return known


class Stage(NamedTuple):
    """A run of neighbouring nodes.

    Attributes:
        segment: The nodes, as a model.
        made: Names of what it makes for later stages, or as outputs.
        dropped: Names of what it is the last stage to read.
    """

    segment: Segment
    made: Sequence[str]
    dropped: Sequence[str]

    def run(self, held: Feeds) -> Feeds:
        """Return what is held behind it: what was, without what is dropped, with what is made.

        Raises:
            DataError: If what is held does not fit its inputs.
            RuntimeFailureError: If it cannot be loaded, or an operator fails.
        """
        given = {name: held[name] for name in self.segment.inputs if name in held}
        found = dict(held)
        if self.made:
            found |= self.segment.session(given).run(given, self.made)
        for name in self.dropped:
            found.pop(name, None)
        return found


class Staged:
    """A model that runs as one session, or as several in a row if it is large.

    Each stage is loaded when it first runs. What no later stage reads is let go of at once.

    Attributes:
        stages: In order; none if it is one session.
        nodes: The nodes of each stage.
        wanted: Names of what it makes, the model's outputs first.
    """

    def __init__(
        self,
        model: Model,
        *,
        extra_outputs: Iterable[Value] = (),
        level: Level = Level.ALL,
        config: Mapping[str, str] = CALM,
        most: int | None = None,
    ) -> None:
        """Load a model if it is small, or divide it.

        Args:
            model: Sorted; not changed.
            extra_outputs: Values of the main graph to return beside the outputs.
            level: Graph optimization level.
            config: Configuration of the sessions.
            most: Nodes that are loaded at once; `MOST_NODES` by default.

        Raises:
            RuntimeFailureError: If ONNX Runtime cannot load it; later, if it is large.
        """
        most = most or MOST_NODES
        wanted = [*model.graph.outputs, *extra_outputs]
        nodes = _in_order(model.graph.nodes)
        self._whole: Session | None = None
        self.stages: list[Stage] = []
        self.nodes: Sequence[Sequence[Node]] = []
        self.wanted = [v.name for v in wanted]
        self._level, self._config = level, config
        if len(nodes) <= most:
            extra = wanted[len(model.graph.outputs) :]
            self._whole = Session(model, threads=0, level=level, extra_outputs=extra, config=config)
            return
        self._constants = {v.name: v.data for v in wanted if v.data is not None}
        size = -(-len(nodes) // -(-len(nodes) // most))
        self.nodes = parts = [nodes[at : at + size] for at in range(0, len(nodes), size)]
        made = (v for n in nodes for v in n.outputs if v is not None)
        outer = {id(v) for v in (*model.graph.inputs, *made)}  # not what is inside of bodies
        read = ((at, v) for at, part in enumerate(parts) for n in part for v in reads(n))
        last = {id(v): at for at, v in read if id(v) in outer}
        last |= dict.fromkeys((id(v) for v in wanted), len(parts))
        for at, part in enumerate(parts):
            self.stages.append(self._stage(model, at, part, last))

    def run(self, feeds: Feeds, outputs: Sequence[str] | None = None) -> dict[str, np.ndarray]:
        """Run once; see `Session.run`.

        Args:
            feeds: An array per input.
            outputs: Names of the outputs wanted; all by default.

        Raises:
            DataError: If the feeds do not fit the inputs.
            RuntimeFailureError: If a stage cannot be loaded, or an operator fails.
        """
        if self._whole is not None:
            return self._whole.run(feeds, outputs)
        *_, held = self.states(feeds)
        return {name: held[name] for name in (self.wanted if outputs is None else outputs)}

    def states(self, feeds: Feeds) -> Iterator[Feeds]:
        """Run a model that was divided; yield what is held before each stage, and behind the last.

        What is yielded holds references to arrays that others share.

        Raises:
            DataError: If the feeds do not fit the inputs.
            RuntimeFailureError: If a stage cannot be loaded, or an operator fails.
        """
        held: Feeds = {**self._constants, **feeds}
        yield held
        for stage in self.stages:
            held = stage.run(held)
            yield held

    def segment(
        self, model: Model, nodes: Sequence[Node], inputs: Iterable[Value], shown: Iterable[Value]
    ) -> Segment:
        """Return some nodes of this model, or of a variant, to be loaded as stages are.

        Args:
            model: Whose nodes they are; not changed.
            nodes: The nodes, in topological order.
            inputs: What they are given.
            shown: What they make.
        """
        part = extract(model, nodes, inputs, shown)
        given = [v.name for v in part.graph.inputs]  # those with defaults, too
        return Segment(part, given, level=self._level, config=self._config)

    def _stage(
        self, model: Model, at: int, nodes: Sequence[Node], last: Mapping[int, int]
    ) -> Stage:
        """Return stage number `at`; `last` has the last stage that reads a value, by its id."""
        made = [v for n in nodes for v in n.outputs if v is not None]
        own = {id(v) for v in made}
        outer = (v for n in nodes for v in reads(n) if id(v) in last and id(v) not in own)
        read = {v.name: v for v in outer if v.data is None}
        shown = [v for v in made if last.get(id(v), at) > at]
        segment = self.segment(model, nodes, read.values(), shown)
        dropped = [n for n, v in read.items() if last[id(v)] == at]
        return Stage(segment, [v.name for v in shown], dropped)


class Extents:
    """Shapes of some values of a model, and others as arrays, of one feed after the other."""

    def __init__(self, model: Model, names: Collection[str], kept: Collection[str] = ()) -> None:
        """Load the model.

        Args:
            model: Not changed.
            names: Inputs of the main graph and what its nodes make; others are left out.
            kept: Values whose arrays are returned.

        Raises:
            RuntimeFailureError: If ONNX Runtime cannot load the model.
        """
        probe = model.clone()
        made = [v for n in probe.graph.nodes for v in n.outputs if v is not None]
        values = {v.name: v for v in (*probe.graph.inputs, *made)}
        shown = {
            name: probe.graph.add_op("Shape", [values[name]], name="extent_of").output
            for name in names
            if name in values
        }
        probe.sort()
        extra = [*shown.values(), *(values[n] for n in kept if not values[n].is_output)]
        self._shown, self._kept = {name: v.name for name, v in shown.items()}, list(kept)
        self._session = Staged(probe, extra_outputs=extra, level=Level.DISABLED)

    def of(self, feeds: Feeds) -> tuple[dict[str, tuple[int, ...]], dict[str, np.ndarray]]:
        """Run the model once, and return shapes and arrays by name.

        Raises:
            DataError: If the feeds do not fit the inputs.
            RuntimeFailureError: If ONNX Runtime cannot run the model.
        """
        wanted = [*self._shown.values(), *self._kept]
        found = self._session.run(feeds, wanted) if wanted else {}
        extents = {name: tuple(int(e) for e in found[own]) for name, own in self._shown.items()}
        return extents, {name: found[name] for name in self._kept}


def extents_in(model: Model, names: Collection[str], feeds: Feeds) -> dict[str, tuple[int, ...]]:
    """Run a model once, and return shapes of some of its values, as `Extents` does."""
    return Extents(model, names).of(feeds)[0]


def _in_order(nodes: Sequence[Node]) -> list[Node]:
    """Put nodes that nothing reads, such as probes, behind what they read: it may go then."""
    place: dict[int, int] = {}
    keys = []
    for at, node in enumerate(nodes):
        made = [v for v in node.outputs if v is not None]
        place.update((id(v), at) for v in made)
        is_read = any(v.users for v in made)
        keys.append(at if is_read else max((place.get(id(v), 0) for v in reads(node)), default=at))
    return [nodes[at] for at in sorted(range(len(nodes)), key=keys.__getitem__)]


def _is_optional(value: Value) -> bool:
    """Whether an input may be left out of a feed."""
    kind = value.type_proto
    return kind is not None and kind.WhichOneof("value") == "optional_type"

"""How long a layer takes alone, and every chain that could stand in its place."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from ocompress.analysis.linear_rows import Site, site_of
from ocompress.errors import RuntimeFailureError
from ocompress.ir import DType, Graph, Model, Node, Value, schemas
from ocompress.profiling.latency import interleave
from ocompress.runtime import Session
from passes.factorization.rewriting import flattens, put
from passes.factorization.steps import Step

_SECONDS = 0.02
_CLEARLY = 1.15
"""Ratio of times from which on something is clearly slower, however few turns it had."""


def alone(
    site: Site, shape: Sequence[int], opset: int, steps: Sequence[Step] | None = None
) -> Model | None:
    """Return a model of one layer, or of a chain in its place.

    Args:
        site: The layer.
        shape: What it reads; what is flattened before it, if it is.
        opset: Version of the operators.
        steps: The chain; None for the layer as it is.

    Returns:
        None if the type of the weight cannot hold the chain.
    """
    old, layer = site.node, site.layer
    graph = Graph("layer")
    dtype = DType.of(layer.weight)
    data = Value(graph.names.fresh("data"), dtype=dtype, shape=tuple(shape))
    data.is_input = True
    graph.inputs = [data]
    if flattens(site):
        data = graph.add_op("Flatten", [data], name="flatten", attrs={"axis": 1}).output
    inputs = [
        data
        if at == layer.data_at
        else None
        if value is None or value.constant is None
        else graph.constant(f"constant_{at}", value.constant)
        for at, value in enumerate(old.inputs)
    ]
    made = Value(graph.names.fresh("made"), dtype=dtype)
    node = graph.add(
        Node(old.op_type, inputs, [made], name="layer", attrs=dict(old.attributes)), claim=False
    )
    graph.set_outputs([made])
    model = Model(graph, {"": opset})
    model.shell.ir_version = schemas.lowest_ir_version(opset)
    if steps is not None:
        twin = site_of(node)
        if not isinstance(twin, Site) or not put([twin], steps):
            return None
        model.sort()
    return model


@dataclass
class ChainClock:
    """Times layers and chains in their place; what is of one shape, and has one, only once.

    Nets repeat layers, and layers of one shape have the same chains. What a chain takes depends on
    its operators and their shapes, not on its numbers.

    Attributes:
        seed: Seeds what is fed, and the order of turns.
    """

    seed: int
    _known: dict[Hashable, float] = field(default_factory=dict)

    def times(
        self,
        models: Sequence[Model | None],
        shape: Sequence[int],
        errors: Sequence[float] | None = None,
    ) -> list[float]:
        """Return the milliseconds of a layer and of chains in its place.

        Chains that are new for a layer whose time is known are timed beside it once more, and count
        in proportion: the machine may be busier than it was.

        Args:
            models: Models that `alone` made, the layer's first, all for the same shape.
            shape: What they read.
            errors: What each loses, where a chain that loses more in more time is good for nothing:
                it gets few turns. None where it may be good for something else.

        Returns:
            Median times; infinite for models that are None or do not run.
        """
        kinds = [None if model is None else _kind(model) for model in models]
        places = {k: at for at, k in enumerate(kinds) if k is not None and k not in self._known}
        if places:
            plain = self._known.get(kinds[0])
            own = sorted({0, *places.values()})
            lost = None if errors is None else [errors[at] for at in own]
            found = milliseconds([models[at] for at in own], shape, self.seed, lost)
            pace = 1.0 if plain is None or not np.isfinite(found[0]) else plain / found[0]
            times = dict(zip(own, found, strict=True))
            self._known |= {kind: times[at] * pace for kind, at in places.items()}
        return [self._known.get(kind, float("inf")) for kind in kinds]


def _kind(model: Model) -> Hashable:
    """Return what decides how long a model takes; of numbers, no more than their type and shape."""
    graph = model.graph
    read = tuple((v.name, v.dtype, v.shape) for v in graph.inputs)
    nodes = []
    for node in graph.nodes:
        attributes = tuple(
            (name, proto.SerializeToString()) for name, proto in sorted(node.attributes.items())
        )
        given = tuple(None if v is None else _given(v) for v in node.inputs)
        made = tuple(None if v is None else v.name for v in node.outputs)
        nodes.append((node.domain, node.op_type, attributes, given, made))
    return model.opset, read, tuple(nodes)


def _given(value: Value) -> Hashable:
    """Return what matters of an input: of integers, which may be shapes, the numbers, too."""
    array = value.constant
    if array is None:
        return value.name
    exact = array.tobytes() if array.dtype.kind in "iu" else b""
    return array.dtype.str, array.shape, exact


def milliseconds(
    models: Sequence[Model | None],
    shape: Sequence[int],
    seed: int,
    errors: Sequence[float] | None = None,
) -> list[float]:
    """Time models of one layer in turns, with one thread.

    Args:
        models: Models that `alone` made, all for the same shape.
        shape: What they read.
        seed: Seeds what they read and the order.
        errors: See `ChainClock.times`.

    Returns:
        Median times; infinite for models that are None or do not run.
    """
    rng = np.random.default_rng(seed)
    calls: list[Callable[[], object]] = []
    places = []
    for at, model in enumerate(models):
        if model is None:
            continue
        dtype = model.graph.inputs[0].dtype
        data = rng.standard_normal(tuple(shape)).astype(dtype.numpy if dtype else np.float32)
        try:
            session = Session(model, as_deployed=True)
            session.run({"data": data})
        except RuntimeFailureError:
            continue
        calls.append(partial(session.run, {"data": data}))
        places.append(at)
    lost = None if errors is None else np.array([errors[at] for at in places])

    def beaten(times: Sequence[float]) -> np.ndarray:
        assert lost is not None
        slower = np.array(times)[:, None] > np.array(times) * _CLEARLY
        return np.flatnonzero((slower & (lost[:, None] >= lost)).any(axis=1))

    found = [float("inf")] * len(models)
    if calls:
        race = None if lost is None else beaten
        all_times = interleave(calls, seconds=_SECONDS, seed=seed, beaten=race)
        for at, times in zip(places, all_times, strict=True):
            found[at] = float(np.median(times.turns))
    return found

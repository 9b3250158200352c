"""How long a layer takes alone, and every chain that could stand in its place."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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


def milliseconds(models: Sequence[Model | None], shape: Sequence[int], seed: int) -> list[float]:
    """Time models of one layer in turns, with one thread.

    Args:
        models: Models that `alone` made, all for the same shape.
        shape: What they read.
        seed: Seeds what they read and the order.

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
    found = [float("inf")] * len(models)
    if calls:
        for at, times in zip(places, interleave(calls, seconds=_SECONDS, seed=seed), strict=True):
            found[at] = float(np.median(times.turns))
    return found

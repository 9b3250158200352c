"""What zero channels cost at the model's outputs where they end in a sum without weights.

Queries against keys are such a sum. No layer's weight tells what a channel adds there and no other
weight makes up for it, but gradients tell what its absence does: to first order the score that is
differentiated moves by what is read times its gradient, summed over places.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from functools import partial

import numpy as np

from ocompress.analysis.channels import Group, Sink
from ocompress.analysis.gradients import sweep_gradients
from ocompress.errors import RuntimeFailureError
from ocompress.ir import Model, Node, Value, fingerprint, packed
from ocompress.lossy.fisher import SAMPLES, draws_of
from ocompress.pipeline import Context


def vanishing(model: Model, groups: Mapping[int, Group], ctx: Context) -> dict[int, np.ndarray]:
    """Measure what it costs if channels are zero where they end.

    Args:
        model: The model as it is.
        groups: Groups of channels that end in sums of the main graph, by any key.
        ctx: Has the data.

    Returns:
        By key: (channels, channels), the Fisher information of the model's own outputs about one
        factor on each channel. Twice the divergence without some channels is about the sum of the
        rows and columns of these. Groups with an end that no gradient reaches are left out.
    """
    store, whose = ctx.store, fingerprint(model)
    known = {key: store.get(whose, _name(group, ctx)) for key, group in groups.items()}
    missing = {key: groups[key] for key, entry in known.items() if entry is None}
    made = _sweep(model, missing, ctx) if missing else {}
    if made is None:
        return {}  # an operator whose derivative this runtime lacks
    for key, group in missing.items():
        known[key] = (made[key],) if key in made else ()
        store.put(whose, _name(group, ctx), known[key] or ())
    return {key: entry[0] for key, entry in known.items() if entry}


def _name(group: Group, ctx: Context) -> tuple[Hashable, ...]:
    where = ((s.node.label, s.index, s.axis) for s in group.sinks)
    return ("ends", ctx.seed, group.size, *where)


def _sweep(model: Model, groups: Mapping[int, Group], ctx: Context) -> dict[int, np.ndarray] | None:
    clone = model.clone()
    twins = {id(n): t for n, t in zip(model.graph.nodes, clone.graph.nodes, strict=True)}
    whose: dict[str, tuple[int, Sink]] = {}
    for key, group in groups.items():
        for sink in _once(group.sinks):
            whose[_apart(twins[id(sink.node)], sink.index).name] = key, sink
    sums = {key: np.zeros((group.size, group.size)) for key, group in groups.items()}
    reached: set[str] = set()

    def update(name: str, seen: np.ndarray, gradient: np.ndarray) -> None:
        key, sink = whose[name]
        moved = _moved(seen, gradient, sink, len(sums[key]))
        sums[key] += moved.T @ moved
        reached.add(name)

    few = ctx.data.take(SAMPLES)
    draws = draws_of(model, few.samples, ctx)
    stage = partial(ctx.progress, f"{ctx.source}: measuring Fisher information of channels")
    clone.sort()
    try:
        sweep_gradients(clone, list(whose), few, update, stage, seed=ctx.seed, draws=draws)
    except RuntimeFailureError:
        return None
    lost = {key for name, (key, _) in whose.items() if name not in reached}
    count = max(1, few.samples * draws)
    return {
        key: total / count
        for key, total in sums.items()
        if key not in lost and np.isfinite(total).all() and total.any()
    }


def _apart(node: Node, index: int) -> Value:
    """Give a node an Identity of its own to read; other readers have gradients of their own."""
    value = node.inputs[index]
    assert value is not None
    assert node.graph is not None
    between = node.graph.add_op("Identity", [value], name=f"{node.label}_end").output
    between.set_type(value.dtype, value.shape)
    node.set_input(index, between)
    return between


def _once(sinks: Sequence[Sink]) -> list[Sink]:
    """Return one end per node: of a product the terms go if either operand's channels do.

    An operand that the file computes of constants, as a table that is transposed, has no samples.
    """
    found: dict[int, Sink] = {}
    for sink in sinks:
        known = found.setdefault(id(sink.node), sink)
        if _has_samples(sink) and not _has_samples(known):
            found[id(sink.node)] = sink
    return list(found.values())


def _has_samples(sink: Sink) -> bool:
    value = sink.node.inputs[sink.index]
    return value is not None and packed.recipe(value) is None


def _moved(seen: np.ndarray, gradient: np.ndarray, sink: Sink, size: int) -> np.ndarray:
    """Return by how much each channel's absence moves the score, (samples, channels)."""
    product = np.moveaxis(seen * gradient, sink.axis, -1)
    rows = len(seen) if sink.axis else 1
    places = product.reshape(rows, -1, product.shape[-1]).sum(axis=1, dtype=np.float64)
    found = np.zeros((size + 1, rows))
    np.add.at(found, np.where(sink.channel < 0, size, sink.channel), places.T)
    return found[:size].T

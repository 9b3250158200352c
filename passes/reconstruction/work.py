"""How much a model has to multiply."""

from __future__ import annotations

from ocompress.analysis.linear_layer import LINEAR
from ocompress.io import Feeds
from ocompress.ir import Model
from ocompress.profiling.macs import macs, resolver
from ocompress.profiling.shapes import with_shapes


def one_sample(model: Model, feeds: Feeds | None) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a single sample for the inputs that leave theirs free."""
    shapes = {
        name: (1, *array.shape[1:]) if array.ndim > 1 else array.shape
        for name, array in (feeds or {}).items()
    }
    fixed = {v.name for v in model.graph.inputs if v.shape and isinstance(v.shape[0], int)}
    return {n: s for n, s in shapes.items() if n not in fixed}


def work_of(model: Model, feeds: Feeds | None) -> dict[int, float]:
    """Return the multiply-accumulates of each node of the main graph, for one sample."""
    typed = with_shapes(model, one_sample(model, feeds))
    resolve = resolver(typed, {})
    found = {}
    for node, twin in zip(model.graph.nodes, typed.graph.nodes, strict=True):
        counted = macs(twin, resolve)
        if counted is None and node.is_op(*LINEAR):  # every weight at least once
            counted = sum(w.size for v in node.inputs if v and (w := v.constant) is not None)
        if counted:
            found[id(node)] = float(counted)
    return found

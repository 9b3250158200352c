"""How many samples fit into memory at once, from what the model makes of one."""

from __future__ import annotations

import math
from dataclasses import replace

from ocompress.io.batches import ArrayDataset
from ocompress.ir import Model, query
from ocompress.ir.onnx_api import infer_types

MOST_BYTES = 64 << 20
"""Bytes of the largest inner value in a batch whose size the model leaves free."""


def narrowed(data: ArrayDataset, model: Model) -> ArrayDataset:
    """Cut data into smaller batches where the model makes large values of small inputs.

    Args:
        data: What is cut.
        model: What it will be fed to; not changed.

    Returns:
        The data as they are where the model or the arrays fix what a batch is.
    """
    plan = data.plan
    if plan.whole or plan.unit.alone or plan.group == plan.unit.rows:
        return data
    most = max(1, MOST_BYTES // max(_widest(model, data), 1))
    return data if most >= plan.group else replace(data, most=most)


def _widest(model: Model, data: ArrayDataset) -> int:
    """Return the bytes of the largest inner value for one sample, as far as inference tells."""
    clone = model.clone()
    for value in clone.graph.inputs:
        if value.name in data.arrays and value.dtype is not None and value.shape is not None:
            shape = data.arrays[value.name].shape
            axis = data.plan.axes.get(value.name, 0)
            if value.name in data.plan.cut:
                shape = (*shape[:axis], 1, *shape[axis + 1 :])
            value.set_type(value.dtype, tuple(shape))
    for output in clone.graph.outputs:  # extents declared for other inputs would contradict
        if output.dtype is not None and output.producer is not None:
            output.set_type(None, None)
    infer_types(clone)
    made = (v for _, node in clone.nodes() for v in node.outputs if v is not None)
    sizes = (
        math.prod(e for e in v.shape or () if isinstance(e, int)) * v.dtype.bits // 8
        for v in made
        if v.dtype is not None and query.is_static(v)
    )
    return max(sizes, default=0)

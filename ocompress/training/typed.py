"""Types of all values, asking ONNX Runtime where ONNX's inference has nothing to say."""

from __future__ import annotations

from ocompress.ir import Model
from ocompress.ir.onnx_api import infer_types
from ocompress.runtime import Session


def typed(model: Model) -> Model:
    """Return a copy of a model with the types of its values, its nodes in order.

    Raises:
        RuntimeFailureError: If ONNX Runtime cannot load it.
    """
    copy = model.clone()
    infer_types(copy)
    copy.sort()
    made = [v for n in copy.graph.nodes for v in n.outputs if v is not None and v.use_count > 0]
    unknown = {v.name: v for v in made if v.type_proto is None}
    if unknown:
        extra = [v for v in unknown.values() if not v.is_output]
        for spec in Session(copy, extra_outputs=extra).outputs:
            if spec.name in unknown and spec.dtype is not None:
                unknown[spec.name].set_type(spec.dtype, spec.shape)
    return copy

"""Inference of element types and shapes."""

from __future__ import annotations

from ocompress.ir import Facet, Model, inference
from ocompress.pipeline import Context, Outcome, Pass


class InferShapes(Pass):
    """Record element types and shapes of all inner values, bodies included.

    Before: y = Relu(x: float[N, 8]), y of unknown type
    After:  y: float[N, 8]
    Leaves alone: outputs of operators that ONNX does not know keep the type of the file.
    Numerics: exact.
    """

    name = "infer-shapes"
    internal = True
    may_change = Facet.TYPES
    reads = Facet.TOPOLOGY | Facet.WEIGHTS | Facet.OPSET

    def run(self, model: Model, ctx: Context) -> Outcome:
        """Infer afresh from inputs and constants."""
        return Outcome(Facet.TYPES if inference.infer_types(model) else Facet.NONE)

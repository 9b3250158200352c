"""Constant nodes become initializers."""

from __future__ import annotations

from ocompress.ir import Facet, Model, Node, edit, query
from ocompress.pipeline import Context, Outcome, Pass


class LiftConstants(Pass):
    """Turn Constant nodes, in every spelling of their attribute, into initializers.

    Before: w = Constant(value=...); y = Add(x, w)
    After:  initializer w; y = Add(x, w)
    Leaves alone: a Constant that makes a formal output, which an initializer may not be
    everywhere; one without a value a build of ONNX understands (no-value).
    Numerics: exact.
    """

    name = "lift-constants"
    internal = True
    may_change = Facet.TOPOLOGY | Facet.WEIGHTS | Facet.NAMES
    reads = Facet.TOPOLOGY

    def run(self, model: Model, ctx: Context) -> Outcome:
        """Lift in the main graph and in bodies."""
        lifted = 0
        for _, node in model.nodes():
            if node.is_op("Constant") and not node.output.is_output:
                lifted += _lift(node, ctx)
        changed = Facet.TOPOLOGY | Facet.WEIGHTS | Facet.NAMES if lifted else Facet.NONE
        return Outcome(changed, {"constants lifted": lifted} if lifted else {})


def _lift(node: Node, ctx: Context) -> bool:
    array = query.constant_node_value(node)
    if array is None:
        ctx.skip(node, "no-value", "the Constant has no value that can be read")
        return False
    value, sparse = node.output, node.attr("sparse_value")
    edit.to_constants(node, [array])
    if sparse is not None:
        sparse.values.name = value.name
        value.set_sparse(sparse)
    return True

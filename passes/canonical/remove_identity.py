"""Nodes that hand on their input."""

from __future__ import annotations

from ocompress.ir import Facet, Model, edit
from ocompress.pipeline import Context, Outcome, Pass
from passes.canonical.identities import STAND_INS, adds_positive_zero


class RemoveIdentity(Pass):
    """Let the readers of a node that returns its input read that input.

    Before: y = Relu(Identity(x)); also Dropout, Cast to the same type, Mul by 1, Transpose,
            Reshape, Pad, Slice, Expand, ... that change nothing
    After:  y = Relu(x)
    Leaves alone: a node between an input or a constant and a formal output, which needs a node
    to make it; adding +0.0, which turns -0.0 into 0.0 (signed-zero); nodes that change nothing
    for some shapes only.
    Numerics: exact.
    """

    name = "remove-identity"
    internal = True
    may_change = Facet.TOPOLOGY | Facet.NAMES | Facet.TYPES
    reads = Facet.TOPOLOGY | Facet.WEIGHTS | Facet.TYPES | Facet.OPSET

    def run(self, model: Model, ctx: Context) -> Outcome:
        """Remove in the main graph and in bodies."""
        removed = 0
        for graph, node in model.nodes():
            if node.domain or not node.outputs or node.outputs[0] is None:
                continue
            rule = STAND_INS.get(node.op_type)
            source = rule(node) if rule is not None else None
            if source is not None and edit.replace(node.output, source):
                graph.remove(node)
                removed += 1
            elif adds_positive_zero(node):
                ctx.skip(node, "signed-zero", "adding +0.0 turns -0.0 into 0.0, so it stays")
        return Outcome(self.may_change, {"identities removed": removed}) if removed else Outcome()

"""Range demands scalars."""

from __future__ import annotations

from ocompress.ir import Facet, Model, Node, query
from ocompress.pipeline import Context, Outcome, Pass


class ScalarizeRange(Pass):
    """Give Range scalars where exporters gave it constant vectors of one number.

    ONNX Runtime takes such vectors while they are computed and refuses the model once it sees
    that they are vectors, so that folding alone would break it.

    Before: y = Range(0, [4], 1)
    After:  y = Range(0, 4, 1)
    Leaves alone: operands that are computed.
    Numerics: exact.
    """

    name = "scalarize-range"
    internal = True
    may_change = Facet.TOPOLOGY | Facet.WEIGHTS | Facet.NAMES
    reads = Facet.TOPOLOGY | Facet.WEIGHTS

    def run(self, model: Model, ctx: Context) -> Outcome:
        """Look at every Range, bodies included."""
        done = sum(_scalarize(node) for _, node in model.nodes() if node.is_op("Range"))
        return Outcome(self.may_change, {"operands made scalars": done}) if done else Outcome()


def _scalarize(node: Node) -> int:
    done = 0
    for index, value in enumerate(node.inputs):
        array = query.constant(node, index)
        if value is None or array is None or array.shape != (1,) or node.graph is None:
            continue
        node.set_input(index, node.graph.constant(f"{value.name}_scalar", array.reshape(())))
        done += 1
    return done

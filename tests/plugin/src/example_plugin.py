"""A third party's passes, written against the public interface only."""

from __future__ import annotations

from typing import Any

from ocompress.ir import Facet, Model
from ocompress.pipeline import Context, Outcome, Pass, option

PASSES = {
    "swap-activation": "example_plugin:SwapActivation",
    "few-levels": "example_lossy:FewLevels",
}


class SwapActivation(Pass):
    """Replace every Relu by LeakyRelu.

    Before: y = Relu(x)
    After:  y = LeakyRelu(x)
    Leaves alone: nothing.
    Numerics: lossy.
    """

    name = "swap-activation"
    may_change = Facet.TOPOLOGY
    alpha: float = option(0.1, help="Slope for negative inputs.", at_least=0, at_most=1)

    def run(self, model: Model, ctx: Context) -> Outcome:
        """Swap all of them, bodies included."""
        attrs: dict[str, Any] = {"alpha": self.alpha}
        found = [(graph, node) for graph, node in model.nodes() if node.is_op("Relu")]
        for graph, node in found:
            new = graph.add_op("LeakyRelu", node.inputs, name=node.name, attrs=attrs)
            for reader, index in node.output.users:
                reader.set_input(index, new.output)
            ctx.applied(node, "swapped", "became LeakyRelu")
        return Outcome(Facet.TOPOLOGY, {"swapped": len(found)}) if found else Outcome()

"""Dead code elimination."""

from __future__ import annotations

from ocompress.ir import Facet, Model, edit
from ocompress.pipeline import Context, Outcome, Pass


class RemoveDeadCode(Pass):
    """Remove nodes whose outputs nobody reads and constants nobody uses.

    Before: y = Relu(x); z = Sin(x)   (z unread)
    After:  y = Relu(x)
    Leaves alone: nothing.
    Numerics: exact.
    """

    name = "remove-dead-code"
    internal = True
    may_change = Facet.TOPOLOGY | Facet.WEIGHTS

    def run(self, model: Model, ctx: Context) -> Outcome:
        """Remove everything dead, bodies included."""
        removed = edit.remove_dead(model.graph)
        if not removed:
            return Outcome()
        return Outcome(Facet.TOPOLOGY | Facet.WEIGHTS, {"dead values removed": removed})

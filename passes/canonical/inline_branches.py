"""If nodes whose condition is constant."""

from __future__ import annotations

from ocompress.ir import Facet, Graph, Model, Node, edit, query
from ocompress.pipeline import Context, Outcome, Pass


class InlineBranches(Pass):
    """Put the branch that is taken in place of an If with a constant condition.

    Before: y = If(true) {then: Relu(x)} {else: Sin(x)}
    After:  y = Relu(x)
    Leaves alone: conditions that are computed.
    Numerics: exact.
    """

    name = "inline-branches"
    internal = True
    may_change = Facet.TOPOLOGY | Facet.WEIGHTS | Facet.NAMES | Facet.TYPES
    reads = Facet.TOPOLOGY | Facet.WEIGHTS

    def run(self, model: Model, ctx: Context) -> Outcome:
        """Inline in the main graph and in bodies, outermost first."""
        inlined = _inline_in(model.graph)
        return Outcome(self.may_change, {"branches inlined": inlined}) if inlined else Outcome()


def _inline_in(graph: Graph) -> int:
    inlined = 0
    pending = graph.nodes
    while pending:
        node = pending.pop()
        branch = _taken(node)
        if branch is None:
            inlined += sum(_inline_in(body) for body in node.subgraphs())
            continue
        body = node.bodies[branch]
        assert isinstance(body, Graph), node.label
        pending.extend(body.nodes)
        edit.inline_body(node, branch)
        inlined += 1
    return inlined


def _taken(node: Node) -> str | None:
    condition = query.constant(node, 0) if node.is_op("If") else None
    if condition is None or condition.size != 1:
        return None
    return "then_branch" if bool(condition.reshape(())) else "else_branch"

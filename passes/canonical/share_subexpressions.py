"""Common subexpression elimination."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import MutableMapping

from ocompress.ir import Facet, Graph, Model, Node, edit, onnx_api
from ocompress.pipeline import Context, Outcome, Pass

_Seen = MutableMapping[tuple[object, ...], Node]


class ShareSubexpressions(Pass):
    """Let the readers of equal computations read one of them.

    Before: a = Relu(x); b = Relu(x); y = Add(a, b)
    After:  a = Relu(x); y = Add(a, a)
    Leaves alone: random nodes, nodes with bodies, operators of other domains (nobody knows
    whether they have state); two nodes that both make formal outputs. A body shares with what
    comes before it outside, never with another body.
    Numerics: exact.
    """

    name = "share-subexpressions"
    internal = True
    may_change = Facet.TOPOLOGY | Facet.NAMES | Facet.TYPES
    reads = Facet.TOPOLOGY

    def run(self, model: Model, ctx: Context) -> Outcome:
        """Share in the main graph and in bodies."""
        shared = _share_in(model.graph, {})
        return Outcome(self.may_change, {"nodes shared": shared}) if shared else Outcome()


def _share_in(graph: Graph, seen: _Seen) -> int:
    shared = 0
    for node in graph.nodes:
        for body in node.subgraphs():
            shared += _share_in(body, ChainMap({}, seen))
        key = _key(node)
        if key is not None:
            shared += _merge(node, seen.setdefault(key, node), graph)
    return shared


def _key(node: Node) -> tuple[object, ...] | None:
    if node.domain or node.bodies or onnx_api.is_random(node) or node.is_op("Constant"):
        return None
    attributes = tuple(
        (name, proto.SerializeToString(deterministic=True))
        for name, proto in sorted(node.attributes.items())
    )
    inputs = tuple(None if v is None else id(v) for v in node.inputs)
    return node.op_type, inputs, attributes, len(node.outputs)


def _merge(node: Node, first: Node, graph: Graph) -> bool:
    if node is first:
        return False
    pairs = [
        (old, new) for old, new in zip(node.outputs, first.outputs, strict=True) if old is not None
    ]
    for old, new in pairs:
        if old.use_count and (new is None or not edit.can_replace(old, new)):
            return False
    for old, new in pairs:
        if new is not None:
            edit.replace(old, new)
    graph.remove(node)
    return True

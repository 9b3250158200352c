"""Sums, means and extrema of many operands become chains of two."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ocompress.ir import DType, Facet, Graph, Model, Node, Value
from ocompress.pipeline import Context, Numerics, Outcome, Pass

_PAIRWISE = {"Sum": "Add", "Mean": "Add", "Max": "Max", "Min": "Min"}


class SplitVariadic(Pass):
    """Spell Sum, Mean, Max and Min of any number of operands with operators of two.

    Before: y = Sum(a, b, c); z = Mean(a, b)
    After:  y = Add(Add(a, b), c); z = Mul(Add(a, b), 0.5)
    The operands are taken in their order, as ONNX Runtime takes them, so that shortcuts and
    branches look the same whichever exporter wrote them.
    Leaves alone: Mean of an unknown element type (unknown-type); operators of other domains.
    Numerics: rounding only; float16 is rounded after every addition.
    """

    name = "split-variadic"
    internal = True
    numerics = Numerics.ROUNDING
    may_change = Facet.TOPOLOGY | Facet.WEIGHTS | Facet.NAMES
    reads = Facet.TOPOLOGY | Facet.TYPES

    def run(self, model: Model, ctx: Context) -> Outcome:
        """Split in the main graph and in bodies."""
        split = 0
        for graph, node in model.nodes():
            if not node.is_op(*_PAIRWISE) or (model.opset and model.opset < 7):
                continue  # before opset 7, operators of two do not broadcast by themselves
            operands = [v for v in node.inputs if v is not None]
            if node.is_op("Mean"):
                split += _split_mean(graph, node, operands, ctx)
            elif len(operands) > 2 or (len(operands) == 2 and node.is_op("Sum")):
                _split(graph, node, operands)
                split += 1
        return Outcome(self.may_change, {"variadic nodes split": split}) if split else Outcome()


def _split(graph: Graph, node: Node, operands: Sequence[Value]) -> None:
    """Let the node itself be the last of the chain, so that names in options go on fitting."""
    node.op_type = _PAIRWISE[node.op_type]
    before = _chain(graph, node, operands[:-1])
    node.set_inputs([before, operands[-1]])


def _split_mean(graph: Graph, node: Node, operands: Sequence[Value], ctx: Context) -> bool:
    if len(operands) < 2:
        return False  # hands on its input
    dtype = next((v.dtype for v in (node.output, *operands) if v.dtype is not None), None)
    if dtype is None:
        ctx.skip(node, "unknown-type", "the element type of its operands is not known")
        return False
    node.op_type = "Add"
    total = _chain(graph, node, operands)
    node.op_type = "Mul"
    node.set_inputs([total, graph.constant(f"{node.label}_share", _share(len(operands), dtype))])
    return True


def _share(count: int, dtype: DType) -> np.ndarray:
    return np.asarray(1 / count).astype(dtype.numpy)


def _chain(graph: Graph, node: Node, operands: Sequence[Value]) -> Value:
    """Return a chain of operators of two, of the node's kind, over its operands in order."""
    first, *others = operands
    for other in others:
        first = graph.add_op(node.op_type, [first, other], name=f"{node.label}_part").output
    return first

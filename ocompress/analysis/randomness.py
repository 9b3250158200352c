"""Which outputs a model draws at random, so that two runs of it differ."""

from __future__ import annotations

from ocompress.ir import Model, Node, Value, onnx_api
from ocompress.ir.graph import reads


def random_outputs(model: Model) -> dict[str, str]:
    """Return the outputs that depend on a random operator, with the label of that node.

    Dropout counts where it may be told to train, and drops anything then.

    Args:
        model: Nodes in order; bodies of control flow count as part of their node.
    """
    cause: dict[int, str] = {}
    for node in model.graph.nodes:
        inner = [n for graph in node.subgraphs() for _, n in graph.walk()]
        drawn = next((n.label for n in (node, *inner) if _draws(n)), "")
        drawn = drawn or next((cause[id(v)] for v in reads(node) if id(v) in cause), "")
        if drawn:
            cause |= {id(v): drawn for v in node.outputs if v is not None}
    return {v.name: cause[id(v)] for v in model.graph.outputs if id(v) in cause}


def _draws(node: Node) -> bool:
    if node.is_op("Dropout"):
        mode, ratio = node.input(2), node.input(1)
        return mode is not None and not _is_nought(mode) and not _is_nought(ratio)
    return onnx_api.is_random(node)


def _is_nought(value: Value | None) -> bool:
    """Whether a value is known to be false, or zero."""
    return value is not None and value.constant is not None and not value.constant.any()

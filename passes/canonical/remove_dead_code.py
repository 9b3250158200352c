"""Dead code elimination."""

from __future__ import annotations

from ocompress.ir import Facet, Model, Node, edit, schemas
from ocompress.pipeline import Context, Outcome, Pass

_BATCH_NORMALIZATION_BY_ATTRIBUTE = 14
"""Opset from which it is an attribute that says `training`, no longer the number of outputs."""

_PAST, _PRESENT = range(4, 6), range(1, 3)
"""Inputs of an Attention that are keys and values from before, and outputs with the new ones."""


class RemoveDeadCode(Pass):
    """Remove nodes and optional outputs that nobody reads, and constants nobody uses.

    Before: y, indices = MaxPool(x); z = Sin(x)   (indices and z unread)
    After:  y = MaxPool(x)
    Leaves alone: the keys and values that an Attention with earlier ones must make.
    Numerics: exact.
    """

    name = "remove-dead-code"
    internal = True
    may_change = Facet.TOPOLOGY | Facet.WEIGHTS
    reads = Facet.TOPOLOGY | Facet.OPSET

    def run(self, model: Model, ctx: Context) -> Outcome:
        """Remove everything dead, bodies included."""
        removed = edit.remove_dead(model.graph)
        trimmed = sum(_trim(node, model.opset) for _, node in model.nodes())
        if not removed and not trimmed:
            return Outcome()
        counts = {"dead values removed": removed, "unread outputs removed": trimmed}
        changed = Facet.TOPOLOGY | (Facet.WEIGHTS if removed else Facet.NONE)
        return Outcome(changed, {what: count for what, count in counts.items() if count})


def _trim(node: Node, opset: int) -> int:
    unread = [i for i, v in enumerate(node.outputs) if v is not None and not v.use_count]
    if not unread or node.domain or node.graph is None or _counts_outputs(node, opset):
        return 0
    optional = schemas.optional_outputs(node, opset)
    dropped = [i for i in unread if i in optional and i not in _made_with_inputs(node)]
    for index in dropped:
        value = node.outputs[index]
        assert value is not None
        node.graph.names.release(value.name)
        node.outputs[index] = None
    while dropped and node.outputs[-1] is None:
        node.outputs.pop()
    return len(dropped)


def _counts_outputs(node: Node, opset: int) -> bool:
    if not node.is_op("BatchNormalization"):
        return False
    return opset < _BATCH_NORMALIZATION_BY_ATTRIBUTE or bool(node.attr("training_mode", 0))


def _made_with_inputs(node: Node) -> range:
    """Return the outputs that ONNX Runtime wants where a node has the inputs they go on from."""
    past = node.inputs[_PAST.start : _PAST.stop]
    return _PRESENT if node.is_op("Attention") and any(past) else range(0)

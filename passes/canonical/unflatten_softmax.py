"""Softmax on a flattened input, as opsets before 13 defined it."""

from __future__ import annotations

from ocompress.ir import Facet, Model, Node, Value, edit, query
from ocompress.pipeline import Context, Numerics, Outcome, Pass
from passes.canonical.adapters.softmax import single_axis


class UnflattenSoftmax(Pass):
    """Let Softmax, LogSoftmax and Hardmax name their axis instead of flattening their input.

    Upgrading the opset flattens where the rank is not known; newer opsets often let inference
    find it afterwards.

    Before: y = Reshape(Softmax(Flatten(x, axis=2), axis=-1), Shape(x)), x of rank 3
    After:  y = Softmax(x, axis=-1)
    Leaves alone: softmaxes over several axes of more than one element.
    Numerics: rounding only; the kernel is the same, its loops may be cut otherwise.
    """

    name = "unflatten-softmax"
    numerics = Numerics.ROUNDING
    internal = True
    may_change = Facet.TOPOLOGY | Facet.NAMES | Facet.TYPES
    reads = Facet.TOPOLOGY | Facet.TYPES

    def run(self, model: Model, ctx: Context) -> Outcome:
        """Look at every Reshape, bodies included."""
        nodes = [n for _, n in model.nodes() if n.is_op("Reshape")]
        done = sum(_rewrite(node) for node in nodes)
        return Outcome(self.may_change, {"softmaxes unflattened": done}) if done else Outcome()


def _rewrite(node: Node) -> bool:
    softmax = query.made_by(node.input(0), "Softmax", "LogSoftmax", "Hardmax")
    flat = query.made_by(softmax.input(0), "Flatten") if softmax is not None else None
    if softmax is None or flat is None or node.graph is None:
        return False
    if softmax.attr("axis", -1) not in (-1, 1) or query.only_reader(softmax.output) is not node:
        return False
    x = flat.input(0)
    axis = single_axis(int(flat.attr("axis", 1)), x.shape) if x is not None else None
    if x is None or axis is None or not _is_shape_of(node.input(1), x):
        return False
    if softmax.graph is not node.graph:
        return False
    softmax.set_input(0, x)
    softmax.set_attr("axis", axis)
    softmax.output.set_type(node.output.dtype, node.output.shape)
    if not edit.replace(node.output, softmax.output):
        return True
    node.graph.remove(node)
    return True


def _is_shape_of(value: Value | None, x: Value) -> bool:
    shape = query.made_by(value, "Shape")
    return shape is not None and shape.input(0) is x and not shape.attributes

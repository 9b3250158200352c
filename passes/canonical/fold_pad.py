"""Padding that a convolution or pooling can do itself."""

from __future__ import annotations

import numpy as np

from ocompress.analysis import padding
from ocompress.analysis.linear_layer import Refusal
from ocompress.ir import Facet, Model, Node, Value, edit
from ocompress.pipeline import Context, Numerics, Outcome, Pass

_READERS = ("Conv", "AveragePool", "MaxPool")
_NONE = (0, 0)


class FoldPad(Pass):
    """Fold a constant Pad of the spatial axes into the convolutions and poolings after it.

    Before: y = Conv(Pad(x, pads, 0), W, pads=p)
    After:  y = Conv(x, W, pads=p + pads)

    Conv and AveragePool take zeros (AveragePool then counts its padding); MaxPool takes minus
    infinity, or zeros where what it pads cannot be negative. `auto_pad` is turned into
    explicit pads where the extents are known.

    Leaves alone: other modes or values (mode, value), computed pads (dynamic-pads), cropping
    (negative-pads), padded batch or channel axes (not-spatial), unknown extents under
    auto_pad (auto-pad), poolings that round up, return indices, skip over elements or pad a
    whole window (ceil-mode, indices, dilated, pads-too-large), averages that leave out
    padding of their own (uncounted-pads), results that others read (several-readers,
    is-output, other-graph).
    Numerics: rounding only.
    """

    name = "fold-pad"
    internal = True
    numerics = Numerics.ROUNDING
    may_change = Facet.TOPOLOGY | Facet.NAMES

    def run(self, model: Model, ctx: Context) -> Outcome:
        """Fold every Pad that all its readers can take."""
        folded = 0
        for graph, node in model.nodes():
            if not node.is_op("Pad") or not any(r.is_op(*_READERS) for r, _ in node.output.users):
                continue
            plan = _match(node)
            if isinstance(plan, Refusal):
                ctx.skip(node, plan.code, plan.why)
                continue
            source = node.inputs[0]
            assert source is not None
            for reader, pads in plan:
                _rewrite(reader, pads)
            edit.replace(node.output, source)
            graph.remove(node)
            ctx.applied(node, "folded", "the nodes after it pad by themselves")
            folded += 1
        return Outcome(self.may_change, {"Pad folded": folded}) if folded else Outcome()


def _match(node: Node) -> list[tuple[Node, list[int]]] | Refusal:
    """Return the readers with the pads each shall have."""
    if node.output.is_output:
        return Refusal("is-output", "its result is an output of the graph")
    if node.attr("mode", "constant") != "constant":
        return Refusal("mode", "it does not pad with a constant")
    added = padding.pad_amounts(node)
    value = _value(node)
    if added is None or value is None or node.inputs[0] is None:
        return Refusal("dynamic-pads", "its pads, axes or value are computed")
    rank = node.inputs[0].rank or len(added)
    if any(a < 0 for both in added.values() for a in both):
        return Refusal("negative-pads", "it crops")
    if rank < 3 or any(added.get(axis, _NONE) != _NONE for axis in (0, 1)):
        return Refusal("not-spatial", "it pads the batch or channel axis")
    spatial = [added.get(axis, _NONE)[end] for end in (0, 1) for axis in range(2, rank)]
    plan = []
    for reader, at in node.output.users:
        if at != 0 or not reader.is_op(*_READERS):
            return Refusal("several-readers", f"{reader.label!r} reads the padded result too")
        if reader.graph is not node.graph:
            return Refusal("other-graph", f"{reader.label!r} is in the body of another node")
        pads = _merged(node, reader, spatial, value)
        if isinstance(pads, Refusal):
            return pads
        plan.append((reader, pads))
    return plan


def _value(node: Node) -> float | None:
    given = node.input(2)
    if given is None:
        return float(node.attr("value", 0.0))
    array = given.constant
    return None if array is None or array.size != 1 else float(array.reshape(()))


def _merged(pad: Node, reader: Node, added: list[int], value: float) -> list[int] | Refusal:
    own = padding.explicit_pads(reader, len(added) // 2)
    if own is None:
        return Refusal("auto-pad", f"the extents that {reader.label!r} pads to are not known")
    total = [a + b for a, b in zip(own, added, strict=True)]
    if reader.is_op("Conv"):
        return total if value == 0.0 else _VALUE
    return _pool_refusal(pad.inputs[0], reader, own, total, value) or total


_VALUE = Refusal("value", "the value it pads with is not what the node after it pads with")


def _pool_refusal(
    source: Value | None, reader: Node, own: list[int], total: list[int], value: float
) -> Refusal | None:
    kernel = reader.attr("kernel_shape")
    if reader.attr("ceil_mode", 0):
        return Refusal("ceil-mode", f"{reader.label!r} rounds its extents up")
    if set(reader.attr("dilations", [])) - {1}:
        return Refusal("dilated", f"{reader.label!r} skips over elements")
    if any(total[i] >= kernel[i % len(kernel)] for i in range(len(total))):
        return Refusal("pads-too-large", f"a window of {reader.label!r} would be all padding")
    if reader.is_op("AveragePool"):
        if value != 0.0:
            return _VALUE
        if any(own) and not reader.attr("count_include_pad", 0):
            why = f"{reader.label!r} does not count padding of its own"
            return Refusal("uncounted-pads", why)
        return None
    if len(reader.outputs) > 1 and reader.outputs[1] is not None:
        return Refusal("indices", f"{reader.label!r} returns indices into the padded data")
    smallest = -np.inf if source is None else padding.lowest(source)
    return None if value <= smallest else _VALUE


def _rewrite(reader: Node, pads: list[int]) -> None:
    reader.set_attr("auto_pad", None)
    reader.set_attr("pads", pads)
    if reader.is_op("AveragePool"):
        reader.set_attr("count_include_pad", 1)

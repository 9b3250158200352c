"""Averages and pointwise convolutions in the order that takes less."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from ocompress.analysis import padding
from ocompress.analysis.linear_layer import Refusal
from ocompress.analysis.windows import window_of
from ocompress.ir import Facet, Model, Node, Value, edit, query
from ocompress.pipeline import Context, Numerics, Outcome, Pass
from passes.merging import emit, forms, linear
from passes.merging.chains import between
from passes.merging.forms import Axis, LinearForm
from passes.merging.linear import Linear

_AVERAGES = ("AveragePool", "GlobalAveragePool", "ReduceMean")
_UNKNOWN = Refusal(
    "unknown-extents", "which order takes less depends on extents that are not known"
)


@dataclass(frozen=True)
class _Order:
    """Two nodes that may change places."""

    first: Node
    second: Node
    conv: Linear


class SwapPool(Pass):
    """Put an average over places and a pointwise Conv in the order that takes less.

    Averaging and mixing channels commute, so weights stay as they are.

    Before: y = AveragePool(Conv(x, W, B), strides=[2, 2]), W of one element per channel
    After:  y = Conv(AveragePool(x, strides=[2, 2]), W, B), a quarter of the multiplications
    Before: y = Conv(AveragePool(x, strides=[1, 1]), W, B), W of fewer outputs than inputs
    After:  y = AveragePool(Conv(x, W, B), strides=[1, 1])

    GlobalAveragePool and ReduceMean over spatial axes that keeps them count as averages, too.
    An average counts as one multiplication for every element it adds up.

    Leaves alone: what is in the better order (not-cheaper), or may be (unknown-extents), a bias
    next to an average that counts padding (counted-pads), values between that others read
    (several-readers, is-output, other-graph), computed weights or biases (dynamic-weight,
    dynamic-bias).
    Numerics: rounding only.
    """

    name = "swap-pool"
    internal = True
    numerics = Numerics.ROUNDING
    may_change = Facet.TOPOLOGY | Facet.TYPES | Facet.NAMES

    def run(self, model: Model, ctx: Context) -> Outcome:
        """Swap in the main graph and in bodies."""
        swapped = 0
        for _, node in model.nodes():
            order = _match(node, model.opset)
            if isinstance(order, Refusal):
                ctx.skip(node, order.code, order.why)
            elif order is not None:
                _exchange(order)
                ctx.applied(order.conv.node, "swapped", f"changed places with {node.label!r}")
                swapped += 1
        return Outcome(self.may_change, {"averages swapped": swapped}) if swapped else Outcome()


def _match(node: Node, opset: int) -> _Order | Refusal | None:
    """Look for a pointwise convolution on either side of an average; None if there is none."""
    if not node.is_op(*_AVERAGES) or not _over_places(node):
        return None
    source = node.inputs[0]
    before = None if source is None else linear.made_by(source, opset)
    found: _Order | Refusal | None = None
    if isinstance(before, Linear) and before.is_conv and before.form.is_point:
        found = _checked(node, _Order(before.node, node, before))
    reader = query.only_reader(node.output)
    after = None if reader is None else linear.read(reader, opset)
    if isinstance(found, _Order) or not isinstance(after, Linear) or not _may_keep_places(node):
        return found
    if after.is_conv and after.form.is_point:
        other = _checked(node, _Order(node, after.node, after))
        return other if isinstance(other, _Order) else found or other
    return found


def _checked(average: Node, order: _Order) -> _Order | Refusal:
    value = order.first.output
    if np.any(order.conv.bias) and not _keeps_constants(average):
        return Refusal("counted-pads", "at the border the average would take less of the bias")
    return between(value, order.second.graph) or _dearer(average, order) or order


def _may_keep_places(node: Node) -> bool:
    """Whether an average may leave as many places, so that it might as well come second."""
    return node.is_op("AveragePool") and set(node.attr("strides") or [1]) == {1}


def _over_places(node: Node) -> bool:
    """Whether a mean goes over spatial axes and keeps them."""
    if not node.is_op("ReduceMean"):
        return True
    rank = None if node.inputs[0] is None else node.inputs[0].rank
    stored = query.constant(node, 1)
    axes = node.attr("axes") if stored is None else stored.reshape(-1).tolist()
    if rank is None or not axes or not node.attr("keepdims", 1):
        return False
    return all(axis % rank >= 2 for axis in axes)


def _keeps_constants(node: Node) -> bool:
    """Whether the average of a constant is that constant at the border, too."""
    if not node.is_op("AveragePool") or not node.attr("count_include_pad", 0):
        return True
    pads = padding.explicit_pads(node, len(node.attr("kernel_shape")))
    return pads is not None and not any(pads) and not node.attr("ceil_mode", 0)


def _dearer(average: Node, order: _Order) -> Refusal | None:
    """Say why the order is the better one already."""
    form, late = order.conv.form, order.first is order.conv.node
    places = _places(average, shrinking=late)
    if places is None:
        return _UNKNOWN
    many, few, taps = places
    conv_first = many * form.weights, few * taps * form.outputs
    conv_last = few * form.weights, few * taps * form.inputs
    now, then = (conv_first, conv_last) if late else (conv_last, conv_first)
    if sum(then) < sum(now) and then[0] <= now[0]:
        return None
    return Refusal("not-cheaper", "the other order would take no fewer multiplications")


def _places(average: Node, *, shrinking: bool) -> tuple[Fraction, Fraction, Fraction] | None:
    """Return places before and behind an average and what each is made of, in proportion.

    Args:
        average: The node.
        shrinking: Whether few places before are the cautious guess, else many.

    Returns:
        None if not enough is known.
    """
    source = average.inputs[0]
    assert source is not None
    extents = _known(source), _known(average.output)
    axes = _axes(average) if average.is_op("AveragePool") else None
    if axes is None and average.is_op("AveragePool"):
        return None
    taps = Fraction(1) if axes is None else Fraction(math.prod(a.kernel for a in axes))
    if extents[0] is not None and extents[1] is not None:
        before, behind = Fraction(math.prod(extents[0])), Fraction(math.prod(extents[1]))
        return before, behind, (before / behind if axes is None and behind else taps)
    if axes is None:
        return (Fraction(2), Fraction(1), Fraction(2)) if shrinking else None
    if shrinking:
        ratios = [forms.least_ratio(axis) for axis in axes]
        return math.prod(ratios, start=Fraction(1)), Fraction(1), taps
    if all(axis.stride == 1 and axis.excess >= 0 for axis in axes):
        return Fraction(1), Fraction(1), taps
    return None


def _known(value: Value) -> list[int] | None:
    extents = (value.shape or ())[2:]
    known = [extent for extent in extents if isinstance(extent, int)]
    return known if extents and len(known) == len(extents) else None


def _axes(average: Node) -> list[Axis] | None:
    kernel = average.attr("kernel_shape")
    pads = padding.explicit_pads(average, len(kernel))
    if pads is None:
        return None
    steps = average.attr("strides")
    gaps = average.attr("dilations")
    axes = LinearForm(1, 1, window_of(kernel, 1, strides=steps, dilations=gaps, pads=pads)).axes
    if not average.attr("ceil_mode", 0):
        return axes
    return [replace(axis, end=axis.end + axis.stride - 1) for axis in axes]


def _exchange(order: _Order) -> None:
    first, second, form = order.first, order.second, order.conv.form
    source, middle, last = first.inputs[0], first.output, second.output
    assert source is not None
    kind = last.dtype, last.shape
    second.set_input(0, source)
    edit.replace(last, middle)
    first.set_input(0, last)
    if not middle.is_output:
        middle.set_type(*kind)
    if second is order.conv.node:
        last.set_type(kind[0], source.shape)
        emit.set_channels(last, 1, form.outputs)
    else:
        last.set_type(*kind)
        emit.set_channels(last, 1, form.inputs)

"""Two linear layers in a row become one."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from ocompress.analysis import linear_layer
from ocompress.analysis.linear_layer import Layer, Refusal
from ocompress.ir import Facet, Model, Node, edit
from ocompress.pipeline import Context, Numerics, Outcome, Pass
from passes.merging import arithmetic, emit, forms, linear, worth
from passes.merging.chains import between
from passes.merging.emit import WeightNumbers
from passes.merging.forms import LinearForm
from passes.merging.linear import Linear
from passes.merging.worth import LayerWork


@dataclass(frozen=True)
class _Match:
    first: Linear
    second: Linear
    made: WeightNumbers


class MergeChains(Pass):
    """Merge two linear layers in a row where one takes fewer multiplications than both.

    Before: y = Conv(Conv(x, W1, B1), W2, B2); also Gemm and MatMul in any order, with the Add
            of a bias after a MatMul; ConvTranspose before or after a pointwise Conv
    After:  y = Conv(x, W, B)

    Kernels, strides, dilations, groups and pads are composed; what is counted are the
    multiply-accumulates of the dense result, so depthwise and low-rank pairs stay pairs. Where
    extents are not known, the least that merging may save is counted.

    Leaves alone: pairs that are cheaper than one layer (not-cheaper), those whose one layer
    would make so few outputs that kernels take as long (slower), a second layer that pads
    with zeros where the first one would make something else (padding), products along
    different axes (other-axis), a bias in front of a transposed convolution whose taps overlap
    (overlap), two transposed convolutions or one beside a kernel of several
    elements (transposed), values between that others read (several-readers, is-output,
    other-graph), computed weights or biases (dynamic-weight, dynamic-bias), biases that vary over
    the rows (matrix-bias), stacks of matrices (batched-weight), extents that only the run
    knows (auto-pad), ranks and vectors a MatMul is not known by (unknown-rank, vector), weights
    above 64 KiB that others use too (shared-weight), results that overflow (non-finite).
    Numerics: rounding only; computed in float64 and rounded once.
    """

    name = "merge-chains"
    internal = True
    numerics = Numerics.ROUNDING
    may_change = Facet.TOPOLOGY | Facet.WEIGHTS | Facet.NAMES | Facet.TYPES

    def run(self, model: Model, ctx: Context) -> Outcome:
        """Merge in the main graph and in bodies, from inputs to outputs."""
        merged, block = 0, ctx.target.channel_multiple
        for _, node in model.nodes():
            match = _match(node, model.opset, block)
            while isinstance(match, _Match):
                kept = _rewrite(match)
                merged += 1
                ctx.applied(kept, "merged", f"also does the work of {match.first.node.label!r}")
                match = _match(node, model.opset, block)
            if isinstance(match, Refusal):
                ctx.skip(node, match.code, match.why)
        return (
            Outcome(self.may_change, {"layers merged into others": merged}) if merged else Outcome()
        )


def _match(node: Node, opset: int, block: int) -> _Match | Refusal | None:
    """Look for a layer that a layer reads; None if there is none."""
    second = linear.read(node, opset) if node.graph is not None else None
    if second is None:
        return None
    read = node.inputs if isinstance(second, Refusal) else (second.data,)
    found = [linear.made_by(value, opset) for value in read if value is not None]
    first = next((layer for layer in found if layer is not None), None)
    if first is None:
        return None
    for layer in (first, second):
        if isinstance(layer, Refusal):
            return layer
    assert isinstance(first, Linear)
    assert isinstance(second, Linear)
    form = _form(first, second)
    if isinstance(form, Refusal):
        return form
    refusal = (
        between(first.output, node.graph)
        or worth.refusal(*_works(first, second, form), block)
        or _border(first, second)
        or first.layer.weight_refusal()
        or second.layer.weight_refusal()
    )
    return refusal or _numbers(first, second, form)


def _form(first: Linear, second: Linear) -> LinearForm | Refusal:
    """Return how the merged layer walks."""
    if first.is_product and second.is_product:
        if first.layer.out_channel != second.layer.data_channel:
            return Refusal("other-axis", "the two products are along different axes")
        return forms.chained(first.form, second.form)
    if first.is_product or second.is_product:
        return Refusal("other-axis", "a product of matrices is not along a convolution's channels")
    if first.is_conv and second.is_conv:
        return forms.chained(first.form, second.form)
    walking, point = (second, first) if first.is_conv else (first, second)
    if not point.is_conv or not point.form.is_point:
        why = "next to a transposed convolution only a kernel of one element can merge"
        return Refusal("transposed", why)
    groups = forms.chained(_channels(first.form), _channels(second.form)).window.groups
    return LinearForm(
        second.form.outputs, first.form.inputs, replace(walking.form.window, groups=groups)
    )


def _channels(form: LinearForm) -> LinearForm:
    """Forget how a layer walks."""
    return forms.form_of(form.outputs, form.inputs, (), form.window.groups)


def _works(first: Linear, second: Linear, form: LinearForm) -> tuple[list[LayerWork], LayerWork]:
    """Return what both layers take and what one takes, at least in proportion."""
    if first.is_conv and second.is_conv:
        early, late = forms.areas(first.form, second.form, first.extents)
        whole = late
    elif first.is_conv or first.is_product:
        early = late = whole = Fraction(1)
    else:
        early, late = _spread(first)
        whole = early
    sides = ((first, early), (second, late))
    works = [LayerWork(layer.form, places, layer.is_transposed) for layer, places in sides]
    return works, LayerWork(form, whole, any(work.transposed for work in works))


def _spread(layer: Linear) -> tuple[Fraction, Fraction]:
    """Return places before and behind a transposed convolution, at least in proportion."""
    rank = len(layer.form.axes)
    both = (*layer.extents, *linear.spatial(layer.output, rank))
    known = [extent for extent in both if isinstance(extent, int)]
    if len(known) == 2 * rank:
        return Fraction(math.prod(known[:rank])), Fraction(math.prod(known[rank:]))
    extra = layer.node.attr("output_padding") or [0] * rank
    found = Fraction(1)
    for axis, more in zip(layer.form.axes, extra, strict=True):
        # (x - 1) * stride + smallest places are made of x
        found *= min(axis.stride, max(1, 1 - axis.excess + more))
    return Fraction(1), found


def _border(first: Linear, second: Linear) -> Refusal | None:
    """Say why the second layer does not see at its border what the merged one would."""
    if not first.is_conv:
        return None
    if not second.is_conv:
        return second.layer.constant_input() if np.any(first.bias) else None
    return worth.padding(first.form, second.form, first.extents, first.bias)


def _numbers(first: Linear, second: Linear, form: LinearForm) -> _Match | Refusal:
    weight, after = first.weight(), second.weight()
    bias = second.bias + arithmetic.pushed(first.bias, after, second.form.window.groups)
    whole = arithmetic.chained(weight, after, first.form, second.form)
    made = emit.numbers(form, whole, bias, second.dtype)
    return made if isinstance(made, Refusal) else _Match(first, second, made)


def _rewrite(match: _Match) -> Node:
    """Let one of the layers do the work of both; return it."""
    first, second = match.first, match.second
    if not second.is_product and not first.is_conv:  # the transposed one stays
        emit.write(first, match.made)
        first.output.set_type(second.output.dtype, second.output.shape)
        edit.replace(second.output, first.output)
        emit.take_out(second)
        return first.node
    second.node.set_input(second.layer.data_at, first.data)
    if second.is_product:
        second = _turned(first, second)
    emit.write(second, match.made)
    emit.take_out(first)
    return second.node


def _turned(first: Linear, second: Linear) -> Linear:
    """Let the second product read its data as the first one did."""
    node, data_at = second.node, second.layer.data_at
    if first.node.is_op("Gemm"):
        node.op_type = "Gemm"
    if node.is_op("Gemm"):
        flipped = first.layer.data_channel == data_at
        node.set_attr("transB" if data_at else "transA", int(flipped) or None)
    layer = linear_layer.read(node)
    assert isinstance(layer, Layer)
    return replace(second, site=replace(second.site, layer=layer))

"""Averages over windows become part of the convolution next to them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ocompress.analysis.linear_layer import Refusal
from ocompress.ir import Facet, Model, Node, edit
from ocompress.pipeline import Context, Numerics, Outcome, Pass
from passes.merging import arithmetic, emit, forms, linear, pools, worth
from passes.merging.chains import between
from passes.merging.emit import WeightNumbers
from passes.merging.linear import Linear
from passes.merging.worth import LayerWork


@dataclass(frozen=True)
class _Match:
    conv: Linear
    made: WeightNumbers
    behind: bool
    """Whether the average reads the convolution."""


class MergePool(Pass):
    """Merge an AveragePool into the Conv that feeds it or reads it, where that takes less.

    Before: y = AveragePool(Conv(x, W, B), kernel_shape=[2, 2], strides=[2, 2])
    After:  y = Conv(x, W', B, strides=[2, 2]), its kernel one larger: a 3 x 3 kernel takes
            16 multiplications where it took 36 and an average
    Before: y = Conv(AveragePool(x), W, B)
    After:  y = Conv(x, W', B), its kernel spread over the windows

    An average counts as one multiplication for every element it adds up.

    Leaves alone: what would take more (not-cheaper) or make so few outputs that kernels take as
    long (slower), averages that leave out padding
    (uncounted-pads) or round their extents up (ceil-mode), extents that only the run knows
    (auto-pad), the second of the two padding where the first one makes no zeros (padding),
    values between that others read (several-readers, is-output, other-graph), computed weights or
    biases (dynamic-weight, dynamic-bias), weights above 64 KiB that others use too
    (shared-weight), results that overflow (non-finite).
    Numerics: rounding only; computed in float64 and rounded once.
    """

    name = "merge-pool"
    internal = True
    numerics = Numerics.ROUNDING
    may_change = Facet.TOPOLOGY | Facet.WEIGHTS | Facet.NAMES | Facet.TYPES

    def run(self, model: Model, ctx: Context) -> Outcome:
        """Merge in the main graph and in bodies."""
        merged, block = 0, ctx.target.channel_multiple
        for _, node in model.nodes():
            if not node.is_op("AveragePool"):
                continue
            match = _match(node, model.opset, block)
            if isinstance(match, Refusal):
                ctx.skip(node, match.code, match.why)
            elif match is not None:
                _rewrite(node, match)
                ctx.applied(match.conv.node, "merged", "averages over its windows, too")
                merged += 1
        return Outcome(self.may_change, {"averages merged": merged}) if merged else Outcome()


def _match(pool: Node, opset: int, block: int) -> _Match | Refusal | None:
    """Look for a convolution on either side; None if there is none."""
    source = pool.inputs[0]
    before = None if source is None else linear.made_by(source, opset)
    readers = [n for n, at in pool.output.users if at == 0 and n.is_op("Conv")]
    after = linear.read(readers[0], opset) if readers else None
    first: Refusal | None = None
    for conv, behind in ((before, True), (after, False)):
        if isinstance(conv, Linear) and conv.is_conv:
            found = (_behind if behind else _in_front)(pool, conv, block)
            if isinstance(found, _Match):
                return found
            first = first or found
        elif isinstance(conv, Refusal):
            first = first or conv
    return first


def _behind(pool: Node, conv: Linear, block: int) -> _Match | Refusal:
    form = pools.read(pool, conv.form.outputs)
    if isinstance(form, Refusal):
        return form
    whole = forms.chained(conv.form, form)
    early, late = forms.areas(conv.form, form, conv.extents)
    refusal = (
        between(conv.output, pool.graph)
        or worth.refusal(
            [LayerWork(conv.form, early), LayerWork(form, late)], LayerWork(whole, late), block
        )
        or worth.padding(conv.form, form, conv.extents, conv.bias)
        or conv.layer.weight_refusal()
    )
    if refusal is not None:
        return refusal
    weight = arithmetic.chained(conv.weight(), pools.weight(form), conv.form, form)
    made = emit.numbers(whole, weight, conv.bias, conv.dtype)
    return made if isinstance(made, Refusal) else _Match(conv, made, behind=True)


def _in_front(pool: Node, conv: Linear, block: int) -> _Match | Refusal:
    form = pools.read(pool, conv.form.inputs)
    if isinstance(form, Refusal):
        return form
    source = pool.inputs[0]
    assert source is not None
    extents = linear.spatial(source, len(form.axes))
    whole = forms.chained(form, conv.form)
    early, late = forms.areas(form, conv.form, extents)
    refusal = (
        between(pool.output, conv.node.graph)
        or worth.refusal(
            [LayerWork(form, early), LayerWork(conv.form, late)], LayerWork(whole, late), block
        )
        or worth.padding(form, conv.form, extents, np.zeros(1))
        or conv.layer.weight_refusal()
    )
    if refusal is not None:
        return refusal
    weight = arithmetic.chained(pools.weight(form), conv.weight(), form, conv.form)
    made = emit.numbers(whole, weight, conv.bias, conv.dtype)
    return made if isinstance(made, Refusal) else _Match(conv, made, behind=False)


def _rewrite(pool: Node, match: _Match) -> None:
    conv, source = match.conv, pool.inputs[0]
    emit.write(conv, match.made)
    if match.behind:
        conv.output.set_type(pool.output.dtype, pool.output.shape)
        edit.replace(pool.output, conv.output)
    else:
        conv.node.set_input(0, source)
    emit.remove([pool])

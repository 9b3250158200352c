"""Linear layers side by side whose outputs are put together become one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from ocompress.analysis.linear_layer import Refusal
from ocompress.ir import Facet, Model, Node, Value, edit
from ocompress.pipeline import Context, Numerics, Outcome, Pass
from passes.merging import emit, forms, linear, worth
from passes.merging.emit import WeightNumbers
from passes.merging.linear import Linear
from passes.merging.tails import Tail, tail_of


@dataclass(frozen=True)
class _Match:
    """Branches in neighbouring positions of a Concat, in order."""

    tails: tuple[Tail, ...]
    made: WeightNumbers


class MergeBranches(Pass):
    """Merge layers that read one value and end side by side in one Concat.

    Before: y = Concat(Relu(Conv(x, W1, B1)), Relu(Conv(x, W2, B2)), axis=1)
    After:  y = Relu(Conv(x, [W1; W2], [B1; B2]))

    Conv, Gemm and MatMul with the same window, and the same elementwise functions after them.
    It takes as many multiplications and spares copies, passes over x and nodes.

    Leaves alone: branches that do not end in a Concat along their channels, such as queries,
    keys and values, for one layer and a Split would take as many multiplications (no-concat);
    other kernels, strides or pads (other-window), other functions after them (other-function),
    positions in the Concat that are not next to each other (not-adjacent), convolutions with
    groups, whose outputs would interleave (grouped), weights that others use too, which would
    have to be copied (shared-weight), many zeros for a bias that few have (larger), values
    between that others read (several-readers, is-output, other-graph).
    Numerics: rounding only; kernels may add up in another order.
    """

    name = "merge-branches"
    internal = True
    numerics = Numerics.ROUNDING
    may_change = Facet.TOPOLOGY | Facet.WEIGHTS | Facet.NAMES | Facet.TYPES

    def run(self, model: Model, ctx: Context) -> Outcome:
        """Merge in the main graph and in bodies."""
        merged = 0
        for siblings in list(_siblings(model)):
            tails: list[Tail] = []
            for layer in siblings:
                found = tail_of(layer)
                if isinstance(found, Refusal):
                    ctx.skip(layer.node, found.code, found.why)
                else:
                    tails.append(found)
            for concat in {id(t.concat): t.concat for t in tails}.values():
                merged += _merge([t for t in tails if t.concat is concat], ctx)
        return Outcome(self.may_change, {"branches merged": merged}) if merged else Outcome()


def _siblings(model: Model) -> Iterator[list[Linear]]:
    """Yield the layers that read one value, where there are several."""
    readers: dict[int, list[Linear]] = {}
    for _, node in model.nodes():
        layer = linear.read(node, model.opset)
        if isinstance(layer, Linear) and (layer.is_conv or layer.is_product):
            readers.setdefault(id(layer.data), []).append(layer)
    yield from (layers for layers in readers.values() if len(layers) > 1)


def _merge(tails: Sequence[Tail], ctx: Context) -> int:
    """Merge the branches of one Concat that can be merged; return how many went away."""
    gone = 0
    for run in reversed(_runs(tails)):  # positions behind a merged one move
        match = _match(run) if len(run) > 1 else _lonely(run[0], tails)
        if isinstance(match, Refusal):
            for tail in run:
                ctx.skip(tail.layer.node, match.code, match.why)
            continue
        _rewrite(match)
        names = ", ".join(repr(t.layer.node.label) for t in run[1:])
        ctx.applied(run[0].layer.node, "merged", f"also does the work of {names}")
        gone += len(run) - 1
    return gone


def _runs(tails: Sequence[Tail]) -> list[list[Tail]]:
    """Cut the branches of a Concat where neighbours cannot be merged."""
    ordered = sorted(tails, key=lambda t: t.position)
    numbered = list(enumerate(ordered))
    keyed = groupby(numbered, key=lambda n: (n[1].position - n[0], n[1].kind, n[1].functions))
    return [[tail for _, tail in run] for _, run in keyed]


def _match(run: Sequence[Tail]) -> _Match | Refusal:
    layers = [tail.layer for tail in run]
    if any(layer.form.window.groups > 1 for layer in layers):
        return Refusal("grouped", "the outputs of convolutions with groups would interleave")
    if any(v.use_count > 1 for layer in layers for v in layer.parameters):
        return Refusal("shared-weight", "a weight or bias is used elsewhere and would be copied")
    first = layers[0]
    outputs = sum(layer.form.outputs for layer in layers)
    form = forms.form_of(outputs, first.form.inputs, first.form.axes, 1)
    weight = np.concatenate([layer.weight() for layer in layers])
    bias = np.concatenate([layer.bias for layer in layers])
    made = emit.numbers(form, weight, bias, first.dtype)
    if isinstance(made, Refusal):
        return made
    freed = sum(layer.own_bytes for layer in layers)
    return worth.growth(freed, made.nbytes, len(run) - 1) or _Match(tuple(run), made)


def _lonely(tail: Tail, tails: Sequence[Tail]) -> Refusal:
    """Say why a branch has no neighbour that it can be merged with."""
    if len(tails) == 1:
        return Refusal("no-concat", "no other layer on the same input ends in the same Concat")
    beside = [other for other in tails if abs(other.position - tail.position) == 1]
    if not beside:
        return Refusal("not-adjacent", "its neighbours in the Concat read something else")
    if all(other.kind != tail.kind for other in beside):
        return Refusal("other-window", "its neighbours in the Concat walk in another way")
    return Refusal("other-function", "other functions follow its neighbours in the Concat")


def _rewrite(match: _Match) -> None:
    """Let the first branch make what all of them made."""
    first, *others = match.tails
    concat, outputs = first.concat, match.made.form.outputs
    emit.write(first.layer, match.made)
    end = concat.inputs[first.position]
    assert end is not None
    for value in _path(first.layer.node, concat):
        emit.set_channels(value, first.layer.layer.out_channel, outputs)
    last = others[-1].position
    concat.set_inputs([*concat.inputs[: first.position + 1], *concat.inputs[last + 1 :]])
    for tail in others:
        emit.remove(reversed(tail.steps))
        emit.take_out(tail.layer)
    if len(concat.inputs) == 1 and edit.replace(concat.output, end) and concat.graph is not None:
        concat.graph.remove(concat)


def _path(node: Node, concat: Node) -> Iterator[Value]:
    while node is not concat:
        yield node.output
        node = node.output.users[0][0]

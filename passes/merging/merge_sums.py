"""Linear layers on one input that are added up become one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from ocompress.analysis.linear_layer import Refusal
from ocompress.ir import Facet, Model
from ocompress.pipeline import Context, Numerics, Outcome, Pass
from passes.merging import arithmetic, emit, forms, terms, worth
from passes.merging.emit import WeightNumbers
from passes.merging.forms import LinearForm
from passes.merging.linear import Linear
from passes.merging.sum_tree import Leaf, SumTree, is_root
from passes.merging.terms import Term
from passes.merging.worth import LayerWork


@dataclass(frozen=True)
class _Match:
    host: Linear
    leaf: Leaf
    others: tuple[Term, ...]
    made: WeightNumbers


class MergeSums(Pass):
    """Merge linear layers on one input that are added up, and what else is added on that input.

    Before: y = Conv(x, W3, B3, pads=1) + Conv(x, W1, B1) + x
    After:  y = Conv(x, W, B, pads=1)

    This is how RepVGG and its kin are trained; not all are merged when they are exported.
    Smaller kernels are padded to larger ones, shifted and dilated ones put on one grid, groups
    brought to a common number; an AveragePool, a BatchNormalization, scales and shifts per
    channel and x itself go along where the kernel already has their place. Gemm, MatMul and
    ConvTranspose with the same window count as well. Terms on other inputs stay in the sum.

    Leaves alone: what would take more multiplications (not-cheaper) or bytes (larger) or leave
    kernels more to do (slower), layers of other strides (other-stride), of extents that are not
    known to be the same (other-extents), of other channels (broadcast), averages that leave out
    padding (uncounted-pads), round up (ceil-mode) or pad to extents that only the run knows
    (auto-pad), results that others read (several-readers, is-output, other-graph), weights above
    64 KiB that others use too (shared-weight), results that overflow (non-finite).
    Numerics: rounding only; computed in float64 and rounded once.
    """

    name = "merge-sums"
    internal = True
    numerics = Numerics.ROUNDING
    may_change = Facet.TOPOLOGY | Facet.WEIGHTS | Facet.NAMES | Facet.TYPES

    def run(self, model: Model, ctx: Context) -> Outcome:
        """Merge in the main graph and in bodies."""
        merged = 0
        for _, node in model.nodes():
            if node.graph is None or not is_root(node) or len(node.inputs) != 2:
                continue
            tree = SumTree(node, model.opset)
            for layers in _by_input(tree):
                present = [leaf for leaf in layers if leaf in tree.leaves]
                merged += _merge(tree, present, model.opset, ctx) if present else 0
        return Outcome(self.may_change, {"terms merged": merged}) if merged else Outcome()


def _by_input(tree: SumTree) -> list[list[Leaf]]:
    """Return the layers of a sum, those on one input and of one kind together."""
    found: dict[object, list[Leaf]] = {}
    for leaf in tree.leaves:
        if leaf.layer is not None:
            found.setdefault((id(leaf.layer.data), terms.kind(leaf.layer)), []).append(leaf)
    return list(found.values())


def _merge(tree: SumTree, layers: Sequence[Leaf], opset: int, ctx: Context) -> int:
    """Merge what can be of the terms on one input; return how many went away."""
    usable: list[Term] = []
    for leaf, term in _terms(tree, layers, opset):
        if isinstance(term, Refusal):
            ctx.skip(leaf.value.producer or leaf.add, term.code, term.why)
        else:
            usable.append(term)
    gone, usable = 0, terms.ordered(usable)
    while len(usable) > 1 and usable[0].layer is not None:
        match = _match(usable, ctx.target.channel_multiple)
        taken = [usable[0].leaf] if isinstance(match, Refusal) else _rewrite(tree, match, ctx)
        if isinstance(match, Refusal):
            ctx.skip(usable[0].layer.node, match.code, match.why)
        gone += len(taken) - 1
        usable = [term for term in usable if term.leaf not in taken]
    return gone


def _terms(
    tree: SumTree, layers: Sequence[Leaf], opset: int
) -> Iterator[tuple[Leaf, Term | Refusal]]:
    """Yield the terms on one input, if there are several."""
    host = layers[0].layer
    assert host is not None
    found: list[tuple[Leaf, Term | Refusal]] = [(leaf, terms.layer_term(leaf)) for leaf in layers]
    for leaf in tree.leaves:
        term = None if leaf in layers else terms.other_term(leaf, host, opset)
        if term is not None:
            found.append((leaf, term))
    yield from found if len(found) > 1 else ()


def _match(usable: Sequence[Term], block: int) -> _Match | Refusal:
    """Let the first term, a layer, take over what it can of the others."""
    first, host = usable[0], usable[0].layer
    assert host is not None
    made = partial(LayerWork, transposed=host.is_transposed)
    form, taken = first.form, [first]
    refused: Refusal | None = None
    for term in usable[1:]:
        sum_ = _summed(form, term.form, host)
        refusal = sum_ if isinstance(sum_, Refusal) else None
        if isinstance(sum_, LinearForm):
            works = [made(form), *([] if term.work is None else [term.work])]
            refusal = worth.refusal(works, made(sum_), block, equal=True)
            if refusal is None:
                form = sum_
                taken.append(term)
        refused = refused or refusal
    if len(taken) == 1:
        assert refused is not None
        return refused
    return _numbers(taken, form, host)


def _summed(one: LinearForm, other: LinearForm, host: Linear) -> LinearForm | Refusal:
    if host.is_conv or host.is_product:
        return forms.summed(one, other, host.extents)
    same = (one.outputs, one.inputs) == (other.outputs, other.inputs)
    return one if same else Refusal("broadcast", "what is added does not have the same channels")


def _numbers(taken: Sequence[Term], form: LinearForm, host: Linear) -> _Match | Refusal:
    numbers = [term.numbers() for term in taken]
    parts = [term.form for term in taken]
    weight = arithmetic.summed([w for w, _ in numbers], parts, form)
    bias = np.sum([b for _, b in numbers], axis=0)
    made = emit.numbers(form, weight, bias, host.dtype)
    if isinstance(made, Refusal):
        return made
    if form.weights >= sum(term.work.macs for term in taken if term.work is not None):
        freed = sum(term.layer.own_bytes for term in taken if term.layer is not None)
        freed += sum(_constants(term) for term in taken if term.layer is None)
        refusal = worth.growth(freed, made.nbytes, len(taken) - 1)
        if refusal is not None:
            return refusal
    return _Match(host, taken[0].leaf, tuple(taken[1:]), made)


def _constants(term: Term) -> int:
    """Return the bytes of constants that go with a term that is no layer."""
    values = [v for node in term.nodes for v in node.inputs if v is not None and v.use_count < 2]
    return sum(v.data.nbytes for v in values if v.data is not None)


def _rewrite(tree: SumTree, match: _Match, ctx: Context) -> list[Leaf]:
    """Let the host make what it and the others made; return all their leaves."""
    match.leaf.value = emit.write(match.host, match.made)
    for term in match.others:
        tree.drop(term.leaf)
        emit.remove(term.nodes)
    tree.forget_shapes(match.leaf)
    what = f"does the work of {len(match.others)} more terms of a sum"
    ctx.applied(match.host.node, "merged", what)
    return [match.leaf, *(term.leaf for term in match.others)]

"""Batch normalization folding."""

from __future__ import annotations

from collections.abc import Sequence

from ocompress.analysis.linear_layer import Refusal
from ocompress.ir import Facet, Model, Node
from ocompress.pipeline import Context, Numerics, Outcome, Pass
from passes.canonical import absorb
from passes.merging.affine import Affine

_LONE = Refusal("no-linear-neighbour", "no layer with constant weights feeds it or reads it")


class FoldBatchNorm(Pass):
    """Fold inference BatchNormalization into the linear layer before or after it.

    Before: y = BatchNormalization(Conv(x, W, B), gamma, beta, mean, var)
    After:  y = Conv(x, W', B')

    Conv, ConvTranspose, Gemm and MatMul count as linear layers; a Transpose, Squeeze or
    Unsqueeze in between stays, and Mul, Add, Sub, Div by constants in the same chain go along.
    Behind a MatMul, which has no bias, one Add stays; of two normalizations in a row one. A
    normalization without a linear neighbour stays as it is: it walks over the data once, a
    Mul and an Add would do so twice.

    Leaves alone: normalization by batch statistics (training), computed parameters
    (dynamic-parameter), computed weights or biases (dynamic-weight, dynamic-bias), values
    between that others read (several-readers, is-output, other-graph), weights above 64 KiB
    that other nodes use too (shared-weight; smaller ones are copied) or that files hold in 16
    bits (packed-weight), another axis (axis), a shift in front of zero padding (padding, overlap,
    no-bias), results that overflow or fall below the normal range of float16 (non-finite), no
    neighbour (no-linear-neighbour).
    Numerics: rounding only; computed in float64 and rounded once.
    """

    name = "fold-batch-norm"
    internal = True
    numerics = Numerics.ROUNDING
    may_change = Facet.TOPOLOGY | Facet.WEIGHTS | Facet.NAMES

    def run(self, model: Model, ctx: Context) -> Outcome:
        """Fold every normalization that can be folded."""
        folding = absorb.sweep(model, ctx, _has_batch_norm)
        for _, node in model.nodes():
            if _is_batch_norm(node):
                folding.decline(node, _LONE)
        folding.report(ctx, _is_batch_norm)
        if not folding.folded:
            return Outcome()
        return Outcome(self.may_change, {"nodes folded into weights": folding.folded})


def _is_batch_norm(node: Node) -> bool:
    return node.is_op("BatchNormalization")


def _has_batch_norm(items: Sequence[Affine]) -> bool:
    return any(_is_batch_norm(item.node) for item in items)

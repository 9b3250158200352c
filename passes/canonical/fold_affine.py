"""Folding of multiplications and additions of constants into linear layers."""

from __future__ import annotations

from collections.abc import Sequence

from ocompress.ir import Facet, Model, Node
from ocompress.pipeline import Context, Numerics, Outcome, Pass
from passes.canonical import absorb
from passes.merging.affine import ELEMENTWISE, Affine


class FoldAffine(Pass):
    """Fold Mul, Div, Add and Sub by per-channel constants into the linear layer next to them.

    Before: y = Conv((x - mean) / std, W, B) * gamma + beta
    After:  y = Conv(x, W', B')

    This is also how batch normalization looks after many exporters, in any order of
    operators and operands. Conv, ConvTranspose, Gemm and MatMul count as linear layers, and
    so does a BatchNormalization for what follows it; a Transpose, Squeeze or Unsqueeze in
    between stays. Where a shift cannot become a bias (in front of zero padding or a MatMul,
    behind a MatMul) one Add stays and the rest folds.

    Leaves alone: constants that vary over more than the channels (not-per-channel) or might
    enlarge the data (unknown-shape), a lone shift in front of zero padding (padding, overlap,
    no-bias), the ends of layer normalization and GELU, which the runtime fuses (layer-norm,
    gelu), values between that others read (several-readers, is-output, other-graph), computed
    weights or biases (dynamic-weight, dynamic-bias), weights above 64 KiB that other nodes use
    too (shared-weight; smaller ones are copied) or that files hold in 16 bits (packed-weight),
    results that overflow or fall below the normal range of float16 (non-finite).
    Numerics: rounding only; computed in float64 and rounded once.
    """

    name = "fold-affine"
    internal = True
    numerics = Numerics.ROUNDING
    may_change = Facet.TOPOLOGY | Facet.WEIGHTS | Facet.NAMES

    def run(self, model: Model, ctx: Context) -> Outcome:
        """Fold every chain that can be folded."""
        folding = absorb.sweep(model, ctx, _elementwise_only)
        folding.report(ctx, _is_candidate)
        if not folding.folded:
            return Outcome()
        return Outcome(self.may_change, {"nodes folded into weights": folding.folded})


def _elementwise_only(items: Sequence[Affine]) -> bool:
    return bool(items) and all(item.node.is_op(*ELEMENTWISE) for item in items)


def _is_candidate(node: Node) -> bool:
    return node.is_op(*ELEMENTWISE) and any(
        v is not None and v.constant is not None for v in node.inputs
    )

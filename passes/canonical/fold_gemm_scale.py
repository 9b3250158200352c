"""The factors of a Gemm become part of its constants."""

from __future__ import annotations

import math

import numpy as np

from ocompress.analysis import linear_layer
from ocompress.analysis.linear_layer import Layer, Refusal
from ocompress.analysis.weight_form import rounded
from ocompress.ir import DType, Facet, Model, Node, edit, packed, query
from ocompress.pipeline import Context, Numerics, Outcome, Pass

_NARROW = (DType.FLOAT16, DType.BFLOAT16)
_NON_FINITE = Refusal("non-finite", "the scaled values would overflow or lose precision")


class FoldGemmScale(Pass):
    """Multiply alpha and beta of a Gemm into its weight and bias, and straighten its left factor.

    Before: y = Gemm(x, W, b, alpha=0.5, beta=2.0); z = Gemm(Transpose(x), W, transA=1)
    After:  y = Gemm(x, 0.5 W, 2 b); z = Gemm(x, W)
    Integer kernels, and those that unpack weights as they multiply, have neither factors nor a
    transposed left operand.
    Leaves alone: computed weights and biases (dynamic-weight, dynamic-bias), large weights that
    others read too (shared-weight) or that files hold in 16 bits, which the scaled ones would not
    fit (packed-weight), alpha that is 0 or not finite (odd-alpha), values that would overflow or
    lose precision (non-finite); a left operand that is computed and has to be turned round
    (transposed-input).
    Numerics: rounding only; exact where the factors are powers of two.
    """

    name = "fold-gemm-scale"
    internal = True
    numerics = Numerics.ROUNDING
    may_change = Facet.TOPOLOGY | Facet.WEIGHTS | Facet.NAMES

    def run(self, model: Model, ctx: Context) -> Outcome:
        """Fold in the main graph and in bodies."""
        folded = 0
        for _, node in model.nodes():
            if not node.is_op("Gemm"):
                continue
            for fold in (_fold_alpha, _fold_beta, _straighten):
                done = fold(node)
                if isinstance(done, Refusal):
                    ctx.skip(node, done.code, done.why)
                else:
                    folded += done
        return Outcome(self.may_change, {"Gemm factors folded": folded}) if folded else Outcome()


def _fold_alpha(node: Node) -> bool | Refusal:
    alpha = float(node.attr("alpha", 1.0))
    if alpha == 1.0:
        return False
    layer = linear_layer.read(node)
    if not isinstance(layer, Layer):
        return layer or False
    if alpha == 0.0 or not math.isfinite(alpha):
        return Refusal("odd-alpha", f"its alpha is {alpha:g}")
    scaled, refusal = _scaled(layer.weight, alpha), layer.weight_refusal()
    if scaled is None:
        return _NON_FINITE
    value = node.inputs[layer.weight_at]
    held = None if value is None or value.packed is None else value.packed.largest.dtype
    fits = held in _NARROW and packed.is_exact(scaled, held)
    if refusal is not None and not (refusal.code == "packed-weight" and fits):
        return refusal
    layer.set_weight(scaled)
    value, graph = node.inputs[layer.weight_at], node.graph
    if fits and held is not None and value is not None and graph is not None:
        packed.cast(value, held, graph)
    node.set_attr("alpha", None)
    return True


def _fold_beta(node: Node) -> bool | Refusal:
    beta, bias = float(node.attr("beta", 1.0)), node.input(2)
    if beta == 1.0:
        return False
    if bias is not None and beta != 0.0:
        array = bias.constant
        if array is None or not DType.of(array).is_float:
            return Refusal("dynamic-bias", f"the bias of {node.label!r} is computed or not float")
        scaled = _scaled(array, beta)
        if scaled is None:
            return _NON_FINITE
        edit.set_weight(edit.own_weight(node, 2), scaled)
    node.set_attr("beta", None)
    if beta == 0.0:
        node.set_inputs(node.inputs[:2])
    return True


def _scaled(array: np.ndarray, factor: float) -> np.ndarray | None:
    with np.errstate(all="ignore"):
        return rounded(array.astype(np.float64) * factor, array.dtype)


def _straighten(node: Node) -> bool | Refusal:
    """Let the left operand be what it multiplies, where nothing has to be computed for it."""
    left = node.input(0)
    if not node.attr("transA", 0) or left is None:
        return False
    turned = query.made_by(left, "Transpose")
    if left.constant is not None:
        edit.set_weight(edit.own_weight(node, 0), np.ascontiguousarray(left.constant.T))
    elif turned is not None and turned.attr("perm", [1, 0]) == [1, 0]:
        node.set_input(0, turned.input(0))
    elif query.constant(node, 1) is not None:
        return Refusal("transposed-input", "its left operand is computed, and read transposed")
    else:
        return False
    node.set_attr("transA", None)
    return True

"""Absorbing chains of scaling and shifting nodes into the weights of linear layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from ocompress.analysis import linear_layer
from ocompress.analysis.linear_layer import Layer, Refusal
from ocompress.analysis.weight_form import rounded
from ocompress.ir import Model, Node, Value, edit, query
from ocompress.pipeline import Context
from passes.merging import affine, chains
from passes.merging.affine import Affine
from passes.merging.chains import NodeChain

Wanted = Callable[[Node], bool]

_NON_FINITE = Refusal("non-finite", "the folded values would overflow or lose precision")


@dataclass
class Folding:
    """What one sweep over a model did.

    Attributes:
        folded: Nodes that were folded away.
        reasons: For nodes seen next to a layer but left alone, the first reason.
    """

    folded: int = 0
    reasons: dict[int, tuple[Node, Refusal]] = field(default_factory=dict)

    def decline(self, node: Node, refusal: Refusal) -> None:
        """Remember why a node was left alone."""
        self.reasons.setdefault(id(node), (node, refusal))

    def report(self, ctx: Context, wanted: Wanted) -> None:
        """Say why nodes of a kind that are still there were left alone."""
        for node, refusal in self.reasons.values():
            if node.graph is not None and wanted(node):
                ctx.skip(node, refusal.code, refusal.why)


def sweep(model: Model, ctx: Context, wanted: Callable[[Sequence[Affine]], bool]) -> Folding:
    """Fold what is wanted behind and in front of every linear layer, bodies included."""
    result = Folding()
    for _, node in model.nodes():
        if node.graph is None or not node.is_op(*linear_layer.LINEAR):
            continue
        layer = linear_layer.read(node)
        if node.is_op("BatchNormalization"):
            if isinstance(layer, Layer) and affine.not_inference(node, model.opset) is None:
                chain = chains.behind(layer, model.opset)
                _try(result, ctx, layer, chain, wanted, fold_behind)
            continue
        if isinstance(layer, Refusal):
            for neighbour in _neighbours(node):
                result.decline(neighbour, layer)
        if isinstance(layer, Layer):
            _try(result, ctx, layer, chains.behind(layer, model.opset), wanted, fold_behind)
            _try(result, ctx, layer, chains.in_front(layer, model.opset), wanted, fold_in_front)
    return result


def _try(
    result: Folding,
    ctx: Context,
    layer: Layer,
    chain: NodeChain,
    wanted: Callable[[Sequence[Affine]], bool],
    fold: Callable[[Layer, Sequence[Affine]], int | Refusal],
) -> None:
    for declined, refusal in chain.declined:
        result.decline(declined, refusal)
    if not wanted(chain.items):
        return
    done = fold(layer, chain.items)
    if isinstance(done, Refusal):
        for item in chain.items:
            result.decline(item.node, done)
    elif done:
        result.folded += done
        ctx.applied(layer.node, "folded", f"{done} neighbouring nodes were folded into its weights")


def _neighbours(node: Node) -> list[Node]:
    """Return what could have been folded had the layer's weight been usable."""
    producer = node.inputs[0].producer if node.inputs and node.inputs[0] is not None else None
    found = [reader for reader, _ in node.output.users]
    found += [producer] if producer is not None else []
    # a MatMul and its Add stay two nodes whatever their weights
    return [n for n in found if not (node.is_op("MatMul") and n.is_op("Add", "Sub"))]


def fold_behind(layer: Layer, items: Sequence[Affine]) -> int | Refusal:
    """Fold nodes that scale and shift a layer's output into its weight and bias.

    A MatMul has no bias; what is left to add stays behind it as one Add.

    Returns:
        How many nodes went away (an Add that stays is not counted), or why none could.
    """
    scale, shift = affine.compose(items)
    keeps_add = layer.bias_at is None and bool(np.any(shift))
    if keeps_add and len(items) == 1 and not items[0].node.is_op("BatchNormalization"):
        return 0
    refusal = layer.bias_refusal()
    if refusal is not None:
        return refusal
    weight = _scaled(layer, layer.form.out_axis, scale)
    if isinstance(weight, Refusal):
        return weight
    dtype = layer.weight.dtype
    if layer.bias_at is None:
        left = rounded(_laid_out(items[0], layer.out_channel, shift), dtype)
    else:
        left = rounded(layer.bias() * layer.as_bias(scale) + layer.as_bias(shift), dtype)
    if left is None:
        return _NON_FINITE
    if weight is not None:
        layer.set_weight(weight)
    if layer.bias_at is not None and (layer.node.input(layer.bias_at) or np.any(left)):
        layer.set_bias(left)
    _take_out(items, _added(layer, items[0], left) if keeps_add else None)
    return len(items)


def fold_in_front(layer: Layer, items: Sequence[Affine]) -> int | Refusal:
    """Fold nodes that scale and shift a layer's data into its weight and bias.

    Where the shift cannot become a bias (zero padding, MatMul), it is divided by the scale
    and one Add stays: `scale * x + shift = scale * (x + shift / scale)`.

    Returns:
        How many nodes went away, or why none could.
    """
    refusal = fused_tail(items[0].data)
    if refusal is not None:
        return refusal
    scale, shift = affine.compose(items)
    held = _shift_refusal(layer) if np.any(shift) else None
    if held is not None and len(items) == 1:
        return held
    weight = _scaled(layer, layer.form.in_axis, scale)
    if isinstance(weight, Refusal):
        return weight
    dtype, left, bias = layer.weight.dtype, None, None
    with np.errstate(all="ignore"):
        if held is not None:
            ratio = np.where(shift == 0.0, 0.0, shift / scale)
            left = rounded(_laid_out(items[0], layer.data_channel, ratio), dtype)
        elif np.any(shift):
            bias = rounded(layer.bias() + layer.as_bias(_pushed(layer, shift)), dtype)
    if left is None and bias is None and np.any(shift):
        return _NON_FINITE
    if weight is not None:
        layer.set_weight(weight)
    if bias is not None:
        layer.set_bias(bias)
    _take_out(items, _added(layer, items[0], left) if left is not None else None)
    return len(items) - (left is not None)


def _shift_refusal(layer: Layer) -> Refusal | None:
    if layer.bias_at is None:
        return Refusal("no-bias", "a MatMul has no bias that could take the constant")
    return layer.constant_input() or layer.bias_refusal()


def _pushed(layer: Layer, shift: np.ndarray) -> np.ndarray:
    alpha = float(layer.node.attr("alpha", 1.0)) if layer.node.is_op("Gemm") else 1.0
    return alpha * layer.form.through(layer.weight.astype(np.float64), shift)


def _scaled(layer: Layer, axis: int, scale: np.ndarray) -> np.ndarray | Refusal | None:
    """Return the weight with one axis scaled, None if the scale is 1."""
    if np.all(scale == 1.0):
        return None
    refusal = layer.weight_refusal()
    if refusal is not None:
        return refusal
    with np.errstate(all="ignore"):
        exact = layer.weight.astype(np.float64) * layer.form.along(axis, scale)
    weight = rounded(exact, layer.weight.dtype)
    return _NON_FINITE if weight is None else weight


def _laid_out(item: Affine, channel: int, values: np.ndarray) -> np.ndarray:
    """Shape values per channel to broadcast against the data of a node."""
    if values.ndim == 0:
        return values
    return values.reshape([-1 if axis == channel else 1 for axis in item.axes])


def _added(layer: Layer, first: Affine, left: np.ndarray) -> Value:
    graph = layer.node.graph
    assert graph is not None
    constant = graph.constant(f"{first.node.label}_shift", left)
    node = graph.add_op("Add", [first.data, constant], name=f"{first.node.label}_add")
    node.output.set_type(first.node.output.dtype, first.node.output.shape)
    return node.output


def _take_out(items: Sequence[Affine], first: Value | None) -> None:
    """Remove nodes; readers of the first one read `first` instead where it is given."""
    for position, item in reversed(list(enumerate(items))):
        new = first if position == 0 and first is not None else item.data
        edit.replace(item.node.output, new)
        if item.node.graph is not None:
            item.node.graph.remove(item.node)


def fused_tail(value: Value) -> Refusal | None:
    """Say which fused kernel of the runtime a following Mul or Add belongs to, if any.

    ONNX Runtime recognizes layer normalization and GELU spelled out in small operators only
    with their last Mul and Add in place; moving those away costs more than it saves.
    """
    node = query.made_by(value, "Div", "Mul")
    if node is None:
        return None
    for operand in node.inputs:
        root = query.made_by(operand, "Sqrt", "Reciprocal", "Div", "Cast")
        if root is not None and (root.is_op("Sqrt") or _reads(root, "Sqrt")):
            return Refusal("layer-norm", "it is the end of a layer normalization")
        added = query.made_by(operand, "Add")
        if added is not None and _reads(added, "Erf", "Tanh"):
            return Refusal("gelu", "it is the end of a GELU")
    return None


def _reads(node: Node, *op_types: str) -> bool:
    return any(query.made_by(v, *op_types) is not None for v in node.inputs)

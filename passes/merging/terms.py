"""What is added up on one input: layers, averages, scales per channel, the input itself."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from ocompress.analysis.linear_layer import Refusal
from ocompress.ir import Node
from passes.merging import affine, forms, pools
from passes.merging.affine import Affine
from passes.merging.chains import between
from passes.merging.forms import POINT, LinearForm
from passes.merging.linear import Linear
from passes.merging.sum_tree import Leaf
from passes.merging.worth import LayerWork


@dataclass(frozen=True)
class Term:
    """A term of a sum that a linear layer on the same input could take over.

    Attributes:
        leaf: Where it is read.
        form: How it walks.
        work: What it takes; None if next to nothing.
        nodes: What makes it, to be removed with it, readers first.
        layer: The layer it is, if it is one.
        weight: Its weight, float64, if it is no layer.
        bias: What it adds to every channel, float64.
    """

    leaf: Leaf
    form: LinearForm
    work: LayerWork | None
    nodes: tuple[Node, ...]
    layer: Linear | None = None
    weight: np.ndarray | None = None
    bias: np.ndarray | None = None

    def numbers(self) -> tuple[np.ndarray, np.ndarray]:
        """Return weight and bias."""
        if self.layer is not None:
            return self.layer.weight(), self.layer.bias
        assert self.weight is not None
        bias = np.zeros(()) if self.bias is None else self.bias
        return self.weight, np.broadcast_to(bias.reshape(-1), (self.form.outputs,))


def kind(layer: Linear) -> Hashable:
    """Equal for layers on one input whose weights can be added up."""
    if layer.is_conv:
        return "Conv"
    if layer.is_product:
        return layer.layer.data_channel, layer.layer.out_channel
    shape = [layer.node.attr(name) for name in ("auto_pad", "output_padding", "output_shape")]
    return layer.form.window.kernel, layer.form.window, str(shape)


def layer_term(leaf: Leaf) -> Term | Refusal:
    """See a layer as a term."""
    layer = leaf.layer
    assert layer is not None
    refusal = between(leaf.value, leaf.add.graph) or layer.layer.weight_refusal()
    if refusal is not None:
        return refusal
    nodes = (layer.node,) if layer.add is None else (layer.add, layer.node)
    work = LayerWork(layer.form, transposed=layer.is_transposed)
    return Term(leaf, layer.form, work, nodes, layer)


def other_term(leaf: Leaf, host: Linear, opset: int) -> Term | Refusal | None:
    """See something else on the input of a layer as a term; None if it is nothing of the kind."""
    layer = host.layer
    if leaf.value.constant is not None:
        return _constant(leaf, host, opset)
    if leaf.layer is not None and leaf.value is not host.data:
        return None
    if not (host.is_conv or host.is_product) or layer.data_channel != layer.out_channel:
        return None
    axes = [POINT] * len(host.form.axes)
    point = forms.per_channel(host.form.inputs, axes)
    if leaf.value is host.data:
        return Term(leaf, point, None, (), weight=_diagonal(np.ones(()), point))
    node = leaf.value.producer
    if node is None or node.graph is not leaf.add.graph or host.data not in node.inputs:
        return None
    if not leaf.is_private:
        return None
    if node.is_op("AveragePool"):
        form = pools.read(node, host.form.inputs) if host.is_conv else None
        if not isinstance(form, LinearForm):
            return form
        return Term(leaf, form, LayerWork(form), (node,), weight=pools.weight(form))
    item = _affine(node, host, opset)
    if item is None:
        return None
    scale = _diagonal(item.scale, point)
    return Term(leaf, point, None, (node,), weight=scale, bias=item.shift)


def _constant(leaf: Leaf, host: Linear, opset: int) -> Term | None:
    """See a constant per channel that is added as a bias, if the layer has a place for one."""
    layer = host.layer
    if layer.bias_at is None and host.add is None:
        return None
    axes = tuple(range(layer.out_rank))
    item = affine.read(leaf.add, 1 - leaf.at, axes, layer.out_channel, host.form.outputs, opset)
    if not isinstance(item, Affine):
        return None
    nothing = np.zeros(host.form.shape)
    return Term(leaf, host.form, None, (), weight=nothing, bias=item.shift)


def _affine(node: Node, host: Linear, opset: int) -> Affine | None:
    layer = host.layer
    data_at = node.inputs.index(host.data)
    axes = tuple(range(layer.data_rank))
    item = affine.read(node, data_at, axes, layer.data_channel, host.form.inputs, opset)
    return item if isinstance(item, Affine) else None


def _diagonal(scale: np.ndarray, form: LinearForm) -> np.ndarray:
    """Return the weight of a scale per channel, [channels, 1, *ones]."""
    return np.array(np.broadcast_to(scale.reshape(-1, *[1] * (len(form.shape) - 1)), form.shape))


def ordered(terms: Sequence[Term]) -> list[Term]:
    """Return layers of large kernels first, what is no layer last."""
    return sorted(terms, key=lambda t: (t.layer is None, -np.prod(t.form.window.kernel, dtype=int)))

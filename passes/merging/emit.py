"""Writing the numbers of a merged layer into one of those it was made from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ocompress.analysis.linear_layer import Refusal
from ocompress.analysis.weight_form import rounded
from ocompress.ir import Node, Value, edit
from passes.merging.forms import LinearForm
from passes.merging.linear import Linear


@dataclass(frozen=True)
class WeightNumbers:
    """What a layer is to become.

    Attributes:
        form: How it walks.
        weight: [outputs, inputs / groups, *kernel], of the layer's type.
        bias: One number per output channel, of the layer's type.
    """

    form: LinearForm
    weight: np.ndarray
    bias: np.ndarray

    @property
    def nbytes(self) -> int:
        """Bytes they take in the file."""
        return self.weight.nbytes + (self.bias.nbytes if np.any(self.bias) else 0)


def numbers(
    form: LinearForm, weight: np.ndarray, bias: np.ndarray, like: np.dtype[np.generic]
) -> WeightNumbers | Refusal:
    """Round the weight in the shape of the form and the bias, (outputs,), from float64 once."""
    stored, added = rounded(weight, like), rounded(bias, like)
    if stored is None or added is None:
        return Refusal("non-finite", "the merged values would overflow or lose precision")
    return WeightNumbers(form, stored, added)


def write(linear: Linear, made: WeightNumbers) -> Value:
    """Let a layer compute with other numbers; what it reads and its operator stay.

    Returns:
        What it makes, which is new where a MatMul without a bias gets one.
    """
    node, layer = linear.node, linear.layer
    edit.set_weight(edit.own_weight(node, layer.weight_at), _stored(linear, made))
    if node.is_op("Gemm"):
        node.set_attr("alpha", None)
        node.set_attr("beta", None)
    elif not linear.is_product:
        _set_window(node, made.form)
    return _set_bias(linear, made.bias)


def _stored(linear: Linear, made: WeightNumbers) -> np.ndarray:
    """Lay a weight out as the operator stores it."""
    if linear.is_conv:
        return made.weight
    if linear.is_product:
        return np.ascontiguousarray(
            made.weight if linear.layer.form.out_axis == 0 else made.weight.T
        )
    groups, kernel = made.form.window.groups, made.form.window.kernel
    split = made.weight.reshape(groups, -1, *made.weight.shape[1:]).swapaxes(1, 2)
    shape = (made.form.inputs, made.form.outputs // groups, *kernel)
    return np.ascontiguousarray(split.reshape(shape))


def _set_window(node: Node, form: LinearForm) -> None:
    window = form.window
    node.set_attr("group", window.groups if window.groups > 1 else None)
    if node.is_op("ConvTranspose"):  # only its channels ever change
        return
    pads = [p[0] for p in window.pads] + [p[1] for p in window.pads]
    node.set_attr("auto_pad", None)
    node.set_attr("pads", pads if any(pads) else None)
    if "kernel_shape" in node.attributes:
        node.set_attr("kernel_shape", list(window.kernel))
    for name, steps in (("strides", window.strides), ("dilations", window.dilations)):
        node.set_attr(name, list(steps) if set(steps) != {1} else None)


def _set_bias(linear: Linear, bias: np.ndarray) -> Value:
    node, layer = linear.node, linear.layer
    laid_out = _along(linear, bias)
    graph = node.graph
    assert graph is not None
    if linear.add is not None:
        at = int(linear.add.input(0) is node.output)
        edit.set_weight(edit.own_weight(linear.add, at), laid_out)
    elif layer.bias_at is None:
        return _append_add(node, laid_out) if np.any(bias) else node.output
    elif node.input(layer.bias_at) is not None:
        edit.set_weight(edit.own_weight(node, layer.bias_at), laid_out)
    elif np.any(bias):
        node.set_input(layer.bias_at, graph.constant(f"{node.label}_bias", laid_out))
    return linear.output


def _along(linear: Linear, bias: np.ndarray) -> np.ndarray:
    last = linear.layer.out_channel == linear.layer.out_rank - 1
    return bias.reshape(-1, 1) if linear.is_product and not last else bias


def _append_add(node: Node, bias: np.ndarray) -> Value:
    """Put an Add behind a product; it takes over the product's readers."""
    graph, made = node.graph, node.output
    assert graph is not None
    add = graph.add_op("Add", [made, graph.constant(f"{node.label}_bias", bias)], name=made.name)
    add.output.set_type(made.dtype, made.shape)
    edit.replace(made, add.output)
    add.set_input(0, made)
    return add.output


def take_out(linear: Linear) -> None:
    """Remove a layer that nobody reads any more."""
    remove(n for n in (linear.add, linear.node) if n is not None)


def remove(nodes: Iterable[Node]) -> None:
    """Remove nodes, readers first, as far as nobody reads them."""
    for node in nodes:
        if node.graph is not None and not node.output.use_count:
            node.graph.remove(node)


def set_channels(value: Value, axis: int, channels: int) -> None:
    """Record another number of channels of a value."""
    if value.shape is not None:
        shape = [channels if at == axis else extent for at, extent in enumerate(value.shape)]
        value.set_type(value.dtype, tuple(shape))

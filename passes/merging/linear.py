"""Linear layers as the merges see them: a form, numbers in float64, and where the bias is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ocompress.analysis.linear_layer import Layer, Refusal
from ocompress.analysis.linear_rows import Site, site_of
from ocompress.ir import Dim, Node, Value, query
from passes.merging import affine
from passes.merging.affine import Affine
from passes.merging.forms import LinearForm, form_of

CONVOLUTIONS = ("Conv", "ConvTranspose")
PRODUCTS = ("Gemm", "MatMul")


@dataclass(frozen=True)
class Linear:
    """A linear layer with a constant weight and a constant bias per channel.

    Attributes:
        site: The operator and how its weight is laid out.
        form: How it walks.
        bias: What is added to every output channel, float64.
        add: The Add behind a MatMul that holds the bias.
    """

    site: Site
    form: LinearForm
    bias: np.ndarray
    add: Node | None = None

    @property
    def layer(self) -> Layer:
        """The operator with its weight and bias."""
        return self.site.layer

    @property
    def node(self) -> Node:
        """The operator."""
        return self.site.node

    @property
    def data(self) -> Value:
        """What it reads."""
        return self.layer.data

    @property
    def output(self) -> Value:
        """What it makes, bias included."""
        return self.node.output if self.add is None else self.add.output

    @property
    def is_conv(self) -> bool:
        """Whether it is a Conv."""
        return self.node.is_op("Conv")

    @property
    def is_product(self) -> bool:
        """Whether it is a product of matrices."""
        return self.node.is_op(*PRODUCTS)

    @property
    def is_transposed(self) -> bool:
        """Whether it is a ConvTranspose."""
        return self.node.is_op("ConvTranspose")

    @property
    def extents(self) -> tuple[Dim, ...]:
        """Spatial extents of what it reads, None where unknown."""
        return spatial(self.data, len(self.form.window.kernel))

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Element type of its weight."""
        return self.layer.weight.dtype

    @property
    def parameters(self) -> list[Value]:
        """The constants it reads: weight and bias."""
        places = [(self.node, self.layer.weight_at)]
        if self.add is not None:
            places += [(self.add, at) for at in (0, 1)]
        elif self.layer.bias_at is not None:
            places.append((self.node, self.layer.bias_at))
        found = [node.input(at) for node, at in places]
        return [v for v in found if v is not None and v.data is not None]

    @property
    def own_bytes(self) -> int:
        """Bytes of the constants that nobody else reads."""
        return sum(v.data.nbytes for v in self.parameters if v.data is not None and v.use_count < 2)

    def weight(self) -> np.ndarray:
        """Return what it multiplies by, float64 [outputs, inputs / groups, *kernel]."""
        matrix = self.site.matrix(self.layer.weight.astype(np.float64))
        alpha = float(self.node.attr("alpha", 1.0)) if self.node.is_op("Gemm") else 1.0
        return alpha * matrix.transpose(0, 2, 1).reshape(self.form.shape)


def spatial(value: Value, rank: int) -> tuple[Dim, ...]:
    """Return the last `rank` extents of a value, None for each if they are unknown."""
    shape = value.shape
    return (None,) * rank if shape is None else shape[len(shape) - rank :]


def read(node: Node, opset: int) -> Linear | Refusal | None:
    """See a node as a linear layer.

    Returns:
        None if it is no linear operator, a refusal if its numbers are not all constants.
    """
    if not node.is_op(*CONVOLUTIONS, *PRODUCTS):
        return None
    site = site_of(node)
    if not isinstance(site, Site):
        return site
    form, add, bias = _form(site), _bias_add(site, opset), np.zeros(())
    if add is not None:
        bias = add.shift
    elif site.layer.bias_at is not None:
        refusal = site.layer.bias_refusal() or _not_per_channel(site.layer)
        if refusal is not None:
            return refusal
        bias = site.layer.bias()
    whole = np.broadcast_to(bias.reshape(-1), (form.outputs,))
    return Linear(site, form, whole, None if add is None else add.node)


def made_by(value: Value, opset: int) -> Linear | Refusal | None:
    """Return the layer that makes a value, the Add of a bias included."""
    node = value.producer
    if node is None:
        return None
    if not node.is_op("Add"):
        layer = read(node, opset) if value is node.output else None
        return None if isinstance(layer, Linear) and layer.output is not value else layer
    for operand in node.inputs:
        product = query.made_by(operand, "MatMul")
        found = None if product is None else read(product, opset)
        if isinstance(found, Linear) and found.add is node:
            return found
    return None


def _form(site: Site) -> LinearForm:
    if site.window is not None:
        return LinearForm(site.layer.form.outputs, site.layer.form.inputs, site.window)
    return form_of(site.outputs, site.inputs, (), 1)


def _bias_add(site: Site, opset: int) -> Affine | None:
    """Return the Add of a constant per channel that alone reads a MatMul."""
    layer = site.layer
    reader = query.only_reader(site.node.output) if site.node.is_op("MatMul") else None
    if reader is None or not reader.is_op("Add") or reader.graph is not site.node.graph:
        return None
    data_at = int(reader.input(0) is not site.node.output)
    axes = tuple(range(layer.out_rank))
    item = affine.read(reader, data_at, axes, layer.out_channel, layer.form.outputs, opset)
    return item if isinstance(item, Affine) else None


def _not_per_channel(layer: Layer) -> Refusal | None:
    """Say why the bias of a Gemm is not one number per output channel."""
    value = None if layer.bias_at is None else layer.node.input(layer.bias_at)
    if value is None or value.data is None or not layer.node.is_op("Gemm"):
        return None
    others = [e for axis, e in enumerate(value.data.shape[::-1]) if axis != 1 - layer.out_channel]
    if all(extent == 1 for extent in others):
        return None
    return Refusal("matrix-bias", f"the bias of {layer.node.label!r} varies over the rows")

"""Linear layers with a constant weight, seen alike whatever their operator."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ocompress.analysis.weight_form import WeightForm
from ocompress.ir import DType, Node, Value, edit

LINEAR = ("Conv", "ConvTranspose", "Gemm", "MatMul", "BatchNormalization")
LARGEST_COPY = 1 << 16
"""Bytes up to which a weight that others read too is copied so that it can be changed."""

_MOST_UNPACKED = 1 << 10
"""Bytes that a weight may gain in the file when it is changed without loss."""


@dataclass(frozen=True)
class Refusal:
    """Why a node is left alone: a stable code and a sentence."""

    code: str
    why: str


@dataclass(frozen=True)
class Layer:
    """A linear operator with a constant weight.

    Attributes:
        node: The operator.
        form: Where its weight keeps the channels.
        weight_at: Input index of the weight.
        data_at: Input index of the data.
        bias_at: Input index of the bias, None if the operator has none.
        out_rank: Rank of its output.
        out_channel: Axis of its output's channels.
        data_rank: Rank of its data.
        data_channel: Axis of its data's channels.
    """

    node: Node
    form: WeightForm
    weight_at: int
    data_at: int
    bias_at: int | None
    out_rank: int
    out_channel: int
    data_rank: int
    data_channel: int

    @property
    def data(self) -> Value:
        """What it is applied to."""
        value = self.node.inputs[self.data_at]
        assert value is not None
        return value

    @property
    def weight(self) -> np.ndarray:
        """Its weight, as stored."""
        value = self.node.inputs[self.weight_at]
        assert value is not None
        assert value.data is not None
        return value.data

    def weight_refusal(self) -> Refusal | None:
        """Say why the weight must not be changed, None if it may."""
        value = self.node.inputs[self.weight_at]
        if value is not None and value.use_count > 1 and self.weight.nbytes > LARGEST_COPY:
            why = f"the weight of {self.node.label!r} is large and used elsewhere too"
            return Refusal("shared-weight", why)
        packed = None if value is None else value.packed
        if packed is not None and self.weight.nbytes - packed.nbytes > _MOST_UNPACKED:
            why = f"the weight of {self.node.label!r} is stored in fewer bytes than as float"
            return Refusal("packed-weight", why)
        return None

    def bias_refusal(self) -> Refusal | None:
        """Say why the bias must not be changed, None if it may."""
        bias = None if self.bias_at is None else self.node.input(self.bias_at)
        if bias is not None and bias.constant is None:
            return Refusal("dynamic-bias", f"the bias of {self.node.label!r} is computed")
        return None

    def bias(self) -> np.ndarray:
        """Return the bias as it is added, float64; 0 where there is none."""
        value = self.node.input(self.bias_at) if self.bias_at is not None else None
        if value is None or value.constant is None:
            return np.zeros(())
        return value.constant.astype(np.float64) * float(self.node.attr("beta", 1.0))

    def as_bias(self, per_output: np.ndarray) -> np.ndarray:
        """Shape values per output channel, (outputs,) or (), to broadcast against `bias()`."""
        if per_output.ndim and self.node.is_op("Gemm") and self.out_channel == 0:
            return per_output.reshape(-1, 1)
        return per_output

    def set_weight(self, array: np.ndarray) -> None:
        """Replace the weight by one of its shape, of a private copy if others read it too."""
        edit.set_weight(edit.own_weight(self.node, self.weight_at), array)

    def set_bias(self, array: np.ndarray) -> None:
        """Replace or add the bias, in a shape that broadcasts to what `bias()` gives."""
        assert self.bias_at is not None
        assert self.node.graph is not None
        if not self.node.is_op("Gemm"):
            array = np.broadcast_to(array, (self.form.outputs,))
        value = self.node.input(self.bias_at)
        if value is not None:
            edit.set_weight(edit.own_weight(self.node, self.bias_at), array)
        else:
            hint = f"{self.node.label}_bias"
            self.node.set_input(self.bias_at, self.node.graph.constant(hint, np.array(array)))
        if self.node.is_op("Gemm"):
            self.node.set_attr("beta", None)

    def constant_input(self) -> Refusal | None:
        """Say why a constant input does not add the same to every output position."""
        if self.node.is_op("Conv"):
            return _padding(self.node, self.form)
        if self.node.is_op("ConvTranspose"):
            plain = set(self.form.shape[2:]) <= {1} and set(self.node.attr("strides", [])) <= {1}
            odd = any(self.node.attr("output_padding", [])) or self.node.attr("output_shape")
            if not plain or odd or _padding(self.node, self.form):
                return Refusal("overlap", "its taps overlap differently near the border")
        if len(self.form.shape) > 2 and self.node.is_op("MatMul"):
            return Refusal("batched-weight", "its weight is a stack of matrices")
        return None


def _padding(node: Node, form: WeightForm) -> Refusal | None:
    auto = node.attr("auto_pad", "NOTSET")
    same = auto.startswith("SAME") and set(form.shape[2:]) != {1}
    if same or (auto == "NOTSET" and any(node.attr("pads", []))):
        return Refusal("padding", "the zeros it pads with would become another constant")
    return None


def read(node: Node) -> Layer | Refusal | None:
    """See a node as a linear layer.

    A BatchNormalization in inference is one, as far as what follows it goes.

    Returns:
        None if it is no linear operator, a refusal if its weight cannot be changed.
    """
    if node.is_op("Conv", "ConvTranspose"):
        return _conv(node)
    if node.is_op("Gemm"):
        return _gemm(node)
    if node.is_op("BatchNormalization"):
        return _normalization(node)
    return _matmul(node) if node.is_op("MatMul") else None


def _float_constant(node: Node, index: int) -> np.ndarray | None:
    value = node.input(index)
    array = None if value is None else value.constant
    return array if array is not None and DType.of(array).is_float else None


_DYNAMIC = Refusal("dynamic-weight", "the weight of the layer is computed or not float")


def _conv(node: Node) -> Layer | Refusal:
    weight = _float_constant(node, 1)
    if weight is None or weight.ndim < 3 or node.input(0) is None:
        return _DYNAMIC
    groups = int(node.attr("group", 1))
    out_axis = 0 if node.op_type == "Conv" else 1
    if groups < 1 or weight.shape[0] % groups:
        return Refusal("odd-weight", "its channels do not divide into its groups")
    form = WeightForm(weight.shape, out_axis, 1 - out_axis, groups)
    return Layer(node, form, 1, 0, 2, weight.ndim, 1, weight.ndim, 1)


def _gemm(node: Node) -> Layer | Refusal:
    right, left = _float_constant(node, 1), _float_constant(node, 0)
    weight = right if right is not None else left
    if weight is None or (left is not None and right is not None) or weight.ndim != 2:
        return _DYNAMIC
    flip_a, flip_b = bool(node.attr("transA", 0)), bool(node.attr("transB", 0))
    if right is not None:
        form = WeightForm(weight.shape, 0 if flip_b else 1, 1 if flip_b else 0)
        return Layer(node, form, 1, 0, 2, 2, 1, 2, 0 if flip_a else 1)
    form = WeightForm(weight.shape, 1 if flip_a else 0, 0 if flip_a else 1)
    return Layer(node, form, 0, 1, 2, 2, 0, 2, 1 if flip_b else 0)


def _normalization(node: Node) -> Layer | Refusal:
    """See gamma as weight and beta as bias; good for what follows, not for what precedes."""
    gamma, rank = _float_constant(node, 1), node.output.rank
    if gamma is None or gamma.ndim != 1 or _float_constant(node, 2) is None:
        return _DYNAMIC
    if rank is None or rank < 2:
        return Refusal("unknown-rank", "the rank of its input is not known")
    return Layer(node, WeightForm(gamma.shape, 0, 0), 1, 0, 2, rank, 1, rank, 1)


def _matmul(node: Node) -> Layer | Refusal:
    right, left = _float_constant(node, 1), _float_constant(node, 0)
    weight = right if right is not None else left
    if weight is None or (left is not None and right is not None):
        return _DYNAMIC
    data = node.input(0 if right is not None else 1)
    if data is None or data.rank is None:
        return Refusal("unknown-rank", "the rank of its input is not known")
    if weight.ndim < 2 or data.rank < 2:
        return Refusal("vector", "one of its operands is a vector")
    last, rank = weight.ndim - 1, max(weight.ndim, data.rank)
    if right is not None:
        form = WeightForm(weight.shape, last, last - 1)
        return Layer(node, form, 1, 0, None, rank, rank - 1, data.rank, data.rank - 1)
    form = WeightForm(weight.shape, last - 1, last)
    return Layer(node, form, 0, 1, None, rank, rank - 2, data.rank, data.rank - 2)

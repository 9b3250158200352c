"""Units: an operator that may become an integer one, with the Relu or Clip it takes in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ocompress.analysis.linear_layer import Refusal
from ocompress.ir import DType, Graph, Node, Value, query
from ocompress.lossy.layer_weights import computed_of_less
from passes.quantization.rules import RULES, KernelRule, Sharing

_MERGED = ("Relu", "LeakyRelu", "Clip", "Elu", "HardSigmoid", "Sigmoid", "Softplus", "Tanh")


@dataclass(frozen=True, eq=False)
class Unit:
    """One operator that ONNX Runtime can run as integers.

    Attributes:
        node: The operator.
        graph: The graph that holds it.
        rule: What it needs.
        weight: Constant that becomes int8, None if it has none.
        tail: Relu or Clip that its output grid stands for, None if there is none.
        ceiling: Upper bound of a Clip tail, None if there is none.
    """

    node: Node
    graph: Graph
    rule: KernelRule
    weight: Value | None = None
    tail: Node | None = None
    ceiling: float | None = None

    @property
    def data(self) -> list[tuple[int, Value]]:
        """Position and value of every computed activation it reads."""
        return [(i, v) for i, v in self.operands if v.constant is None]

    @property
    def operands(self) -> list[tuple[int, Value]]:
        """Position and value of every activation it reads, constants included."""
        places = range(len(self.node.inputs)) if self.rule.data is None else self.rule.data
        if self.rule.weight is not None and self.weight is None:
            places = (0, 1)  # a product of two computed factors
        return [(i, v) for i in places if (v := self.node.input(i)) is not None]

    @property
    def outputs(self) -> list[Value]:
        """Values it makes, after the tail."""
        if self.tail is not None:
            return [self.tail.output]
        return [v for v in self.node.outputs if v is not None]

    @property
    def axis(self) -> int:
        """Axis of the output channels of the weight."""
        if self.node.is_op("Conv"):
            return 0
        return 0 if self.node.is_op("Gemm") and self.node.attr("transB", 0) else 1

    @property
    def groups(self) -> int:
        """Groups of a convolution, 1 for others."""
        return int(self.node.attr("group", 1)) if self.node.is_op("Conv") else 1

    @property
    def depthwise(self) -> bool:
        """Whether it is a convolution with a group per input channel."""
        return (
            self.groups > 1
            and self.weight is not None
            and self.weight.shape is not None
            and (self.weight.shape[1] == 1)
        )

    @property
    def bias(self) -> np.ndarray | None:
        """Its constant bias, None if it has none."""
        value = None if self.rule.bias is None else self.node.input(self.rule.bias)
        return None if value is None else value.constant

    @property
    def orders(self) -> list[tuple[int, ...]]:
        """Orders in which integer kernels may walk through the inputs of an output channel."""
        assert self.weight is not None
        assert self.weight.constant is not None
        inner = self.weight.constant.ndim - 1
        plain = tuple(range(inner))
        return [plain] if inner == 1 else [plain, (*plain[1:], 0)]

    @property
    def output_optional(self) -> bool:
        """Whether its output may stay in float.

        Not where ONNX Runtime would first merge it with what follows into one float operator: a
        Gemm with an activation, a MatMul with what is added to it. Of a MatMul with a constant
        weight, the emitter keeps the two apart where it knows the rank.
        """
        if not self.rule.output_optional or self.tail is not None:
            return False
        value = self.node.output
        if self.node.is_op("Gemm"):
            return not any(n.is_op(*_MERGED) for n, _ in value.users)
        if value.rank == 2 and self.weight is not None:
            return True
        biased = any(n.is_op("Add") and _is_bias(n.input(1 - i)) for n, i in value.users)
        return merging_sum(self.node) is None and (not biased or (value.rank or 0) >= 3)

    @property
    def same_grid(self) -> bool:
        """Whether data input and outputs share one grid."""
        return self.rule.sharing is Sharing.SAME


def match(node: Node, graph: Graph) -> Unit | Refusal:
    """Return the unit around an operator that has a rule, or why there is none."""
    rule = RULES[node.op_type]
    unit = Unit(node, graph, rule, _weight(node, rule))
    refusal = _check_types(unit) or _check(unit)
    if refusal is not None:
        return refusal
    tail, ceiling = _tail(unit)
    return Unit(node, graph, rule, unit.weight, tail, ceiling)


def has_activation(node: Node) -> bool:
    """Whether a node with a rule works on floats, as far as recorded types tell."""
    rule = RULES[node.op_type]
    places = range(len(node.inputs)) if rule.data is None else rule.data
    values = [v for i in places if (v := node.input(i)) is not None]
    return bool(values) and all(v.dtype is None or v.dtype.is_float for v in values)


def _weight(node: Node, rule: KernelRule) -> Value | None:
    if rule.weight is None:
        return None
    value = node.input(rule.weight)
    if value is None or value.constant is None:
        return None
    rank = value.constant.ndim
    return value if rank == 2 or (node.is_op("Conv") and rank > 2) else None


def _check_types(unit: Unit) -> Refusal | None:
    for _, value in unit.operands:
        if value.dtype not in (None, DType.FLOAT):
            code = (
                "not-float32" if value.dtype is not None and value.dtype.is_float else "not-float"
            )
            kind = value.dtype.name.lower() if value.dtype is not None else "?"
            return Refusal(code, f"it computes in {kind}; convert the model to float32 first")
    if not unit.data:
        return Refusal("constant", "all its inputs are constants; canonicalize folds it")
    if not unit.node.outputs or any(v is None for v in unit.node.outputs):
        return Refusal("odd-outputs", "it leaves out an output")
    weight = None if unit.weight is None else unit.weight.constant
    if weight is not None and not np.isfinite(weight).all():
        return Refusal("not-finite", "its weight has NaN or infinite elements")
    why = computed_of_less(unit.weight)
    return Refusal("computed-weight", why) if why else None


def _check(unit: Unit) -> Refusal | None:
    checker = {
        "Conv": _check_conv,
        "Gemm": _check_gemm,
        "MaxPool": _check_pool,
        "Resize": _check_resize,
    }.get(unit.node.op_type)
    return None if checker is None else checker(unit)


def _check_conv(unit: Unit) -> Refusal | None:
    if unit.weight is None:
        return Refusal("dynamic-weight", "its weight is computed, not a constant")
    return _check_bias(unit)


def _check_gemm(unit: Unit) -> Refusal | None:
    node = unit.node
    if unit.weight is None:
        return Refusal("dynamic-weight", "its second factor is computed, not a constant")
    if node.attr("alpha", 1.0) != 1.0 or node.attr("beta", 1.0) != 1.0 or node.attr("transA", 0):
        why = "the integer kernel has no alpha, beta or transposed input"
        return Refusal("scaled-gemm", why)
    return _check_bias(unit)


def _check_bias(unit: Unit) -> Refusal | None:
    bias = unit.node.input(2)
    if bias is None:
        return None
    if bias.constant is None:
        return Refusal("dynamic-bias", "its bias is computed, not a constant")
    assert unit.weight is not None
    assert unit.weight.constant is not None
    channels = unit.weight.constant.shape[unit.axis]
    if bias.constant.shape != (channels,):
        return Refusal("odd-bias", f"its bias has shape {bias.constant.shape}, not ({channels},)")
    if not np.isfinite(bias.constant).all():
        return Refusal("not-finite", f"bias {bias.name!r} has NaN or infinite elements")
    return None


def _check_pool(unit: Unit) -> Refusal | None:
    if len(unit.node.outputs) > 1:
        return Refusal("no-int8-kernel", "the integer kernel gives no indices")
    if len(unit.node.attr("kernel_shape", [])) != 2:
        return Refusal("no-int8-kernel", "the fast integer kernel pools over two axes")
    return None


def _check_resize(unit: Unit) -> Refusal | None:
    if unit.node.attr("mode", "nearest") != "nearest":
        return Refusal("no-int8-kernel", "only nearest-neighbour resizing has an integer kernel")
    roi = unit.node.input(1)
    if roi is not None and (roi.constant is None or roi.constant.size):
        return Refusal("no-int8-kernel", "resizing by regions has no integer kernel")
    return None


def merging_reader(node: Node) -> Node | None:
    """Return the activation that ONNX Runtime would merge with a product, None if there is none."""
    reader = query.only_reader(node.output)
    if reader is None or reader.graph is not node.graph or not reader.is_op("Relu", "Clip"):
        return None
    return reader if reader.input(0) is node.output else None


def merging_sum(node: Node) -> Node | None:
    """Return the Add that ONNX Runtime makes one Gemm of with a MatMul, None if there is none.

    It does so with matrices, whatever is added if that has two axes; a single row becomes the
    bias of the Gemm, which most integer kernels take.
    """
    reader = query.only_reader(node.output)
    if not node.is_op("MatMul") or node.output.rank not in (2, None) or reader is None:
        return None
    if not reader.is_op("Add") or reader.graph is not node.graph:
        return None
    other = next((v for v in reader.inputs if v is not node.output), None)
    return reader if other is not None and other.rank in (2, None) else None


def _is_bias(value: Value | None) -> bool:
    return value is not None and value.constant is not None and value.constant.ndim <= 1


def _tail(unit: Unit) -> tuple[Node | None, float | None]:
    if not unit.rule.absorbs:
        return None, None
    reader = query.only_reader(unit.node.output)
    if reader is None or reader.graph is not unit.graph or not reader.is_op("Relu", "Clip"):
        return None, None
    if reader.is_op("Relu"):
        return reader, None
    if reader.input(0) is not unit.node.output or query.scalar(reader, 1) != 0.0:
        return None, None
    if reader.input(2) is None:
        return reader, None
    ceiling = query.scalar(reader, 2)
    return (reader, ceiling) if ceiling is not None and ceiling > 0 else (None, None)

"""What a whole model takes on a target, by its table of costs, where nothing can be timed."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from ocompress.analysis.macs import macs, resolver
from ocompress.analysis.shapes import with_shapes
from ocompress.io import Feeds
from ocompress.ir import Model, Node, Value
from ocompress.ir.query import made_by
from ocompress.targets import Target

_LARGE, _THIN, _ROWS = 800_000, 4, 8
_PADDED = ("Conv.dense", "Conv.thin")
_DYNAMIC = ("MatMulInteger", "ConvInteger")
_FUSED = ("Relu", "Clip", "Cast", "Mul", "Add")
"""Operators that ONNX Runtime makes part of the integer operator before them."""
_ACTIVATIONS = ("Relu", "Clip", "Sigmoid", "Tanh", "LeakyRelu", "HardSigmoid", "HardSwish")
"""The same for a float convolution or product, whose bias and normalization are part of it, too."""
_MOVES = ("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Slice", "Flatten", "DepthToSpace")

Elements = Callable[[Value | None], float]


def run_ns(
    model: Model, target: Target, sample: Feeds | None, *, as_integers: bool = False
) -> float:
    """Return about how long a run takes on one thread, nanoseconds.

    Only ratios mean something: the table is of one machine, and operators that it does not know
    cost nothing.

    Args:
        model: Any model, in float, with integer operators between QuantizeLinear and
            DequantizeLinear, or with dynamic ones.
        target: Has the costs.
        sample: A feed of one sample, which says how large free extents are.
        as_integers: Whether a float model is priced as if it were quantized, wherever the target
            has integer kernels.
    """
    shapes = {name: array.shape for name, array in (sample or {}).items()}
    return run_ns_of_typed(with_shapes(model, shapes), target, as_integers=as_integers)


def run_ns_of_typed(typed: Model, target: Target, *, as_integers: bool = False) -> float:
    """Return what `run_ns` does of a model whose values have shapes.

    Args:
        typed: The model.
        target: Has the costs.
        as_integers: See `run_ns`.
    """
    resolve = resolver(typed, {})

    def elements(value: Value | None) -> float:
        shape = resolve(value)
        return 0.0 if shape is None else float(math.prod(shape))

    total = 0.0
    for _, node in typed.nodes():
        work = macs(node, resolve) or 0
        total += _node_ns(node, work, elements, target, as_integers=as_integers)
    return total


def _node_ns(
    node: Node, work: int, elements: Elements, target: Target, *, as_integers: bool
) -> float:
    apart = as_integers and node.is_op("Add", "Mul")  # sums of integers are operators of their own
    if _is_folded(node) or (not apart and _joins_before(node)):
        return 0.0
    if node.is_op("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"):
        return _border_ns(node, elements, target)
    integers = _is_integer(node)
    if node.is_op(*_FUSED) and _follows_integers(node):
        return 0.0
    kind = _kind(node, elements)
    cost = target.int8_costs.get(kind) if integers or as_integers else None
    if cost is None and not integers:
        cost = target.float_costs.get(kind)
    if cost is None:
        return 0.0
    size = elements(node.outputs[0] if node.outputs else None)
    rows = _rows(node, size) if kind.startswith("Conv.") else 0.0
    return cost.time_ns(work * _padding(node, kind, target), size, rows=rows)


def _is_folded(node: Node) -> bool:
    """Whether only constants decide what a node makes, so that it is computed while loading.

    A DequantizeLinear is not: ONNX Runtime keeps those for integer operators.
    """
    if node.is_op("DequantizeLinear"):
        return False
    return all(map(_is_constant, node.inputs))


def _joins_before(node: Node) -> bool:
    """Whether a node in float becomes part of the layer before it.

    These are activations, and the sum of a convolution and something else.
    """
    if node.is_op(*_ACTIVATIONS):
        return _ends_layer(node.input(0), "Conv", "Gemm", "Add")
    if not node.is_op("Add", "Mul", "BatchNormalization"):
        return False
    pairs = ((node.input(0), node.input(1)), (node.input(1), node.input(0)))
    sums = node.is_op("Add")
    return any(_ends_layer(x, "Conv") and (sums or _is_constant(other)) for x, other in pairs)


def _is_constant(value: Value | None) -> bool:
    """Whether a value is known once the model is loaded."""
    if value is None or value.constant is not None:
        return True
    return value.producer is not None and _is_folded(value.producer)


def _ends_layer(value: Value | None, *op_types: str) -> bool:
    """Whether a value is made in float by one of some layers and read once, so that both join."""
    maker = None if value is None else value.producer
    if maker is None or value is None or _is_integer(maker) or len(value.users) != 1:
        return False
    if maker.is_op("Add", "Mul"):
        return maker.op_type in op_types and _joins_before(maker)
    return maker.is_op(*op_types)


def _border_ns(node: Node, elements: Elements, target: Target) -> float:
    """Return what a change of types takes: only where one side of it computes in float."""
    name = "enter"
    if node.is_op("DequantizeLinear"):
        name = "leave"
        output = node.outputs[0]
        readers = [] if output is None else [user for user, _ in output.users]
        if readers and all(map(_is_integer, readers)):  # part of the operator
            return 0.0
    elif node.is_op("QuantizeLinear"):
        maker = node.inputs[0].producer if node.inputs and node.inputs[0] is not None else None
        if maker is not None and (_is_integer(maker) or _follows_integers(maker)):
            return 0.0
    cost = target.int8_costs.get(name)
    return 0.0 if cost is None else cost.time_ns(0, elements(node.inputs[0]))


def _is_integer(node: Node) -> bool:
    return node.is_op(*_DYNAMIC) or made_by(node.input(0), "DequantizeLinear") is not None


def _follows_integers(node: Node) -> bool:
    value = node.input(0)
    maker = None if value is None else value.producer
    return maker is not None and _is_integer(maker) and not maker.is_op("QuantizeLinear")


def _kind(node: Node, elements: Elements) -> str:
    op_type = node.op_type.removesuffix("Integer")
    if op_type in _MOVES:
        return "move"
    if op_type not in ("Conv", "Gemm", "MatMul"):
        return op_type
    weight = _weight(node)
    if weight is None:
        return "MatMul.dynamic" if op_type == "MatMul" else op_type
    if op_type == "Conv":
        return _conv_kind(node, weight, elements)
    rows = elements(node.outputs[0]) / max(weight[-1], 1)
    return f"{op_type}.rows" if rows >= _ROWS else f"{op_type}.row"


def _conv_kind(node: Node, weight: tuple[int, ...], elements: Elements) -> str:
    groups = int(node.attr("group", 1))
    if groups > 1 and weight[1] == 1:
        large = elements(node.outputs[0]) > _LARGE
        return "Conv.depthwise-large" if large else "Conv.depthwise"
    if groups > 1:
        return "Conv.grouped"
    if weight[1] <= _THIN:
        return "Conv.thin"
    return "Conv.pointwise" if np.prod(weight[2:]) == 1 else "Conv.dense"


def _weight(node: Node) -> tuple[int, ...] | None:
    """Return the shape of a constant second factor, that of integers behind their scales too."""
    value = node.input(1)
    while value is not None and value.constant is None:
        maker = value.producer
        if maker is None or not (maker.is_op("DequantizeLinear") or _is_folded(maker)):
            return None
        if not maker.is_op("DequantizeLinear", "Mul", "Cast"):
            return _known_shape(value)
        value = maker.input(0)
    return None if value is None or value.constant is None else value.constant.shape


def _known_shape(value: Value) -> tuple[int, ...] | None:
    shape = value.shape
    return None if shape is None else tuple(d if isinstance(d, int) else 0 for d in shape)


def _rows(node: Node, size: float) -> float:
    """Return how many runs of memory an integer convolution copies: places times kernel rows."""
    weight = _weight(node)
    if weight is None or len(weight) < 3 or not weight[0]:
        return 0.0
    return size / weight[0] * float(np.prod(weight[2:] if len(weight) > 4 else weight[2:-1]))


def _padding(node: Node, kind: str, target: Target) -> float:
    weight = _weight(node) if kind in _PADDED else None
    if not weight or not weight[0]:
        return 1.0
    return -(-weight[0] // target.channel_multiple) * target.channel_multiple / weight[0]

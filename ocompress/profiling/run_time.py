"""What a whole model takes on a target, by its table of costs, where nothing can be timed."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np

from ocompress.analysis.macs import macs, resolver
from ocompress.analysis.shapes import with_shapes
from ocompress.io import Feeds
from ocompress.ir import Model, Node, Value
from ocompress.ir.query import made_by
from ocompress.profiling.conv_blocks import ConvBlocks
from ocompress.targets import Arch, OpCost, Target

_LARGE, _THIN, _ROWS = 800_000, 4, 8
_PADDED = ("Conv.dense", "Conv.thin")
_DYNAMIC = ("MatMulInteger", "ConvInteger")
_FUSED = ("Relu", "Clip", "Cast", "Mul", "Add")
"""Operators that ONNX Runtime makes part of the integer operator before them."""
_ACTIVATIONS = ("Relu", "Clip", "Sigmoid", "Tanh", "LeakyRelu", "HardSigmoid", "HardSwish")
"""The same for a float convolution or product, whose bias and normalization are part of it, too."""
_MOVES = ("Reshape", "Transpose", "Squeeze", "Unsqueeze", "Slice", "Flatten", "DepthToSpace")

Elements = Callable[[Value | None], float]
Folded = Collection[int]
_FREE = OpCost(overhead_ns=0.0)


@dataclass(frozen=True)
class NodePrice:
    """What a node takes on a target, and what it would take with fewer channels.

    Attributes:
        cost: Of its kind.
        work: Multiply-accumulates.
        size: Elements that it makes.
        rows: Runs of memory that it copies if it is an integer convolution.
        channels: Channels that it makes where kernels compute them in blocks; 0 elsewhere.
        occupied: Says for how many the kernels have the work.
    """

    cost: OpCost = _FREE
    work: float = 0.0
    size: float = 0.0
    rows: float = 0.0
    channels: int = 0
    occupied: ConvBlocks | None = None

    def ns(self, made: float = 1.0, worked: float = 1.0) -> float:
        """Return the time of a call, nanoseconds.

        Args:
            made: Part of its channels that is left.
            worked: Part of its multiply-accumulates that is left.
        """
        work = self.work * worked
        if self.channels and self.occupied is not None and made > 0:
            left = self.channels * made
            work *= self.occupied.of(left) / left
        return self.cost.time_ns(work, self.size * made, rows=self.rows)


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
    return sum(p.ns() for p in prices_of_typed(typed, target, as_integers=as_integers))


def prices_of(
    model: Model, target: Target, sample: Feeds | None, *, as_integers: bool = False
) -> dict[int, NodePrice]:
    """Return what each node takes, by its id; see `run_ns`."""
    shapes = {name: array.shape for name, array in (sample or {}).items()}
    found = prices_of_typed(with_shapes(model, shapes), target, as_integers=as_integers)
    return {id(node): price for (_, node), price in zip(model.nodes(), found, strict=True)}


def prices_of_typed(typed: Model, target: Target, *, as_integers: bool = False) -> list[NodePrice]:
    """Return what each node of a model takes whose values have shapes, in order of the nodes."""
    resolve = resolver(typed, {})

    def elements(value: Value | None) -> float:
        shape = resolve(value)
        return 0.0 if shape is None else float(math.prod(shape))

    folded = _folded(typed)
    return [
        _price(node, macs(node, resolve) or 0, elements, folded, target, as_integers=as_integers)
        for _, node in typed.nodes()
    ]


def _price(
    node: Node,
    work: int,
    elements: Elements,
    folded: Folded,
    target: Target,
    *,
    as_integers: bool,
) -> NodePrice:
    apart = as_integers and node.is_op("Add", "Mul")  # sums of integers are operators of their own
    if id(node) in folded or (not apart and _joins_before(node, folded)):
        return NodePrice()
    if node.is_op("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"):
        return _border_price(node, elements, target)
    integers = _is_integer(node)
    if node.is_op(*_FUSED) and _follows_integers(node):
        return NodePrice()
    kind = _kind(node, elements, folded)
    cost = target.int8_costs.get(kind) if integers or as_integers else None
    in_float = cost is None
    if cost is None and not integers:
        cost = target.float_costs.get(kind)
    if cost is None:
        return NodePrice()
    size = elements(node.outputs[0] if node.outputs else None)
    rows = _rows(node, size, folded) if kind.startswith("Conv.") else 0.0
    weight = _weight(node, folded) if kind in _PADDED else None
    if not weight or not weight[0]:
        return NodePrice(cost, work, size, rows)
    blocks = ConvBlocks(target.channel_multiple, _row(node, target) if in_float else 0)
    return NodePrice(cost, work, size, rows, weight[0], blocks)


def _folded(typed: Model) -> Folded:
    """Return the nodes of which only constants decide what they make, by id.

    They are computed while loading. A DequantizeLinear is not: ONNX Runtime keeps those for integer
    operators.
    """
    found: set[int] = set()
    for _, node in typed.nodes():
        if not node.is_op("DequantizeLinear") and all(_is_constant(v, found) for v in node.inputs):
            found.add(id(node))
    return found


def _joins_before(node: Node, folded: Folded) -> bool:
    """Whether a node in float becomes part of the layer before it.

    These are activations, and the sum of a convolution and something else.
    """
    if node.is_op(*_ACTIVATIONS):
        return _ends_layer(node.input(0), folded, "Conv", "Gemm", "Add")
    if not node.is_op("Add", "Mul", "BatchNormalization"):
        return False
    pairs = ((node.input(0), node.input(1)), (node.input(1), node.input(0)))
    sums = node.is_op("Add")
    return any(
        _ends_layer(x, folded, "Conv") and (sums or _is_constant(other, folded))
        for x, other in pairs
    )


def _is_constant(value: Value | None, folded: Folded) -> bool:
    """Whether a value is known once the model is loaded."""
    if value is None or value.constant is not None:
        return True
    return value.producer is not None and id(value.producer) in folded


def _ends_layer(value: Value | None, folded: Folded, *op_types: str) -> bool:
    """Whether a value is made in float by one of some layers and read once, so that both join."""
    maker = None if value is None else value.producer
    if maker is None or value is None or _is_integer(maker) or len(value.users) != 1:
        return False
    if maker.is_op("Add", "Mul"):
        return maker.op_type in op_types and _joins_before(maker, folded)
    return maker.is_op(*op_types)


def _border_price(node: Node, elements: Elements, target: Target) -> NodePrice:
    """Return what a change of types takes: only where one side of it computes in float."""
    name = "enter"
    if node.is_op("DequantizeLinear"):
        name = "leave"
        output = node.outputs[0]
        readers = [] if output is None else [user for user, _ in output.users]
        if readers and all(map(_is_integer, readers)):  # part of the operator
            return NodePrice()
    elif node.is_op("QuantizeLinear"):
        maker = node.inputs[0].producer if node.inputs and node.inputs[0] is not None else None
        if maker is not None and (_is_integer(maker) or _follows_integers(maker)):
            return NodePrice()
    cost = target.int8_costs.get(name)
    return NodePrice() if cost is None else NodePrice(cost, size=elements(node.inputs[0]))


def _is_integer(node: Node) -> bool:
    return node.is_op(*_DYNAMIC) or made_by(node.input(0), "DequantizeLinear") is not None


def _follows_integers(node: Node) -> bool:
    value = node.input(0)
    maker = None if value is None else value.producer
    return maker is not None and _is_integer(maker) and not maker.is_op("QuantizeLinear")


def _kind(node: Node, elements: Elements, folded: Folded) -> str:
    op_type = node.op_type.removesuffix("Integer")
    if op_type in _MOVES:
        return "move"
    if op_type not in ("Conv", "Gemm", "MatMul"):
        return op_type
    weight = _weight(node, folded)
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


def _weight(node: Node, folded: Folded) -> tuple[int, ...] | None:
    """Return the shape of a constant second factor, that of integers behind their scales too."""
    value = node.input(1)
    while value is not None and value.constant is None:
        maker = value.producer
        if maker is None or not (maker.is_op("DequantizeLinear") or id(maker) in folded):
            return None
        if not maker.is_op("DequantizeLinear", "Mul", "Cast"):
            return _known_shape(value)
        value = maker.input(0)
    return None if value is None or value.constant is None else value.constant.shape


def _known_shape(value: Value) -> tuple[int, ...] | None:
    shape = value.shape
    return None if shape is None else tuple(d if isinstance(d, int) else 0 for d in shape)


def _rows(node: Node, size: float, folded: Folded) -> float:
    """Return how many runs of memory an integer convolution copies: places times kernel rows."""
    weight = _weight(node, folded)
    if weight is None or len(weight) < 3 or not weight[0]:
        return 0.0
    return size / weight[0] * float(np.prod(weight[2:] if len(weight) > 4 else weight[2:-1]))


def _row(node: Node, target: Target) -> int:
    """Return how many outputs of a channel lie in a row that a blocked kernel goes along.

    There is none in other than two dimensions, nor on Arm, where convolutions are multiplied as
    matrices.
    """
    output = node.outputs[0] if node.outputs else None
    shape = (None if output is None else output.shape) or ()
    last = shape[-1] if len(shape) == 4 and target.arch is not Arch.AARCH64 else 0
    return last if isinstance(last, int) else 0

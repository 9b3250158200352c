"""Which initializers of a model can be trained."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from ocompress.analysis.gradients.concrete import outer_reads
from ocompress.ir import DType, Graph, Model, Node, Value

# Inputs at which constants are weights; elsewhere they say how an operator works.
_WEIGHTS: dict[str, tuple[int, ...]] = {
    "Add": (0, 1),
    "BatchNormalization": (1, 2),
    "Conv": (1, 2),
    "ConvTranspose": (1, 2),
    "Div": (0, 1),
    "Einsum": (0, 1, 2, 3),
    "GRU": (1, 2, 3),
    "Gather": (0,),
    "Gemm": (0, 1, 2),
    "GroupNormalization": (1, 2),
    "InstanceNormalization": (1, 2),
    "LSTM": (1, 2, 3),
    "LayerNormalization": (1, 2),
    "MatMul": (0, 1),
    "Mul": (0, 1),
    "PRelu": (1,),
    "RMSNormalization": (1,),
    "RNN": (1, 2, 3),
    "Sub": (0, 1),
}
_GRIDS = ("DequantizeLinear", "QuantizeLinear")
_CODED = ("INT8", "UINT8", "INT4", "UINT4", "INT2", "UINT2")
_PAIR = 2
_PASSING = ("Cast", "Concat", "Expand", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze")
_SCALED = ("Cast", "Reshape", "Transpose")


class ParameterRole(StrEnum):
    """What an initializer is to a model.

    Attributes:
        WEIGHT: A weight or an offset of a layer, a factor, a table.
        STEP: What the integers of a grid are multiplied with.
        CODES: The integers of a weight on a grid.
    """

    WEIGHT = "weight"
    STEP = "step"
    CODES = "codes"


def candidates(model: Model) -> dict[str, ParameterRole]:
    """Return the initializers that can be trained, with what they are, in the order of the graph.

    They are those of the main graph that are read as one and the same wherever they are read.
    Single numbers count only as steps.
    """
    found = {v.name: _role(v, model.graph) for v in model.graph.initializers.values()}
    return {name: role for name, role in found.items() if role is not None}


def _role(value: Value, graph: Graph) -> ParameterRole | None:
    if value.constant is None or value.dtype is None or value.is_output or not value.users:
        return None
    if value.dtype.name in _CODED:
        return (
            ParameterRole.CODES if all(_reads_codes(n, i, graph) for n, i in value.users) else None
        )
    if not value.dtype.is_float:
        return None
    if all(_reads_step(node, index, graph) for node, index in value.users):
        return ParameterRole.STEP
    is_weight = all(_reads_weight(node, index, value, graph) for node, index in value.users)
    return ParameterRole.WEIGHT if is_weight else None


def _reads_codes(node: Node, index: int, graph: Graph) -> bool:
    if node.graph is not graph or node.domain or index:
        return False
    made = node.outputs[0].dtype if node.outputs[0] is not None else None
    floating = made is not None and made.is_float
    return node.op_type == "DequantizeLinear" or (node.op_type == "Cast" and floating)


def _reads_step(node: Node, index: int, graph: Graph) -> bool:
    if node.graph is not graph or node.domain:
        return False
    if node.op_type in _GRIDS:
        source = node.input(0)  # the step of a bias of 32 bits follows from others
        return index == 1 and (source is None or source.dtype is not DType.INT32)
    return node.op_type == "Mul" and _is_coded(node.input(1 - index))


def _reads_weight(node: Node, index: int, value: Value, graph: Graph) -> bool:
    assert value.data is not None, value.name
    if node.graph is not graph or node.domain:
        return False
    if value.data.size < _PAIR:
        return False
    if node.op_type in _PASSING:
        made = node.output
        return not made.is_output and all(
            _reads_weight(reader, at, value, graph) for reader, at in made.users
        )
    return index in _WEIGHTS.get(node.op_type, ())


def _is_coded(value: Value | None) -> bool:
    """Whether a value is made of a constant of integers."""
    while value is not None and value.producer is not None and value.producer.is_op(*_SCALED):
        value = value.producer.input(0)
    whole = value is not None and value.dtype is not None and value.dtype.name.find("INT") >= 0
    return whole and value is not None and value.constant is not None


def blocked(opaque: Iterable[Node], names: Iterable[str]) -> dict[str, Node]:
    """Return the initializers whose gradient would not be complete, with a node that is to blame.

    They are those from which a way through floats leads to a node without a gradient, and on to an
    output.

    Args:
        opaque: Nodes without a gradient on the way to an output.
        names: The initializers in question.
    """
    wanted, found = set(names), dict[str, Node]()
    for last in opaque:
        if not any(v is not None and _flows(v) for v in last.outputs):
            continue
        pending, seen = [v for v in outer_reads(last) if _flows(v)], set[int]()
        while pending:
            value = pending.pop()
            if id(value) in seen:
                continue
            seen.add(id(value))
            if value.name in wanted and value.producer is None:
                found.setdefault(value.name, last)
            if value.producer is not None:
                pending += [v for v in outer_reads(value.producer) if _flows(v)]
    return found


def _flows(value: Value) -> bool:
    """Whether a gradient could flow through a value; of unknown type it could."""
    return value.dtype is None or value.dtype.is_float or value.dtype.name.find("INT") >= 0

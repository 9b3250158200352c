"""Which rule speaks for which operator."""

from __future__ import annotations

from collections.abc import Callable

from ocompress.analysis.channels import (
    elementwise_rules,
    extent_rules,
    indexing_rules,
    layout_rules,
    linear_rules,
    reshape_rules,
)
from ocompress.analysis.channels.extents import Extents
from ocompress.analysis.channels.relation import Link, Relation, Stop, UnfollowedError
from ocompress.ir import Graph, Node

Rule = Callable[[Relation], None]

_RULES: dict[str, Rule] = {
    **dict.fromkeys(elementwise_rules.UNARY, elementwise_rules.unary),
    **dict.fromkeys(elementwise_rules.BROADCAST, elementwise_rules.broadcast),
    **dict.fromkeys(elementwise_rules.POOLS, elementwise_rules.pool),
    **dict.fromkeys(elementwise_rules.REDUCTIONS, elementwise_rules.reduction),
    **dict.fromkeys(("ArgMax", "ArgMin"), elementwise_rules.arg_reduction),
    **dict.fromkeys(("CumSum", "TopK"), elementwise_rules.along_one),
    **dict.fromkeys(("Softmax", "LogSoftmax", "Hardmax"), elementwise_rules.softmax),
    **dict.fromkeys(
        ("LayerNormalization", "RMSNormalization", "GroupNormalization", "LRN"),
        elementwise_rules.normalization,
    ),
    **dict.fromkeys(
        ("LpNormalization", "MeanVarianceNormalization"), elementwise_rules.normalization
    ),
    "BatchNormalization": elementwise_rules.batch_normalization,
    "InstanceNormalization": elementwise_rules.instance_normalization,
    "CastLike": elementwise_rules.cast_like,
    "Trilu": elementwise_rules.triangle,
    **dict.fromkeys(("Conv", "ConvTranspose"), linear_rules.convolution),
    "Gemm": linear_rules.gemm,
    "MatMul": linear_rules.matmul,
    "Gather": linear_rules.gather,
    "GatherND": indexing_rules.gather_nd,
    "ScatterND": indexing_rules.scatter_nd,
    **dict.fromkeys(("GatherElements", "ScatterElements"), indexing_rules.elements),
    "Transpose": layout_rules.transpose,
    "Squeeze": layout_rules.squeeze,
    "Unsqueeze": layout_rules.unsqueeze,
    "Concat": layout_rules.concat,
    "Split": layout_rules.split,
    "Slice": layout_rules.slice_,
    "Pad": layout_rules.pad,
    **dict.fromkeys(("Expand", "ConstantOfShape"), extent_rules.expand),
    "Tile": extent_rules.tile,
    **dict.fromkeys(("Resize", "Upsample"), extent_rules.resize),
    **dict.fromkeys(("DepthToSpace", "SpaceToDepth"), extent_rules.depth_to_space),
    "Shape": extent_rules.shape,
    **dict.fromkeys(("GridSample", "RoiAlign"), extent_rules.sampling),
    **dict.fromkeys(("Reshape", "Flatten"), reshape_rules.reshape),
}
_RECURRENT = {"GRU", "LSTM", "RNN"}
_QUANTIZED = {
    *("ConvInteger", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulInteger"),
    *("QLinearConv", "QLinearMatMul", "QuantizeLinear"),
}


def relate(node: Node, opset: int, deduced: Extents) -> Relation:
    """Say how the axes of what a node reads and makes hang together.

    Args:
        node: Any operator.
        opset: Version of the standard operators.
        deduced: Extents that are not recorded.

    Returns:
        The relation; where nothing can be said, one that refuses every axis with the reason.
    """
    fallback = Stop("not-followed", f"{node.label!r} ({node.op_type}) mixes the axis", node)
    relation = Relation(node, opset, fallback, deduced=deduced)
    if node.is_op("If"):
        _branches(relation)
        return relation
    rule = _RULES.get(node.op_type) if not node.domain else None
    if rule is None:
        relation.default = _unknown(node)
        return relation
    try:
        rule(relation)
    except UnfollowedError as error:
        return Relation(node, opset, Stop(error.code, error.why, node))
    return relation


def _unknown(node: Node) -> Stop:
    name = f"{node.label!r} ({node.op_type})"
    if node.domain and not (node.op_type in _QUANTIZED and node.domain == "com.microsoft"):
        return Stop("custom-domain", f"{name} is an operator of domain {node.domain!r}", node)
    if node.op_type in _RECURRENT:
        return Stop("recurrent", f"{name} keeps channels as state", node)
    if node.op_type in _QUANTIZED:
        return Stop("quantized", f"{name} is quantized; prune before quantizing", node)
    if node.bodies:
        return Stop("control-flow", f"{name} runs a body with its own inputs", node)
    return Stop("unknown-operator", f"channels are not followed through {name}", node)


def _branches(rel: Relation) -> None:
    """Relate the outputs of an If to what its branches return."""
    bodies = [body for body in rel.node.bodies.values() if isinstance(body, Graph)]
    for at, made in enumerate(rel.node.outputs):
        if made is None or made.shape is None:
            continue
        for axis, extent in enumerate(made.shape):
            ends = [body.outputs[at] for body in bodies]
            if any(e.constant is not None or _extent(e.shape, axis) != extent for e in ends):
                rel.stop(~at, axis, "control-flow", f"branches of {rel.node.label!r} differ")
                continue
            for end in ends:
                rel.join(Link(rel.spot(~at, axis), (end, axis)))


def _extent(shape: object, axis: int) -> object:
    return shape[axis] if isinstance(shape, tuple) and axis < len(shape) else None

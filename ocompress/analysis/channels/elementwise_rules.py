"""Rules of the operators that keep channels apart, and of those that mix them along some axes."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from ocompress.analysis.channels.parameters import axes_of
from ocompress.analysis.channels.relation import OUT, Relation, UnfollowedError

UNARY = (
    *("Abs", "Acos", "Acosh", "Asin", "Asinh", "Atan", "Atanh", "BitwiseNot", "Cast"),
    *("Ceil", "Celu", "Clip", "Cos", "Cosh", "Dropout", "Elu", "Erf", "Exp", "Floor", "Gelu"),
    *("HardSigmoid", "HardSwish", "Identity", "IsInf", "IsNaN", "LeakyRelu", "Log", "Mish"),
    *("Neg", "Not", "Reciprocal", "Relu", "Round", "Selu", "Shrink", "Sigmoid", "Sign", "Sin"),
    *("Sinh", "Softplus", "Softsign", "Sqrt", "Swish", "Tan", "Tanh", "ThresholdedRelu"),
)
BROADCAST = (
    *("Add", "And", "BitShift", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "Div", "Equal"),
    *("Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Mean", "Min", "Mod", "Mul"),
    *("Or", "PRelu", "Pow", "Sub", "Sum", "Where", "Xor"),
)
POOLS = (
    *("AveragePool", "GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool", "LpPool", "MaxPool"),
)
VANISHING = ("ReduceL1", "ReduceL2", "ReduceSum", "ReduceSumSquare")
"""Reductions in which a channel of zeros is as none."""
REDUCTIONS = (
    *VANISHING,
    *("ReduceLogSum", "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd"),
)


def unary(rel: Relation) -> None:
    """Relate an operator that works element by element on its first input."""
    passing(rel, ())


def cast_like(rel: Relation) -> None:
    """Relate the first input; of the second only the type counts."""
    passing(rel, ())
    if rel.has(1):
        rel.known.update(rel.spot(1, axis) for axis in range(rel.rank(1)))


def broadcast(rel: Relation, slots: Sequence[int] = ()) -> None:
    """Relate operands that are broadcast against each other; extents of 1 are tied to nothing."""
    rank = rel.rank(OUT)
    for slot in slots or range(len(rel.node.inputs)):
        if not rel.has(slot):
            continue
        own = rel.rank(slot)
        for axis in range(own):
            if rel.extent(slot, axis) != 1:
                rel.link(slot, axis, OUT, axis + rank - own)


def passing(rel: Relation, mixed: Collection[int]) -> None:
    """Relate all axes of the first input to those of all outputs, except some.

    Args:
        rel: What to fill in.
        mixed: Axes along which the operator mixes, counted from the front.
    """
    for slot in range(len(rel.node.outputs)):
        if rel.has(~slot) and rel.rank(~slot) == rel.rank(0):
            for axis in range(rel.rank(0)):
                if axis not in mixed:
                    rel.link(0, axis, ~slot, axis)


def batch_normalization(rel: Relation) -> None:
    """Relate the channels to the four constants; in inference every other axis passes."""
    if rel.node.attr("training_mode", 0):
        why = f"{rel.node.label!r} normalizes by the statistics of the batch"
        raise UnfollowedError(code="normalized-axis", why=why)
    for axis in range(rel.rank(0)):
        rel.link(0, axis, OUT, axis)
    for slot in range(1, 5):
        rel.link(slot, 0, OUT, 1)


def instance_normalization(rel: Relation) -> None:
    """Relate channels, each normalized by itself, to their scale and bias."""
    rel.otherwise("normalized-axis", f"{rel.node.label!r} normalizes along the axis")
    for axis in (0, 1):
        rel.link(0, axis, OUT, axis)
    rel.link(1, 0, OUT, 1)
    rel.link(2, 0, OUT, 1)


def normalization(rel: Relation) -> None:
    """Relate the axes that a normalization does not go over; the statistics are of the others."""
    why = f"{rel.node.label!r} normalizes over the channels, so that one less changes the others"
    rel.otherwise("normalized-axis", why)
    rank = rel.rank(0)
    match rel.node.op_type:
        case "LayerNormalization" | "RMSNormalization":
            mixed = set(range(int(rel.node.attr("axis", -1)) % rank, rank))
        case "GroupNormalization":
            mixed = set(range(1, rank))
        case "LRN":
            mixed = {1}
        case "LpNormalization":
            mixed = {int(rel.node.attr("axis", -1)) % rank}
        case _:
            mixed = {a % rank for a in rel.node.attr("axes", [0, 2, 3])}
    if rel.node.output.shape is not None:
        passing(rel, mixed)


def softmax(rel: Relation) -> None:
    """Relate the axes that are not summed over; before opset 13 all from the axis on are."""
    rank, old = rel.rank(0), rel.opset < 13
    rel.otherwise("softmax-axis", f"{rel.node.label!r} shares 1 among the channels")
    axis = int(rel.node.attr("axis", 1 if old else -1)) % max(rank, 1)
    passing(rel, range(axis, rank) if old else (axis,))


def pool(rel: Relation) -> None:
    """Relate batch and channels of a pool."""
    rel.otherwise("spatial-axis", f"{rel.node.label!r} mixes neighbours along the axis")
    places = rel.node.outputs[1] if len(rel.node.outputs) > 1 else None
    if places is not None and places.use_count:
        why = f"{rel.node.label!r} makes indices that count over all channels"
        raise UnfollowedError(code="pool-indices", why=why)
    for axis in (0, 1):
        rel.link(0, axis, OUT, axis)


def reduction(rel: Relation) -> None:
    """Relate the axes that stay; along those that go only sums can do with fewer channels."""
    node, rank = rel.node, rel.rank(0)
    axes = axes_of(node)
    if not axes:
        axes = [] if node.attr("noop_with_empty_axes", 0) else list(range(rank))
    gone = {a % rank for a in axes}
    rel.otherwise("reduced-axis", f"{node.label!r} reduces over the channels ({node.op_type})")
    keep, at = bool(node.attr("keepdims", 1)), 0
    for axis in range(rank):
        if axis not in gone:
            rel.link(0, axis, OUT, at)
        elif node.op_type in VANISHING:
            rel.end(0, axis)
        at += keep or axis not in gone


def arg_reduction(rel: Relation) -> None:
    """Relate the axes that are not searched."""
    rank = rel.rank(0)
    gone = int(rel.node.attr("axis", 0)) % max(rank, 1)
    rel.otherwise("reduced-axis", f"{rel.node.label!r} searches among the channels")
    keep = bool(rel.node.attr("keepdims", 1))
    for axis in range(rank):
        if axis != gone:
            rel.link(0, axis, OUT, axis if keep or axis < gone else axis - 1)


def along_one(rel: Relation) -> None:
    """Relate the axes along which CumSum, TopK and Hardmax-like operators do nothing."""
    rank = rel.rank(0)
    axis = rel.node.attr("axis", -1)
    if rel.node.op_type == "CumSum":
        given = rel.node.input(1)
        if given is None or given.constant is None:
            raise UnfollowedError(
                code="computed-axes", why=f"the axis of {rel.node.label!r} is computed"
            )
        axis = int(given.constant.reshape(()))
    rel.otherwise("mixed-axis", f"{rel.node.label!r} mixes the channels ({rel.node.op_type})")
    passing(rel, (int(axis) % max(rank, 1),))


def triangle(rel: Relation) -> None:
    """Relate the axes outside the matrices of a Trilu."""
    rel.otherwise("mixed-axis", f"{rel.node.label!r} cuts by row and column number")
    rank = rel.rank(0)
    passing(rel, (rank - 2, rank - 1))

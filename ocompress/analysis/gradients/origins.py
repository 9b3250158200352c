"""What kind of operator an output comes from, whatever numbers it computes in.

A layer that a file computes in integers makes the same kind of output as one in floats: scores of
classes behind a MatMulInteger and its scales are scores of classes.
"""

from __future__ import annotations

from ocompress.ir import Node, Value, query

_CONTRIB = "com.microsoft"
PASSING = ("Identity", "Cast", "Dropout", "QuantizeLinear", "DequantizeLinear")
LAYOUT = ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose")
FACTORS = ("Add", "Sub", "Mul", "Div")
"""Operators that are passed where all operands but one are constant."""
POOLING = ("GlobalAveragePool", "ReduceMean", "AveragePool", "Resize", "Relu")
LINEAR = ("Gemm", "MatMul", "Conv", "ConvTranspose")
ROUNDING = (*LAYOUT, "Identity", "Cast", "Round", "Floor", "Ceil", "Clip", "QuantizeLinear")
"""Operators between a number and the whole number that a file gives in its place."""
_INTEGER = {
    "MatMulInteger": "MatMul",
    "ConvInteger": "Conv",
    "QLinearMatMul": "MatMul",
    "QLinearConv": "Conv",
}
"""Standard operators on integers, and what they compute."""
_CONTRIBUTED = {
    "DynamicQuantizeMatMul": "MatMul",
    "FusedConv": "Conv",
    "FusedGemm": "Gemm",
    "FusedMatMul": "MatMul",
    "MatMulIntegerToFloat": "MatMul",
    "MatMulNBits": "MatMul",
    "QGemm": "Gemm",
    "QLinearSigmoid": "Sigmoid",
    "QLinearSoftmax": "Softmax",
}
"""Operators of ONNX Runtime's own, and what they compute, of those without an activation."""


def behind(value: Value, passing: tuple[str, ...]) -> Node | None:
    """Return the operator that makes a value, but for operators of some kinds after it.

    Operators of two operands are passed only if one of these is constant, or if they put the scale
    to what a layer made of integers that were quantized at run time. An If is passed whose branches
    all end in the same operator.

    Args:
        value: The value.
        passing: Operators that are passed.
    """
    while (node := value.producer) is not None and _passes(node, passing):
        computed = [v for v in node.inputs if v is not None and not _is_constant(v)]
        if node.op_type in FACTORS and len(computed) != 1:
            computed = [v for v in computed if node.op_type == "Mul" and _is_of_integers(v)]
            if not computed:
                return node
        if not computed:
            return None
        value = computed[0]
    return _behind_all(node, value, passing) if node is not None and node.is_op("If") else node


def _behind_all(node: Node, value: Value, passing: tuple[str, ...]) -> Node:
    """Return what makes a value in all branches of an If, the If where that differs.

    Values that are put together are not followed: pieces of each branch have extents of their own.
    """
    at = next(i for i, made in enumerate(node.outputs) if made is value)
    ends = [behind(body.outputs[at], passing) for body in node.subgraphs()]
    kinds = {operator_of(end) for end in ends}
    first = ends[0] if ends else None
    return first if first is not None and len(kinds) == 1 and kinds != {"Concat"} else node


def amount_behind(value: Value) -> Value | None:
    """Return the float that an output of integers is a rounded amount of, as of a picture in bytes.

    Args:
        value: The formal output, of a typed model.

    Returns:
        None of an output of floats, and of integers that are labels, places or counts.
    """
    if value.dtype is None or value.dtype.is_float:
        return None
    found = value
    while (node := found.producer) is not None and _passes(node, ROUNDING):
        source = node.input(0)
        if source is None:
            return None
        found = source
    known = found.dtype is not None and found.dtype.is_float
    return found if known and found is not value and found.producer is not None else None


def operator_of(node: Node | None) -> str:
    """Return the standard operator that a node computes, its own where that is one; else nothing.

    Args:
        node: The node, or None.
    """
    if node is None:
        return ""
    if not node.domain:
        return _INTEGER.get(node.op_type, node.op_type)
    if node.domain != _CONTRIB or node.attr("activation", None):
        return ""
    return _CONTRIBUTED.get(node.op_type, "")


def _passes(node: Node, passing: tuple[str, ...]) -> bool:
    steps = node.domain == _CONTRIB and node.op_type in ("QuantizeLinear", "DequantizeLinear")
    return node.op_type in passing and (steps or not node.domain)


def _is_of_integers(value: Value) -> bool:
    """Whether a value is a whole number that a layer made of integers, as floats."""
    made = behind(value, ("Cast",))
    return made is not None and made.is_op("MatMulInteger", "ConvInteger")


def _is_constant(value: Value) -> bool:
    return value.constant is not None or query.made_by(value, "Constant") is not None

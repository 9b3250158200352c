"""Operators that ONNX Runtime's optimizer fused are spelled in standard ones again."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

import numpy as np

from ocompress.analysis.linear_layer import Refusal
from ocompress.ir import DType, Facet, Graph, Model, Node, Value
from ocompress.pipeline import Context, Numerics, Outcome, Pass
from passes.canonical.attention_parts import split_attention

_DOMAIN = "com.microsoft"
_FLOATS = (DType.FLOAT, DType.DOUBLE, DType.FLOAT16)
_PLAIN = ("Relu", "Sigmoid", "Tanh")
"""Activations without numbers."""
_SETTINGS = {
    "Conv": {"auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"},
    "Gemm": {"alpha", "beta", "transA", "transB"},
}
"""Attributes that a layer has with an activation and without."""
_WITH_NORM, _WITH_GELU = 17, 20
"""First operator sets that have LayerNormalization, and Gelu."""
_OTHER = Refusal("activation", "its activation has no spelling in standard operators")


class SplitFused(Pass):
    """Spell operators that ONNX Runtime's optimizer fused in standard ones again.

    A file that an optimized session wrote has operators that nothing else knows: no pass sees the
    layers in them. ONNX Runtime fuses the standard ones anew while it loads the model.

    Before: y = com.microsoft.FusedConv(x, W, b, activation="Relu")
    After:  y = Relu(Conv(x, W, b))
    Also FusedGemm, FusedMatMul, BiasGelu, Gelu, FastGelu, QuickGelu and SkipLayerNormalization,
    and the standard Attention, which ONNX Runtime computes in parts, too.
    Leaves alone: other activations (activation), batches that a product turns round
    (transposed-batch), unknown ranks and element types (unknown-rank, unknown-type), means and
    deviations that are read (several-outputs), opsets without the operators (old-opset); of
    Attention, caches (attention-cache), capped scores (attention-form), heads that share keys
    (grouped-heads), extents that are not known (unknown-extent).
    Numerics: rounding only; the fused kernels approximate some functions.
    """

    name = "split-fused"
    internal = True
    numerics = Numerics.ROUNDING
    may_change = Facet.TOPOLOGY | Facet.WEIGHTS | Facet.NAMES
    reads = Facet.TOPOLOGY | Facet.TYPES | Facet.OPSET

    def run(self, model: Model, ctx: Context) -> Outcome:
        """Split in the main graph and in bodies."""
        counts: Counter[str] = Counter()
        for graph, node in list(model.nodes()):
            rule = _RULES.get((node.domain, node.op_type))
            if rule is None:
                continue
            kind, refusal = node.op_type, rule(graph, node, model.opset)
            if refusal is None:
                counts[f"{kind} split"] += 1
            else:
                ctx.skip(node, refusal.code, refusal.why)
        return Outcome(self.may_change, dict(counts)) if counts else Outcome()


def _before(graph: Graph, node: Node, op_type: str, *inputs: Value | None) -> Node:
    """Add an operator that makes what a node reads; both have its type and shape."""
    made = graph.add_op(op_type, inputs, name=f"{node.label}_{op_type.lower()}")
    made.output.set_type(node.output.dtype, node.output.shape)
    return made


def _become(node: Node, op_type: str, *inputs: Value | None, **attrs: float) -> None:
    """Let a node be the last of the standard operators, whose result keeps its name."""
    node.op_type, node.domain = op_type, ""
    for key in list(node.attributes):
        node.set_attr(key, None)
    node.set_inputs(inputs)
    for key, value in attrs.items():
        node.set_attr(key, value)


def _number(graph: Graph, node: Node, number: float) -> Value:
    """Return a constant of the type that a node computes in."""
    dtype = _dtype(node)
    assert dtype is not None
    return graph.constant(f"{node.label}_number", np.asarray(number).astype(dtype.numpy))


def _dtype(node: Node) -> DType | None:
    first = node.input(0)
    found = node.output.dtype or (None if first is None else first.dtype)
    return found if found in _FLOATS else None


def _untyped(node: Node) -> Refusal | None:
    if _dtype(node) is None:
        return Refusal("unknown-type", "the element type of its operands is not known")
    return None


def _layer(graph: Graph, node: Node, op_type: str) -> Node:
    """Add the layer of a fused one; it takes over the name, which options say."""
    made = _before(graph, node, op_type, *node.inputs)
    for key in _SETTINGS[op_type] & node.attributes.keys():
        made.set_attr(key, node.attributes[key])
    made.name, node.name = node.name, made.name
    return made


def _numbers(node: Node) -> list[float] | None:
    """Return the numbers of an activation, None if there is no spelling for it."""
    op_type = str(node.attr("activation", ""))
    given = [float(v) for v in node.attr("activation_params", [])]
    if op_type == "LeakyRelu" and node.op_type == "FusedGemm":
        given = [float(node.attr("activation_alpha", math.nan))]
    wanted = {**dict.fromkeys(_PLAIN, 0), "LeakyRelu": 1, "Clip": 2, "HardSigmoid": 2}
    fits = wanted.get(op_type) == len(given) and all(map(math.isfinite, given))
    return given if fits else None


def _activate(graph: Graph, node: Node, value: Value, given: list[float]) -> None:
    """Let a node apply the activation that was its own."""
    op_type = str(node.attr("activation"))
    if op_type == "Clip":
        bounds = [_number(graph, node, number) for number in given]
        _become(node, op_type, value, *bounds)
        return
    names = {"LeakyRelu": ("alpha",), "HardSigmoid": ("alpha", "beta")}.get(op_type, ())
    _become(node, op_type, value, **dict(zip(names, given, strict=True)))


def _fused_layer(op_type: str) -> Callable[[Graph, Node, int], Refusal | None]:
    def split(graph: Graph, node: Node, _: int) -> Refusal | None:
        given = _numbers(node)
        if given is None:
            return _OTHER
        if (refusal := _untyped(node)) is not None:
            return refusal
        beside = node.input(3) if op_type == "Conv" else None
        node.set_inputs(node.inputs[:3])
        made = _layer(graph, node, op_type).output
        if beside is not None:
            made = _before(graph, node, "Add", made, beside).output
        _activate(graph, node, made, given)
        return None

    return split


def _fused_matmul(graph: Graph, node: Node, _: int) -> Refusal | None:
    """Turn operands round, multiply, and scale."""
    if node.attr("transBatchA", 0) or node.attr("transBatchB", 0):
        return Refusal("transposed-batch", "a batch of its operands is turned round")
    if (refusal := _untyped(node)) is not None:
        return refusal
    operands, alpha = list(node.inputs[:2]), float(node.attr("alpha", 1.0))
    ranks = [None if v is None else v.rank for v in operands]
    turned = [at for at, key in enumerate(("transA", "transB")) if node.attr(key, 0)]
    if any(ranks[at] is None for at in turned):
        return Refusal("unknown-rank", "the rank of an operand that it transposes is not known")
    for at in turned:
        rank, operand = ranks[at], operands[at]
        if rank is not None and rank > 1 and operand is not None:  # a vector has no other way
            order = [*range(rank - 2), rank - 1, rank - 2]
            made = graph.add_op("Transpose", [operand], name=f"{node.label}_turned")
            made.set_attr("perm", order)
            operands[at] = made.output
    if alpha == 1.0:
        _become(node, "MatMul", *operands)
        return None
    made = _before(graph, node, "MatMul", *operands)
    made.name, node.name = node.name, made.name
    _become(node, "Mul", made.output, _number(graph, node, alpha))
    return None


def _gelu(graph: Graph, node: Node, opset: int) -> Refusal | None:
    """Add the bias, if any, and spell what follows."""
    if (refusal := _untyped(node)) is not None:
        return refusal
    kind, value, bias = node.op_type, node.input(0), node.input(1)
    assert value is not None
    if bias is not None:
        value = _before(graph, node, "Add", value, bias).output
    if kind == "QuickGelu":
        scaled = _before(graph, node, "Mul", value, _number(graph, node, node.attr("alpha", 1.702)))
        gate = _before(graph, node, "Sigmoid", scaled.output)
        _become(node, "Mul", value, gate.output)
        return None
    if opset >= _WITH_GELU:
        _become(node, "Gelu", value)
        node.set_attr("approximate", "tanh" if kind == "FastGelu" else "none")
        return None
    half = _number(graph, node, 0.5)
    gate = _tanh(graph, node, value) if kind == "FastGelu" else _erf(graph, node, value)
    gate = _before(graph, node, "Add", gate.output, _number(graph, node, 1.0))
    scaled = _before(graph, node, "Mul", value, gate.output)
    _become(node, "Mul", scaled.output, half)
    return None


def _erf(graph: Graph, node: Node, value: Value) -> Node:
    scaled = _before(graph, node, "Div", value, _number(graph, node, math.sqrt(2)))
    return _before(graph, node, "Erf", scaled.output)


def _tanh(graph: Graph, node: Node, value: Value) -> Node:
    """Spell tanh(sqrt(2 / pi) (x + 0.044715 x^3)) as exporters of it do."""
    cubed = _before(graph, node, "Pow", value, _number(graph, node, 3.0))
    scaled = _before(graph, node, "Mul", cubed.output, _number(graph, node, 0.044715))
    both = _before(graph, node, "Add", value, scaled.output)
    inner = _before(graph, node, "Mul", both.output, _number(graph, node, math.sqrt(2 / math.pi)))
    return _before(graph, node, "Tanh", inner.output)


def _skip_layer_norm(graph: Graph, node: Node, opset: int) -> Refusal | None:
    """Add up what a block made, its shortcut and a bias, and normalize the last axis."""
    if opset < _WITH_NORM:
        return Refusal("old-opset", f"opset {opset} has no LayerNormalization")
    if any(v is not None and v.use_count for v in node.outputs[1:3]):
        return Refusal("several-outputs", "its means or deviations are read")
    first, skip, scale, shift, bias = (node.input(at) for at in range(5))
    epsilon, sums = float(node.attr("epsilon", 1e-12)), node.outputs[3:4]
    total = _before(graph, node, "Add", first, skip)
    if bias is not None:
        total = _before(graph, node, "Add", total.output, bias)
    if sums and sums[0] is not None:
        given, total.outputs = sums[0], [sums[0]]
        given.producer = total
    node.outputs = node.outputs[:1]
    operands = [total.output, scale] if shift is None else [total.output, scale, shift]
    _become(node, "LayerNormalization", *operands, epsilon=epsilon)
    node.set_attr("axis", -1)
    return None


_RULES: dict[tuple[str, str], Callable[[Graph, Node, int], Refusal | None]] = {
    (_DOMAIN, "FusedConv"): _fused_layer("Conv"),
    (_DOMAIN, "FusedGemm"): _fused_layer("Gemm"),
    (_DOMAIN, "FusedMatMul"): _fused_matmul,
    **{(_DOMAIN, name): _gelu for name in ("BiasGelu", "FastGelu", "Gelu", "QuickGelu")},
    (_DOMAIN, "SkipLayerNormalization"): _skip_layer_norm,
    ("", "Attention"): split_attention,
}

"""Shapes of what operators make that inference by the onnx package lacks.

For inference such an operator is taken for a standard one whose first result has the same type and
shape; other results stay unknown. Models that ONNX Runtime's tools fused are full of its own ones,
and those of scikit-learn begin with operators of `ai.onnx.ml` that scale their inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from onnx import AttributeProto, GraphProto, NodeProto, TensorProto

from ocompress.ir.strings import decoded, extend

_DOMAIN = "com.microsoft"
_AS_ITS_INPUT = (
    *("BiasAdd", "BiasGelu", "BiasSoftmax", "FastGelu", "Gelu", "QuickGelu"),
    *("GroupNorm", "RotaryEmbedding", "SkipLayerNormalization", "SkipSimplifiedLayerNormalization"),
    *("QLinearLeakyRelu", "QLinearSigmoid", "QLinearSoftmax"),
)
_LEARNED = "ai.onnx.ml"
_MATRIX, _THREE = 2, 3
_TURNED = ("transA", "transB", "transBatchA", "transBatchB")

Extents = Mapping[str, tuple[int, ...]]
"""Extents of initializers by name."""
_Rule = Callable[[NodeProto, Extents], NodeProto | None]


def stand_ins(graphs: Iterable[GraphProto]) -> None:
    """Put standard operators in place of those whose shapes follow; one for one.

    Args:
        graphs: A model's graph and its bodies, changed.
    """
    graphs = list(graphs)
    known = {decoded(t.name): tuple(t.dims) for g in graphs for t in g.initializer}
    for graph in graphs:
        for node in graph.node:
            rule = _RULES.get(node.domain, {}).get(node.op_type)
            made = None if rule is None or not node.output else rule(node, known)
            if made is not None:
                extend(made, "output", [decoded(node.output[0])])
                node.CopyFrom(made)


def _standard(op_type: str, inputs: Iterable[str]) -> NodeProto:
    made = NodeProto(op_type=op_type)
    extend(made, "input", inputs)
    return made


def _first(node: NodeProto, _: Extents) -> NodeProto | None:
    return _standard("Identity", [decoded(node.input[0])])


def _floats(node: NodeProto, _: Extents) -> NodeProto | None:
    made = _standard("Cast", [decoded(node.input[0])])
    made.attribute.add(name="to", type=AttributeProto.INT, i=TensorProto.FLOAT)
    return made


def _queries(node: NodeProto, known: Extents) -> NodeProto | None:
    """Return what has the shape of the queries, where keys and values do not come with them."""
    apart = len(node.input) >= _THREE and all(node.input[1:_THREE])
    return _first(node, known) if apart else None


def _attention(node: NodeProto, known: Extents) -> NodeProto | None:
    """Return what has the shape of the input, where values are as wide as that."""
    weight = known.get(decoded(node.input[1]), ()) if len(node.input) > 1 else ()
    sized = any(a.name == "qkv_hidden_sizes" for a in node.attribute)
    if sized or len(weight) != _MATRIX or weight[1] != _THREE * weight[0]:
        return None
    return _first(node, known)


def _heads(node: NodeProto, _: Extents) -> NodeProto | None:
    """Return a sum over the keys: as many rows as queries, as wide as values."""
    names = [decoded(name) for name in node.input[:_THREE]]
    if len(names) < _THREE or not all(names):
        return None
    made = _standard("Einsum", [names[0], names[2]])
    made.attribute.add(name="equation", type=AttributeProto.STRING, s=b"bqh,bkv->bqv")
    return made


def _embedding(node: NodeProto, _: Extents) -> NodeProto | None:
    if len(node.input) < _THREE:
        return None
    return _standard("Gather", [decoded(node.input[2]), decoded(node.input[0])])


def _product(node: NodeProto, _: Extents) -> NodeProto | None:
    if any(a.name in _TURNED and a.i for a in node.attribute):
        return None
    return _standard("MatMul", map(decoded, node.input[:2]))


def _packed(node: NodeProto, known: Extents) -> NodeProto | None:
    """Return a product with a matrix that is held as [outputs, blocks, bytes of a block]."""
    names = [decoded(name) for name in node.input[:_MATRIX]]
    if len(names) < _MATRIX or len(known.get(names[1], ())) != _THREE:
        return None
    made = _standard("Einsum", names)
    made.attribute.add(name="equation", type=AttributeProto.STRING, s=b"...k,nbh->...n")
    return made


def _fused(op_type: str) -> _Rule:
    """Return the rule of a standard operator with others behind it that keep its shape."""

    def rule(node: NodeProto, _: Extents) -> NodeProto:
        made = _standard(op_type, map(decoded, node.input[:_THREE]))
        made.attribute.extend(a for a in node.attribute if not a.name.startswith("activation"))
        return made

    return rule


def _one_sided(node: NodeProto, _: Extents) -> NodeProto | None:
    """Say what an STFT does by default: inference takes it for the opposite."""
    if any(a.name == "onesided" for a in node.attribute):
        return None
    made = NodeProto()
    made.CopyFrom(node)
    made.ClearField("output")
    made.attribute.add(name="onesided", type=AttributeProto.INT, i=1)
    return made


_RULES: Mapping[str, Mapping[str, _Rule]] = {
    "": {"STFT": _one_sided},
    _DOMAIN: {
        **dict.fromkeys(_AS_ITS_INPUT, _first),
        "Attention": _attention,
        "DynamicQuantizeMatMul": _product,
        "EmbedLayerNormalization": _embedding,
        "FusedConv": _fused("Conv"),
        "FusedGemm": _fused("Gemm"),
        "FusedMatMul": _product,
        "GroupQueryAttention": _queries,
        "MatMulNBits": _packed,
        "MultiHeadAttention": _heads,
    },
    _LEARNED: {
        "Binarizer": _first,
        "Imputer": _first,
        "Normalizer": _floats,
        "Scaler": _floats,
    },
}

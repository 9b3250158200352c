"""Inference with values propagated, without lists so long that they fill memory.

While it propagates values, the onnx package makes an entry for each element of a tensor with one
axis, whether the element is known or not: a model of a few bytes takes all memory, and the process
is deaf to signals meanwhile. Only lists of extents and of indices of axes matter, and they are
short. So extents are inferred without values first, and what is a long list, or may become one, is
held back from its readers: they read a stand-in, an input of the same type with a free extent.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import onnx
from onnx import AttributeProto, GraphProto, ModelProto, TypeProto

from ocompress.ir.strings import decoded, extend, write

LONGEST_LIST = 1 << 16
"""Elements of a tensor with one axis above which no values are propagated from it."""
GENERATED = "unk__"
"""What names of symbols start with that inference invents; they mean `unknown`."""
_STAND_IN = "ocompress/held-back/"
_ROUNDS = 8
EXPAND_COUNTS = 13
"""Before this opset, inference of Expand makes entries even where no values are propagated,
the one of ONNX Runtime, too."""


def inferred(proto: ModelProto) -> ModelProto:
    """Infer types and return them with the model, in which nodes may read stand-ins.

    Raises:
        InferenceError: Or RuntimeError, ValueError and MemoryError, as onnx raises them.
    """
    uncounted = _lists_of_old_expands(proto)
    result = onnx.shape_inference.infer_shapes(_with_stand_ins(proto, uncounted))
    if proto.functions:  # lists inside are not seen from here; they are inlined before long
        return result
    held = dict(_doubtful(result.graph))
    for _ in range(_ROUNDS):  # each may tell extents that others follow from
        result = onnx.shape_inference.infer_shapes(_with_stand_ins(result, held), data_prop=True)
        before, held = held, {n: t for n, t in _doubtful(result.graph) if n in held}
        if len(before) == len(held):
            break
    if not any(_is_long(kind, unknown=False) for kind in held.values()):
        return result
    kept = {name: kind for name, kind in held.items() if name in uncounted}
    return onnx.shape_inference.infer_shapes(_with_stand_ins(result, kept))


def _lists_of_old_expands(proto: ModelProto) -> dict[str, TypeProto]:
    if any(o.version >= EXPAND_COUNTS for o in proto.opset_import if o.domain == ""):
        return {}
    kind = TypeProto()
    kind.tensor_type.elem_type = onnx.TensorProto.INT64
    nodes = [n for graph in graphs_of(proto.graph) for n in graph.node]
    return {decoded(n.input[1]): kind for n in nodes if n.op_type == "Expand" and len(n.input) > 1}


def graphs_of(graph: GraphProto) -> Iterator[GraphProto]:
    """Yield a graph and the bodies inside."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS):
                for body in (attribute.g, *attribute.graphs):
                    yield from graphs_of(body)


def _doubtful(graph: GraphProto) -> Iterator[tuple[str, TypeProto]]:
    """Yield names and types of what is a long list or may turn out to be one."""
    for inner in graphs_of(graph):
        for given in inner.input:
            name = decoded(given.name)
            if not name.startswith(_STAND_IN) and _is_long(given.type, unknown=False):
                yield name, given.type
        for tensor in inner.initializer:
            if len(tensor.dims) == 1 and tensor.dims[0] > LONGEST_LIST:
                kind = onnx.helper.make_tensor_type_proto(tensor.data_type, [None])
                yield decoded(tensor.name), kind
        for info in (*inner.value_info, *inner.output):
            if _is_long(info.type, unknown=True):
                yield decoded(info.name), info.type


def _is_long(kind: TypeProto, *, unknown: bool) -> bool:
    """Whether a type is that of a long list; `unknown` is the answer where it does not say."""
    if kind.WhichOneof("value") != "tensor_type":
        return False
    if not kind.tensor_type.HasField("shape"):
        return unknown
    dims = kind.tensor_type.shape.dim
    if len(dims) != 1:
        return False
    if not dims[0].HasField("dim_value"):
        return unknown
    return not 0 <= dims[0].dim_value <= LONGEST_LIST


def _with_stand_ins(proto: ModelProto, held: Mapping[str, TypeProto]) -> ModelProto:
    """Return a copy in which nodes read stand-ins of what is held back, and of nothing else.

    What is known of types is kept, so that readers of stand-ins have the extents found before.
    """
    copy = ModelProto()
    copy.CopyFrom(proto)
    kept = [g for g in copy.graph.input if not decoded(g.name).startswith(_STAND_IN)]
    del copy.graph.input[:]
    copy.graph.input.extend(kept)
    for graph in graphs_of(copy.graph):
        for info in (*graph.value_info, *graph.output):
            _forget_invented(info.type)
        for node in graph.node:
            own = [decoded(name).removeprefix(_STAND_IN) for name in node.input]
            del node.input[:]
            extend(node, "input", (_STAND_IN + n if n in held else n for n in own))
    for name, kind in held.items():
        info = copy.graph.input.add(type=kind)
        write(info, "name", _STAND_IN + name)
        _forget_invented(info.type)
        if _is_long(info.type, unknown=False):
            info.type.tensor_type.shape.dim[0].ClearField("dim_value")
    return copy


def _forget_invented(kind: TypeProto) -> None:
    """Drop symbols that inference invented, which would stand in the way of better ones."""
    if kind.WhichOneof("value") != "tensor_type":
        return
    for dim in kind.tensor_type.shape.dim:
        if decoded(dim.dim_param).startswith(GENERATED):
            dim.ClearField("dim_param")

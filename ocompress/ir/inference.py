"""Inference of element types and shapes, and how its findings meet what the file recorded."""

from __future__ import annotations

from collections.abc import Iterator

import onnx
from onnx import AttributeProto, GraphProto, TypeProto

from ocompress.ir.contrib import stand_ins
from ocompress.ir.exporter import to_proto
from ocompress.ir.graph import Graph
from ocompress.ir.model import Model
from ocompress.ir.propagation import EXPAND_COUNTS, GENERATED, LONGEST_LIST, graphs_of, inferred
from ocompress.ir.strings import decoded
from ocompress.ir.stubs import external_stub
from ocompress.ir.value import Dim, Shape, Value, write_shape

__all__ = ["EXPAND_COUNTS", "LONGEST_LIST", "infer_types"]


_OVERWRITTEN = {("ai.onnx.ml", "Normalizer")}
"""Operators that ONNX Runtime computes in place where a file says how large their outputs are, and
then wrongly: they read again what they have written."""


def infer_types(model: Model) -> bool:
    """Infer and record element types and shapes in the main graph and in bodies.

    Inference starts afresh, from inputs and constants. What it finds replaces what was
    recorded; extents and types it cannot find are kept, unless a recorded number stands where
    inference finds a symbol: then the recorded shapes are stale (somebody made an input dynamic
    and left the rest) and none is believed. Formal outputs keep their declared type if it has a
    rank.

    Returns:
        Whether any recorded type changed.
    """
    # of sparse tensors inference knows no shape that layers would take
    proto = to_proto(model, external_stub, packed=False, sparse=False)
    _forget(proto.graph)
    stand_ins(graphs_of(proto.graph))
    try:
        found = inferred(proto)
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError, MemoryError):
        # custom operators with odd types, extents beyond all memory: what is recorded stays
        return False
    pairs = [(v, p) for v, p in _pairs(model.graph, found.graph) if _says_something(p)]
    stale = any(_contradicts(value, proto) for value, proto in pairs)
    changes = [_record(value, proto, keep=not stale) for value, proto in pairs]
    return any(changes)


def _forget(graph: GraphProto) -> None:
    del graph.value_info[:]
    for given in graph.input:
        for dim in given.type.tensor_type.shape.dim:
            # what is negative would be taken for a number and multiplied
            if dim.dim_value < 0:
                dim.ClearField("dim_value")
    for output in graph.output:
        if output.type.HasField("tensor_type"):  # exporters declare stale shapes here, too
            output.type.tensor_type.ClearField("shape")
    for node in graph.node:
        for attribute in node.attribute:
            for body in (attribute.g, *attribute.graphs):
                if body.node:
                    _forget(body)


def _pairs(graph: Graph, proto: GraphProto) -> Iterator[tuple[Value, TypeProto]]:
    infos = (*proto.value_info, *proto.output)
    types = {decoded(info.name): info.type for info in infos}
    for node, node_proto in zip(graph.nodes, proto.node, strict=True):
        for value in () if (node.domain, node.op_type) in _OVERWRITTEN else node.outputs:
            if value is not None and value.name in types and not _declared(value):
                yield value, types[value.name]
        if not node.bodies:
            continue
        bodies = {
            decoded(a.name): [a.g] if a.type == AttributeProto.GRAPH else list(a.graphs)
            for a in node_proto.attribute
            if a.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS)
        }
        for name, body in node.bodies.items():
            inner = body if isinstance(body, list) else [body]
            for mine, theirs in zip(inner, bodies[name], strict=True):
                yield from _pairs(mine, theirs)


def _declared(value: Value) -> bool:
    if not value.is_output or value.type_proto is None:
        return False
    kind = value.type_proto.WhichOneof("value")
    # one that declares no rank says nothing that could be kept
    return kind is not None and (kind != "tensor_type" or None not in (value.dtype, value.shape))


def _says_something(proto: TypeProto) -> bool:
    return proto.WhichOneof("value") is not None


def _shape(proto: TypeProto) -> Shape | None:
    if proto.WhichOneof("value") != "tensor_type" or not proto.tensor_type.HasField("shape"):
        return None
    return tuple(_dim(d) for d in proto.tensor_type.shape.dim)


def _dim(dim: onnx.TensorShapeProto.Dimension) -> Dim:
    if dim.HasField("dim_value"):
        return int(dim.dim_value) if dim.dim_value >= 0 else None
    name = decoded(dim.dim_param)
    return None if not name or name.startswith(GENERATED) else name


def _contradicts(value: Value, proto: TypeProto) -> bool:
    found, recorded = _shape(proto), value.shape
    if found is None or recorded is None or len(found) != len(recorded):
        return False
    return any(
        isinstance(f, str) and isinstance(r, int) for f, r in zip(found, recorded, strict=True)
    )


def _record(value: Value, proto: TypeProto, *, keep: bool) -> bool:
    before = value.type_proto
    fresh = TypeProto()
    fresh.CopyFrom(proto)
    shape = _shape(fresh)
    if fresh.WhichOneof("value") == "tensor_type":
        same_type = before is not None and value.dtype == (fresh.tensor_type.elem_type or None)
        if keep and same_type:
            shape = _merge(shape, value.shape)
        write_shape(fresh, shape)
    if before is not None and before == fresh:
        return False
    value.set_type_proto(fresh)
    return True


def _merge(found: Shape | None, recorded: Shape | None) -> Shape | None:
    if found is None or recorded is None or len(found) != len(recorded):
        return recorded if found is None else found
    return tuple(r if f is None else f for f, r in zip(found, recorded, strict=True))

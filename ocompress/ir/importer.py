"""From ONNX's protobuf form to the compiler's graph form."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto

from ocompress.errors import InvalidModelError
from ocompress.ir.graph import Graph
from ocompress.ir.model import Model
from ocompress.ir.names import Names
from ocompress.ir.node import Node
from ocompress.ir.value import Value

Reader = Callable[[TensorProto], np.ndarray]
"""Turns a stored tensor into an array; `io` passes one that maps external data."""

_SHELL_FIELDS = (
    "ir_version",
    "producer_name",
    "producer_version",
    "domain",
    "model_version",
    "doc_string",
    "metadata_props",
    "training_info",
    "configuration",
)


def from_proto(proto: ModelProto, read: Reader = onnx.numpy_helper.to_array) -> Model:
    """Build a model.

    Args:
        proto: The parsed file; not needed afterwards.
        read: Turns a stored tensor into an array.

    Raises:
        InvalidModelError: If a name is used but never defined, or defined twice.
    """
    graph = _graph(proto.graph, Names(), {}, read)
    opsets: dict[str, int] = {}
    for entry in proto.opset_import:
        domain = "" if entry.domain == "ai.onnx" else entry.domain
        opsets[domain] = max(entry.version, opsets.get(domain, 0))
    model = Model(graph, opsets)
    model.functions = list(proto.functions)
    for field in _SHELL_FIELDS:
        if field in proto.DESCRIPTOR.fields_by_name:
            _copy_field(proto, model.shell, field)
    return model


def _copy_field(source: ModelProto, target: ModelProto, field: str) -> None:
    value = getattr(source, field)
    if source.DESCRIPTOR.fields_by_name[field].is_repeated:
        getattr(target, field).extend(value)
    elif source.HasField(field):
        setattr(target, field, value)


def _graph(proto: GraphProto, names: Names, outer: dict[str, Value], read: Reader) -> Graph:
    graph = Graph(proto.name, names)
    graph.doc = proto.doc_string
    graph.metadata = {p.key: p.value for p in proto.metadata_props}
    graph.annotations = list(proto.quantization_annotation)
    scope: dict[str, Value] = {}
    _inputs(graph, proto, scope)
    _initializers(graph, proto, scope, read)
    _declare_outputs(proto, scope)
    for name in scope:
        names.claim(name)
    for info in (*proto.value_info, *proto.output):
        value = scope.get(info.name)
        if value is not None and value.data is None and not value.is_input:
            value.set_type_proto(info.type if info.HasField("type") else None)
            value.doc = info.doc_string
            value.metadata = {p.key: p.value for p in info.metadata_props}
    visible = {**outer, **scope}
    for node in proto.node:
        graph.add(_node(node, names, scope, visible, read))
    graph.set_outputs(
        _lookup(visible, o.name, f"output of graph {proto.name!r}") for o in proto.output
    )
    return graph


def _inputs(graph: Graph, proto: GraphProto, scope: dict[str, Value]) -> None:
    for info in proto.input:
        value = Value(info.name)
        value.is_input = True
        value.set_type_proto(info.type if info.HasField("type") else None)
        value.doc = info.doc_string
        value.metadata = {p.key: p.value for p in info.metadata_props}
        if scope.setdefault(info.name, value) is not value:
            msg = f"the graph has two inputs named {info.name!r}"
            raise InvalidModelError(msg)
        graph.inputs.append(value)


def _initializers(graph: Graph, proto: GraphProto, scope: dict[str, Value], read: Reader) -> None:
    for tensor in proto.initializer:
        _initializer(graph, scope, tensor.name, _array(tensor, read)).doc = tensor.doc_string
    for sparse in proto.sparse_initializer:
        name = sparse.values.name
        value = _initializer(graph, scope, name, densify(sparse, read))
        value.set_sparse(sparse)


def _initializer(graph: Graph, scope: dict[str, Value], name: str, array: np.ndarray) -> Value:
    value = scope.get(name)
    if value is None:
        value = scope[name] = Value(name)
        value.data = array
    else:
        if value.data is not None:
            msg = f"the graph has two initializers named {name!r}"
            raise InvalidModelError(msg)
        declared = value.type_proto
        value.data = array
        value.set_type_proto(declared)
    graph.initializers[name] = value
    return value


def _array(tensor: TensorProto, read: Reader) -> np.ndarray:
    try:
        return read(tensor)
    except (ValueError, TypeError, KeyError) as error:
        msg = f"initializer {tensor.name!r} cannot be read: {error}"
        raise InvalidModelError(msg) from error


def densify(
    sparse: onnx.SparseTensorProto, read: Reader = onnx.numpy_helper.to_array
) -> np.ndarray:
    """Return the dense array of a sparse tensor."""
    values, indices = _array(sparse.values, read), _array(sparse.indices, read)
    dense = np.zeros(tuple(sparse.dims), values.dtype)
    if indices.ndim == 1:
        dense.reshape(-1)[indices] = values
    else:
        dense[tuple(indices.T)] = values
    return dense


def _declare_outputs(proto: GraphProto, scope: dict[str, Value]) -> None:
    for node in proto.node:
        for name in node.output:
            if name and scope.setdefault(name, value := Value(name)) is not value:
                msg = f"value {name!r} is made twice, once by node {node.name or node.op_type!r}"
                raise InvalidModelError(msg)


def _node(
    proto: NodeProto,
    names: Names,
    scope: dict[str, Value],
    visible: dict[str, Value],
    read: Reader,
) -> Node:
    where = f"input of node {proto.name or proto.op_type!r}"
    node = Node(
        proto.op_type,
        [_lookup(visible, name, where) if name else None for name in proto.input],
        [scope[name] if name else None for name in proto.output],
        domain=proto.domain,
        name=proto.name,
    )
    node.overload, node.doc = proto.overload, proto.doc_string
    node.metadata = {p.key: p.value for p in proto.metadata_props}
    for attribute in proto.attribute:
        if attribute.type == AttributeProto.GRAPH:
            node.bodies[attribute.name] = _graph(attribute.g, names, visible, read)
        elif attribute.type == AttributeProto.GRAPHS:
            node.bodies[attribute.name] = [
                _graph(g, names, visible, read) for g in attribute.graphs
            ]
        else:
            node.attributes[attribute.name] = attribute
    return node


def _lookup(visible: dict[str, Value], name: str, where: str) -> Value:
    value = visible.get(name)
    if value is None:
        msg = f"{where} reads {name!r}, which nothing defines"
        raise InvalidModelError(msg)
    return value

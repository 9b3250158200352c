"""From ONNX's protobuf form to the compiler's graph form."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Iterable, Iterator
from math import prod

import numpy as np
import onnx
from onnx import (
    AttributeProto,
    GraphProto,
    ModelProto,
    NodeProto,
    TensorAnnotation,
    TensorProto,
    ValueInfoProto,
)

from ocompress.errors import InvalidModelError
from ocompress.ir.graph import Graph
from ocompress.ir.model import Model
from ocompress.ir.names import Names
from ocompress.ir.node import Node
from ocompress.ir.strings import decoded, write
from ocompress.ir.tensors import read_tensor
from ocompress.ir.value import Value

Reader = Callable[[TensorProto], np.ndarray]
"""Turns a stored tensor into an array; `io` passes one that maps external data."""

LARGEST_DENSE = 1 << 31
"""Bytes that a sparse tensor may take as a dense array; as much as a file may hold."""
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


def from_proto(proto: ModelProto, read: Reader = read_tensor) -> Model:
    """Build a model.

    Args:
        proto: The parsed file; not needed afterwards.
        read: Turns a stored tensor into an array.

    Raises:
        InvalidModelError: If a name is used but never defined, or defined twice, or a constant has
            none.
    """
    graph = _graph(proto.graph, _Scope(Names()), read)
    opsets: dict[str, int] = {}
    for entry in proto.opset_import:
        domain = "" if entry.domain == "ai.onnx" else decoded(entry.domain)
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
        if isinstance(value, int):
            setattr(target, field, value)
        else:
            write(target, field, decoded(value))


class _Scope:
    """What the nodes of one graph may read, by the names of the file.

    A body may give a value of its own the name of an outer one, which is hidden there. In the
    compiler's form a body reads any outer value directly, so such a value gets a new name. So does
    one that has the name of a value in another body, and a node that has another one's: what is
    measured and chosen goes by names.

    Attributes:
        names: The model's register of names.
        labels: Names that nodes have so far, in all graphs.
        own: The values of this graph.
        visible: Those and the values of the graphs around it that they do not hide.
        taken: Names that values of this graph and of those around it have in the compiler's form.
    """

    def __init__(self, names: Names, outer: _Scope | None = None) -> None:
        self.names = names
        self.labels: set[str] = outer.labels if outer else set()
        self.own: dict[str, Value] = {}
        self.visible: ChainMap[str, Value] = ChainMap(
            self.own, *(outer.visible.maps if outer else ())
        )
        self._outer: ChainMap[str, Value] = ChainMap(*(outer.taken.maps if outer else ()))
        self.taken: ChainMap[str, Value] = ChainMap({}, *self._outer.maps)

    def claim(self) -> dict[str, str]:
        """Take the names of this graph's values; return the new ones of those that others have."""
        doubles = {name for name in self.own if name in self._outer or self.names.has(name)}
        for name in [name for name in self.own if name not in doubles]:
            self.names.claim(name)
        renamed = {name: self.names.fresh(name) for name in self.own if name in doubles}
        for name, new in renamed.items():
            self.own[name].name = new
        self.taken.update((value.name, value) for value in self.own.values())
        return renamed

    def named(self, nodes: Iterable[NodeProto]) -> Iterator[tuple[NodeProto, str]]:
        """Yield the nodes of this graph with names that no other one has, empty where none has."""
        for node in nodes:
            name, count = decoded(node.name), 0
            while name and name in self.labels:
                count += 1
                name = f"{decoded(node.name)}_{count}"
            self.labels.add(name)
            yield node, name


def _graph(proto: GraphProto, scope: _Scope, read: Reader) -> Graph:
    graph = Graph(decoded(proto.name), scope.names)
    graph.doc, graph.metadata = decoded(proto.doc_string), metadata_of(proto)
    _inputs(graph, proto, scope.own)
    constants = _initializers(proto, scope.own, read)
    _declare_outputs(proto, scope.own)
    renamed = scope.claim()
    graph.initializers = {value.name: value for value in constants}
    graph.annotations = [_renamed(a, renamed) for a in proto.quantization_annotation]
    for info in (*proto.value_info, *proto.output):
        value = scope.own.get(decoded(info.name))
        if value is not None and value.data is None and not value.is_input:
            value.set_type_proto(info.type if info.HasField("type") else None)
            value.doc, value.metadata = decoded(info.doc_string), metadata_of(info)
    for node, name in list(scope.named(proto.node)):
        graph.add(_node(node, name, scope, read))
    graph.set_outputs(
        _lookup(scope, decoded(o.name), f"output of graph {proto.name!r}") for o in proto.output
    )
    return graph


def _renamed(annotation: TensorAnnotation, renamed: dict[str, str]) -> TensorAnnotation:
    if not renamed:
        return annotation
    copy = TensorAnnotation()
    copy.CopyFrom(annotation)
    name = decoded(copy.tensor_name)
    write(copy, "tensor_name", renamed.get(name, name))
    for entry in copy.quant_parameter_tensor_names:
        name = decoded(entry.value)
        write(entry, "value", renamed.get(name, name))
    return copy


def _inputs(graph: Graph, proto: GraphProto, scope: dict[str, Value]) -> None:
    for info in proto.input:
        value = Value(decoded(info.name))
        value.is_input = True
        value.set_type_proto(info.type if info.HasField("type") else None)
        value.doc, value.metadata = decoded(info.doc_string), metadata_of(info)
        if scope.setdefault(value.name, value) is not value:
            msg = f"the graph has two inputs named {value.name!r}"
            raise InvalidModelError(msg)
        graph.inputs.append(value)


def _initializers(proto: GraphProto, scope: dict[str, Value], read: Reader) -> list[Value]:
    found = []
    for tensor in proto.initializer:
        found.append(_initializer(scope, decoded(tensor.name), _array(tensor, read)))
        found[-1].doc = decoded(tensor.doc_string)
    for sparse in proto.sparse_initializer:
        found.append(_initializer(scope, decoded(sparse.values.name), densify(sparse, read)))
        found[-1].set_sparse(sparse)
    return found


def _initializer(scope: dict[str, Value], name: str, array: np.ndarray) -> Value:
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
    return value


def _array(tensor: TensorProto, read: Reader) -> np.ndarray:
    try:
        return read(tensor)
    except (ValueError, TypeError, KeyError) as error:
        msg = f"initializer {tensor.name!r} cannot be read: {error}"
        raise InvalidModelError(msg) from error


def metadata_of(proto: ModelProto | GraphProto | NodeProto | ValueInfoProto) -> dict[str, str]:
    """Return the `metadata_props` of a part of a file."""
    return {decoded(entry.key): decoded(entry.value) for entry in proto.metadata_props}


def densify(sparse: onnx.SparseTensorProto, read: Reader = read_tensor) -> np.ndarray:
    """Return the dense array of a sparse tensor.

    Raises:
        InvalidModelError: If it would take too much memory, or its parts do not fit each other.
    """
    name, dims = decoded(sparse.values.name), tuple(sparse.dims)
    values, indices = _array(sparse.values, read), _array(sparse.indices, read)
    if min(dims, default=0) < 0 or prod(dims) * values.dtype.itemsize > LARGEST_DENSE:
        msg = f"sparse tensor {name!r} of shape {list(dims)} cannot be held as a dense array"
        raise InvalidModelError(msg)
    dense = np.zeros(dims, values.dtype)
    try:
        if indices.ndim == 1:
            dense.reshape(-1)[indices] = values
        else:
            dense[tuple(indices.T)] = values
    except (IndexError, ValueError) as error:
        msg = f"sparse tensor {name!r} has indices that do not fit its values and shape: {error}"
        raise InvalidModelError(msg) from error
    return dense


def _declare_outputs(proto: GraphProto, scope: dict[str, Value]) -> None:
    for node in proto.node:
        for name in map(decoded, node.output):
            if name and scope.setdefault(name, value := Value(name)) is not value:
                msg = f"value {name!r} is made twice, once by node {node.name or node.op_type!r}"
                raise InvalidModelError(msg)


def _node(proto: NodeProto, name: str, scope: _Scope, read: Reader) -> Node:
    where = f"input of node {proto.name or proto.op_type!r}"
    node = Node(
        decoded(proto.op_type),
        [_lookup(scope, name, where) if name else None for name in map(decoded, proto.input)],
        [scope.own[name] if name else None for name in map(decoded, proto.output)],
        domain=decoded(proto.domain),
        name=name,
    )
    if node.is_op("Constant") and node.outputs[:1] in ([], [None]):
        msg = f"Constant node {node.label!r} has no output; remove it or name what it makes"
        raise InvalidModelError(msg)
    node.overload, node.doc = decoded(proto.overload), decoded(proto.doc_string)
    node.metadata = metadata_of(proto)
    for attribute in proto.attribute:
        key = decoded(attribute.name)
        if key in node.attributes or key in node.bodies:
            msg = f"node {node.label!r} has attribute {key!r} twice"
            raise InvalidModelError(msg)
        if attribute.type == AttributeProto.GRAPH:
            node.bodies[key] = _graph(attribute.g, _Scope(scope.names, scope), read)
        elif attribute.type == AttributeProto.GRAPHS:
            node.bodies[key] = [
                _graph(g, _Scope(scope.names, scope), read) for g in attribute.graphs
            ]
        else:
            node.attributes[key] = attribute
    return node


def _lookup(scope: _Scope, name: str, where: str) -> Value:
    value = scope.visible.get(name)
    if value is None:
        msg = f"{where} reads {name!r}, which nothing defines"
        raise InvalidModelError(msg)
    return value

"""From the compiler's graph form to ONNX's protobuf form."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto

from ocompress.ir.graph import Graph
from ocompress.ir.model import Model
from ocompress.ir.node import Node
from ocompress.ir.strings import decoded, extend, write
from ocompress.ir.tensors import write_tensor
from ocompress.ir.value import Value

Store = Callable[[Value], TensorProto | None]
"""Says how a constant is written; None means inside the file."""


def to_proto(
    model: Model, store: Store | None = None, *, extra_outputs: Iterable[Value] = ()
) -> ModelProto:
    """Build the protobuf form, ready to be serialized.

    Args:
        model: What to write; must be sorted.
        store: Says how a constant is written (`io` passes one that fills external data).
        extra_outputs: Values of the main graph to expose beside its own outputs.
    """
    proto = ModelProto()
    proto.CopyFrom(model.shell)
    for domain, version in model.opsets.items():
        write(proto.opset_import.add(version=version), "domain", domain)
    proto.functions.extend(model.functions)
    _graph(model.graph, proto.graph, store or _inside)
    present = {v.name for v in model.graph.outputs}
    for value in extra_outputs:
        if value.name not in present:
            present.add(value.name)
            proto.graph.output.append(_info(value))
    return proto


def _inside(_: Value) -> TensorProto | None:
    return None


def _graph(graph: Graph, proto: GraphProto, store: Store) -> None:
    write(proto, "name", graph.name or "graph")  # the checker refuses an empty one
    if graph.doc:
        write(proto, "doc_string", graph.doc)
    _metadata(proto, graph.metadata)
    proto.input.extend(_info(v) for v in graph.inputs)
    proto.output.extend(_info(v) for v in graph.outputs)
    for value in graph.initializers.values():
        if value.sparse is not None:
            proto.sparse_initializer.append(value.sparse)
            write(proto.sparse_initializer[-1].values, "name", value.name)
        else:
            proto.initializer.append(_tensor(value, store))
    for node in graph.nodes:
        _node(node, proto.node.add(), store)
    known = {v.name for v in graph.initializers.values()}
    for node in graph.nodes:
        for made in node.outputs:
            if made is None:
                continue
            known.add(made.name)
            if not made.is_output and (made.type_proto is not None or made.doc or made.metadata):
                proto.value_info.append(_info(made))
    known.update(v.name for v in graph.inputs)
    proto.quantization_annotation.extend(
        a for a in graph.annotations if decoded(a.tensor_name) in known
    )


def _tensor(value: Value, store: Store) -> TensorProto:
    tensor = store(value)
    if tensor is None:
        assert value.data is not None, value.name
        tensor = write_tensor(value.data)
    write(tensor, "name", value.name)
    if value.doc:
        write(tensor, "doc_string", value.doc)
    return tensor


def _info(value: Value) -> ValueInfoProto:
    info = ValueInfoProto()
    write(info, "name", value.name)
    if value.type_proto is not None:
        info.type.CopyFrom(value.type_proto)
    if value.doc:
        write(info, "doc_string", value.doc)
    _metadata(info, value.metadata)
    return info


def _metadata(proto: GraphProto | NodeProto | ValueInfoProto, entries: dict[str, str]) -> None:
    for key, text in entries.items():
        entry = proto.metadata_props.add()
        write(entry, "key", key)
        write(entry, "value", text)


def _node(node: Node, proto: NodeProto, store: Store) -> None:
    for field, text in (
        ("op_type", node.op_type),
        ("domain", node.domain),
        ("name", node.name),
        ("overload", node.overload),
        ("doc_string", node.doc),
    ):
        if text:  # an empty field is left out, as exporters do
            write(proto, field, text)
    _metadata(proto, node.metadata)
    extend(proto, "input", ("" if v is None else v.name for v in node.inputs))
    extend(proto, "output", ("" if v is None else v.name for v in node.outputs))
    for name, attribute in node.attributes.items():
        proto.attribute.append(attribute)
        write(proto.attribute[-1], "name", name)
    for name, body in node.bodies.items():
        attribute = proto.attribute.add()
        write(attribute, "name", name)
        if isinstance(body, list):
            attribute.type = AttributeProto.GRAPHS
            for graph in body:
                _graph(graph, attribute.graphs.add(), store)
        else:
            attribute.type = AttributeProto.GRAPH
            _graph(body, attribute.g, store)

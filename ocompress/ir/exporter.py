"""From the compiler's graph form to ONNX's protobuf form."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

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
    model: Model,
    store: Store | None = None,
    *,
    extra_outputs: Iterable[Value] = (),
    packed: bool = True,
    sparse: bool = True,
) -> ModelProto:
    """Build the protobuf form, ready to be serialized.

    Args:
        model: What to write; must be sorted.
        store: Says how a constant is written (`io` passes one that fills external data).
        extra_outputs: Values of the main graph to expose beside its own outputs.
        packed: Whether constants that have a smaller form are written in it, as files hold them.
            Otherwise the nodes are those of the model, one for one.
        sparse: Whether constants that were read as sparse tensors are written so.
    """
    proto = ModelProto()
    proto.CopyFrom(model.shell)
    for domain, version in model.opsets.items():
        write(proto.opset_import.add(version=version), "domain", domain)
    proto.functions.extend(model.functions)
    writer = _Writer(store or _inside, _Unpacker(model) if packed else None, sparse)
    writer.graph(model.graph, proto.graph)
    present = {v.name for v in model.graph.outputs}
    for value in extra_outputs:
        if value.name not in present:
            present.add(value.name)
            proto.graph.output.append(_info(value))
    return proto


def _inside(_: Value) -> TensorProto | None:
    return None


@dataclass(frozen=True)
class _Writer:
    """Writes graphs and bodies alike."""

    store: Store
    unpacker: _Unpacker | None
    sparse: bool

    def graph(self, graph: Graph, proto: GraphProto) -> None:
        """Write a graph."""
        write(proto, "name", graph.name or "graph")  # the checker refuses an empty one
        if graph.doc:
            write(proto, "doc_string", graph.doc)
        _metadata(proto, graph.metadata)
        proto.input.extend(_info(v) for v in graph.inputs)
        proto.output.extend(_info(v) for v in graph.outputs)
        self._constants(graph, proto)
        for node in graph.nodes:
            self.node(node, proto.node.add())
        known = {v.name for v in graph.initializers.values()}
        for node in graph.nodes:
            for made in node.outputs:
                if made is None:
                    continue
                known.add(made.name)
                typed = made.type_proto is not None or made.doc or made.metadata
                if typed and not made.is_output:
                    proto.value_info.append(_info(made))
        known.update(v.name for v in graph.inputs)
        proto.quantization_annotation.extend(
            a for a in graph.annotations if decoded(a.tensor_name) in known
        )

    def _constants(self, graph: Graph, proto: GraphProto) -> None:
        packed: list[Value] = []
        for value in graph.initializers.values():
            if value.packed is not None and self.unpacker is not None:
                packed.append(value)
            elif value.sparse is not None and self.sparse:
                proto.sparse_initializer.append(value.sparse)
                write(proto.sparse_initializer[-1].values, "name", value.name)
            else:
                proto.initializer.append(_tensor(value, self.store))
        written: dict[object, str] = {}
        for value in packed:
            assert self.unpacker is not None
            self.unpacker.write(value, proto, self.store, written)

    def node(self, node: Node, proto: NodeProto) -> None:
        """Write a node."""
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
                    self.graph(graph, attribute.graphs.add())
            else:
                attribute.type = AttributeProto.GRAPH
                self.graph(body, attribute.g)


class _Unpacker:
    """Writes packed constants as leaves and nodes, those that are alike once in every graph."""

    def __init__(self, model: Model) -> None:
        self._values = set[str]()
        self._nodes = set[str]()
        self._main = {
            id(v.data): v.name for v in model.graph.initializers.values() if v.packed is None
        }
        if any(v.packed for g in model.graph.graphs() for v in g.initializers.values()):
            for graph in model.graph.graphs():
                self._values.update(v.name for v in (*graph.inputs, *graph.initializers.values()))
                for node in graph.nodes:
                    self._nodes.add(node.name)
                    self._values.update(v.name for v in node.outputs if v is not None)

    def write(
        self, value: Value, proto: GraphProto, store: Store, written: dict[object, str]
    ) -> None:
        """Write one into the graph that holds it.

        Args:
            value: The constant.
            proto: The graph.
            store: Says how its leaves are written.
            written: Names of what is in the graph already, leaves by id of array or by content,
                results of nodes by what makes them; added to.
        """
        packed = value.packed
        assert packed is not None, value.name
        renamed: dict[str, str] = {}
        for leaf in packed.leaves:
            renamed[leaf.name] = self._leaf(leaf, proto, store, written)
        last = packed.nodes[-1]
        for node in packed.nodes:
            key = _key(node, renamed) if node is not last else None
            if key is not None and key in written:
                renamed[decoded(node.output[0])] = written[key]
                continue
            if node is last:
                renamed[decoded(node.output[0])] = value.name
            else:
                renamed.update((n, _fresh(n, self._values)) for n in map(decoded, node.output))
            made = proto.node.add()
            made.CopyFrom(node)
            if node.name:
                write(made, "name", _fresh(decoded(node.name), self._nodes))
            for field, names in (("input", node.input), ("output", node.output)):
                made.ClearField(field)
                extend(made, field, (renamed.get(n, n) for n in map(decoded, names)))
            if key is not None:
                written[key] = renamed[decoded(node.output[0])]
        if any(node.op_type not in _INFERRED for node in packed.nodes):
            proto.value_info.append(_info(value))

    def _leaf(
        self,
        leaf: Value,
        proto: GraphProto,
        store: Store,
        written: dict[object, str],
    ) -> str:
        """Return the name of a leaf in a graph; it is written if there is none like it."""
        array = leaf.data
        keys: list[object] = [id(array)]
        if array is not None and array.nbytes <= _SMALL:
            keys.append((array.dtype.str, array.shape, array.tobytes()))
        known = self._main.get(id(array)) or next((written[k] for k in keys if k in written), None)
        if known is None:
            known = _fresh(leaf.name, self._values)
            same = leaf if leaf.name == known else Value(known, data=array)
            proto.initializer.append(_tensor(same, store))
        written.update(dict.fromkeys(keys, known))
        return known


_INFERRED = ("Cast", "Mul")
"""Operators whose results of constants have a type and a shape that nobody has to be told."""
_SMALL = 256
"""Bytes of a leaf up to which others with the same content are looked for."""


def _key(node: NodeProto, renamed: dict[str, str]) -> object | None:
    """Return what a node of one output makes of what; None if that cannot be told apart."""
    if len(node.output) != 1 or any(a.g.node or a.graphs for a in node.attribute):
        return None
    attributes = tuple(sorted(a.SerializeToString(deterministic=True) for a in node.attribute))
    inputs = tuple(renamed.get(n, n) for n in map(decoded, node.input))
    return node.op_type, node.domain, inputs, attributes


def _fresh(name: str, taken: set[str]) -> str:
    count, found = 0, name
    while found in taken:
        count += 1
        found = f"{name}_{count}"
    taken.add(found)
    return found


def node_proto(node: Node) -> NodeProto:
    """Return the protobuf form of a node."""
    proto = NodeProto()
    _Writer(_inside, None, True).node(node, proto)
    return proto


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

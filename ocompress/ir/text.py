"""A stable text form of models: dumps, snapshots of tests, input of fingerprints."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
from onnx import AttributeProto

from ocompress.ir.graph import Graph
from ocompress.ir.model import Model
from ocompress.ir.node import Node
from ocompress.ir.strings import encoded
from ocompress.ir.tensors import read_tensor
from ocompress.ir.value import Value


def text(model: Model) -> str:
    """Return one line per input, constant, node and output; the same for the same model."""
    opsets = ", ".join(f"{d or 'onnx'}:{v}" for d, v in sorted(model.opsets.items()))
    return "\n".join([f"model opsets[{opsets}]", *_graph(model.graph, "")]) + "\n"


def digest(array: np.ndarray) -> str:
    """Return a hash of an array's type, shape and bytes."""
    state = hashlib.blake2b(f"{array.dtype}{array.shape}".encode(), digest_size=8)
    if array.dtype.kind in "OUS":
        state.update(repr(array.tolist()).encode())
    else:
        state.update(np.ascontiguousarray(array).view(np.uint8).data if array.size else b"")
    return state.hexdigest()


def fingerprint(model: Model) -> str:
    """Return a hash of everything that determines what the model computes."""
    state = hashlib.blake2b(encoded(text(model)), digest_size=16)
    for function in model.functions:
        state.update(function.SerializeToString(deterministic=True))
    return state.hexdigest()


def _graph(graph: Graph, pad: str) -> Iterator[str]:
    for value in graph.inputs:
        yield f"{pad}input {_typed(value)}"
    for value in graph.initializers.values():
        assert value.data is not None, value.name
        yield f"{pad}const {_typed(value)} #{digest(value.data)}"
    for node in graph.nodes:
        yield from _node(node, pad)
    for value in graph.outputs:
        yield f"{pad}output {_typed(value)}"


def _node(node: Node, pad: str) -> Iterator[str]:
    outputs = ", ".join("_" if v is None else v.name for v in node.outputs)
    inputs = ", ".join("_" if v is None else v.name for v in node.inputs)
    attributes = "".join(f" {k}={_attribute(a)}" for k, a in sorted(node.attributes.items()))
    op = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
    yield f"{pad}{outputs} = {op}({inputs}){attributes}"
    for name, body in sorted(node.bodies.items()):
        for graph in body if isinstance(body, list) else [body]:
            yield f"{pad}  body {name}"
            yield from _graph(graph, pad + "    ")


def _attribute(proto: AttributeProto) -> str:
    if proto.ref_attr_name:
        return f"@{proto.ref_attr_name}"
    if proto.type == AttributeProto.TENSOR:
        return digest(read_tensor(proto.t))
    copy = AttributeProto()
    copy.CopyFrom(proto)
    copy.ClearField("name")
    copy.ClearField("doc_string")
    return " ".join(str(copy).split())


def _typed(value: Value) -> str:
    if value.dtype is None:
        return value.name
    shape = (
        "?" if value.shape is None else ",".join("?" if d is None else str(d) for d in value.shape)
    )
    return f"{value.name}:{value.dtype.name.lower()}[{shape}]"

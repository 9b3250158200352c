"""A door for edits written against onnx-graphsurgeon, the API many people know.

Inside the door everything is graphsurgeon; what it would lose on the way (metadata, documentation,
attributes of kinds that it skips) is put back on leaving.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import onnx_graphsurgeon as gs
from onnx import AttributeProto

from ocompress.errors import UnsupportedModelError
from ocompress.ir.exporter import to_proto
from ocompress.ir.graph import Graph
from ocompress.ir.importer import from_proto
from ocompress.ir.model import Model
from ocompress.ir.node import Node
from ocompress.ir.value import Value

logging.getLogger("onnx_graphsurgeon").addHandler(logging.NullHandler())
gs.logger.G_LOGGER.severity = gs.logger.G_LOGGER.CRITICAL


@contextmanager
def surgeon(model: Model) -> Iterator[gs.Graph]:
    """Edit `model` as a graphsurgeon graph; on leaving, the edits are taken over.

    Nodes and values keep documentation and metadata as long as they keep their names. If the
    block raises, the model stays as it was.

    Example:
        ```python
        with surgeon(model) as graph:
            for node in graph.nodes:
                if node.op == "Relu":
                    node.op = "LeakyRelu"
        ```

    Raises:
        UnsupportedModelError: If graphsurgeon cannot read the model (optional types, for one).
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            graph = gs.import_onnx(to_proto(model))
    except Exception as error:  # graphsurgeon raises whatever its code happens to trip over
        raise _unsupported(error) from error
    yield graph
    try:
        edited = from_proto(gs.export_onnx(graph, do_type_check=False))
    except Exception as error:
        raise _unsupported(error) from error
    edited.functions = list(model.functions)
    edited.shell = model.shell
    edited.opsets = {**model.opsets, **edited.opsets}
    _restore(model.graph, edited.graph)
    model.become(edited)


def _unsupported(error: Exception) -> UnsupportedModelError:
    msg = f"onnx-graphsurgeon cannot hold this model ({error}); edit it with ocompress.ir"
    return UnsupportedModelError(msg)


def _restore(before: Graph, after: Graph) -> None:
    after.doc, after.metadata = before.doc, before.metadata
    after.annotations = before.annotations
    values = {v.name: v for v in _values(before)}
    for value in _values(after):
        _restore_value(values.get(value.name), value)
    _restore_defaults(before, after)
    nodes = {_key(n): n for n in before.nodes}
    for node in after.nodes:
        if old := nodes.get(_key(node)):
            _restore_node(old, node)


def _values(graph: Graph) -> Iterator[Value]:
    yield from graph.inputs
    yield from graph.initializers.values()
    for node in graph.nodes:
        yield from (v for v in node.outputs if v is not None)


def _key(node: Node) -> tuple[str, str]:
    return node.op_type, next((v.name for v in node.outputs if v is not None), "")


def _restore_defaults(before: Graph, after: Graph) -> None:
    """Put back the default arrays of inputs, which graphsurgeon turns into plain constants."""
    formal = {v.name for v in after.inputs}
    for old in before.inputs:
        if old.data is None:
            continue
        constant = after.initializers.get(old.name)
        if old.name in formal:
            new = next(v for v in after.inputs if v.name == old.name)
        elif constant is not None:
            new = constant
            after.inputs.insert(min(before.inputs.index(old), len(after.inputs)), new)
        else:
            continue
        new.data, new.is_input = old.data, True
        new.set_type_proto(old.type_proto)
        after.initializers[old.name] = new


def _restore_value(old: Value | None, new: Value) -> None:
    if old is None:
        return
    new.doc, new.metadata = old.doc, old.metadata
    if new.type_proto is None and old.type_proto is not None and new.data is None:
        new.set_type_proto(old.type_proto)


def _restore_node(old: Node, new: Node) -> None:
    new.doc, new.metadata, new.overload = old.doc, old.metadata, old.overload
    for name, proto in old.attributes.items():
        if proto.type in (AttributeProto.TYPE_PROTO, AttributeProto.TYPE_PROTOS):
            new.attributes.setdefault(name, proto)  # graphsurgeon skips these
    for name, body in new.bodies.items():
        was = old.bodies.get(name)
        if isinstance(body, Graph) and isinstance(was, Graph):
            _restore(was, body)

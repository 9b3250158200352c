"""What the onnx package itself knows: schemas, the checker, inference, conversion, inlining."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnx.inliner
import onnx.version_converter
from onnx import GraphProto, ModelProto, TensorProto, TypeProto

from ocompress.errors import InvalidModelError, UnsupportedModelError
from ocompress.ir.exporter import to_proto
from ocompress.ir.graph import Graph
from ocompress.ir.importer import from_proto
from ocompress.ir.model import Model
from ocompress.ir.node import Node
from ocompress.ir.value import Value

NEWEST_OPSET: int = onnx.defs.onnx_opset_version()
_STUB_ABOVE = 4096
"""Elements above which a constant's values cannot matter to shape inference."""

_RANDOM = {
    "Bernoulli",
    "Dropout",
    "Multinomial",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
}


def has_schema(node: Node, opset: int) -> bool:
    """Whether the operator exists in standard ONNX at that opset."""
    return onnx.defs.has(node.op_type, opset, node.domain)


def since_version(op_type: str, opset: int) -> int:
    """Return the opset in which the definition valid at `opset` appeared, 0 if there is none."""
    if not onnx.defs.has(op_type, opset, ""):
        return 0
    return int(onnx.defs.get_schema(op_type, opset, "").since_version)


def is_random(node: Node) -> bool:
    """Whether two runs of the node may differ."""
    return node.is_op(*_RANDOM)


def check(proto_or_path: ModelProto | Path) -> None:
    """Run ONNX's checker.

    Raises:
        InvalidModelError: With the first line of what the checker says.
    """
    target = proto_or_path if isinstance(proto_or_path, ModelProto) else str(proto_or_path)
    try:
        onnx.checker.check_model(target)
    except (onnx.checker.ValidationError, ValueError, TypeError) as error:
        msg = f"the ONNX checker refuses the model: {first_line(error)}"
        raise InvalidModelError(msg) from error


def first_line(error: BaseException) -> str:
    """Return the first line that says something of an exception's text."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def external_stub(value: Value) -> TensorProto | None:
    """Store large constants as type and shape only; for use as `to_proto`'s `store`."""
    if value.data is None or value.data.size <= _STUB_ABOVE or value.data.dtype.kind in "OUS":
        return None
    tensor = TensorProto(dims=value.data.shape, data_type=int(value.dtype or 0))
    tensor.data_location = TensorProto.EXTERNAL
    for key, text in (("location", "weights"), ("offset", "0"), ("length", str(value.data.nbytes))):
        tensor.external_data.add(key=key, value=text)
    return tensor


def infer_types(model: Model) -> bool:
    """Infer and record element types and shapes in the main graph and in bodies.

    Inference starts afresh: recorded types that contradict it are replaced, types it cannot
    find are kept. Formal outputs keep their declared type.

    Returns:
        Whether any recorded type changed.
    """
    proto = to_proto(model, external_stub)
    _forget(proto.graph)
    try:
        inferred = onnx.shape_inference.infer_shapes(proto, data_prop=True)
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError):
        return False  # custom operators with odd types; recorded types stay as they were
    return _adopt(model.graph, inferred.graph)


def _forget(graph: GraphProto) -> None:
    del graph.value_info[:]
    for node in graph.node:
        for attribute in node.attribute:
            for body in (attribute.g, *attribute.graphs):
                if body.node:
                    _forget(body)


def _adopt(graph: Graph, proto: GraphProto) -> bool:
    types = {info.name: info.type for info in proto.value_info}
    types.update((o.name, o.type) for o in proto.output)
    changed = False
    for node, node_proto in zip(graph.nodes, proto.node, strict=True):
        for value in node.outputs:
            if value is not None and value.name in types and not _declared(value):
                changed |= _set_type(value, types[value.name])
        bodies = {
            a.name: list(a.graphs) or [a.g] for a in node_proto.attribute if a.name in node.bodies
        }
        for name, body in node.bodies.items():
            inner = body if isinstance(body, list) else [body]
            for mine, theirs in zip(inner, bodies[name], strict=True):
                changed |= _adopt(mine, theirs)
    return changed


def _declared(value: Value) -> bool:
    return value.is_output and value.dtype is not None


def _set_type(value: Value, proto: TypeProto) -> bool:
    before = value.type_proto
    if before is not None and before == proto:
        return False
    if proto.WhichOneof("value") is None:
        return False
    fresh = TypeProto()
    fresh.CopyFrom(proto)
    value.set_type_proto(fresh)
    return True


def convert_opset(model: Model, opset: int) -> None:
    """Convert the whole model to another opset with ONNX's version converter, in place.

    Raises:
        UnsupportedModelError: If the converter lacks an adapter for an operator.
    """
    try:
        converted = onnx.version_converter.convert_version(to_proto(model), opset)
    except (RuntimeError, ValueError, onnx.version_converter.ConvertError) as error:
        msg = f"opset {model.opset} cannot be converted to {opset}: {first_line(error)}"
        raise UnsupportedModelError(msg) from error
    model.become(from_proto(converted))


def inline_functions(model: Model) -> None:
    """Replace calls of model-local functions by their bodies, in place."""
    model.become(from_proto(onnx.inliner.inline_local_functions(to_proto(model))))

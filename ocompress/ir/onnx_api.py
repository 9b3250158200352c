"""What the onnx package itself knows: schemas, the checker, type inference, inlining."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import onnx
import onnx.inliner
from onnx import FunctionProto, ModelProto, NodeProto

from ocompress.errors import InvalidModelError, UnsupportedModelError
from ocompress.ir.exporter import to_proto
from ocompress.ir.importer import from_proto
from ocompress.ir.inference import infer_types
from ocompress.ir.model import Model
from ocompress.ir.node import Node
from ocompress.ir.schemas import means_the_same
from ocompress.ir.stubs import by_reference, external_stub

__all__ = [
    "NEWEST_OPSET",
    "check",
    "external_stub",
    "first_line",
    "infer_types",
    "inline_functions",
    "is_random",
    "since_version",
]

NEWEST_OPSET: int = onnx.defs.onnx_opset_version()

_RANDOM = {
    "Bernoulli",
    "Dropout",
    "Multinomial",
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
}


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


def inline_functions(model: Model) -> None:
    """Replace calls of model-local functions by their bodies, in place.

    A function of another opset is read at the model's where it means the same there, else
    converted. Weights do not go through the protobuf form, so that models of any size pass.

    Raises:
        UnsupportedModelError: If a function cannot be inlined.
    """
    store, read = by_reference()
    proto = to_proto(model, store)
    _state_defaults(proto)
    _import_for_bodies(proto)
    for function in proto.functions:
        _adapt_imports(function, model.opset)
    try:
        inlined = onnx.inliner.inline_local_functions(proto, convert_version=True)
    except (RuntimeError, ValueError) as error:
        msg = f"the functions of the model cannot be inlined: {first_line(error)}"
        raise UnsupportedModelError(msg) from error
    if len(inlined.functions) < len(model.functions):
        model.become(from_proto(inlined, read))


def _import_for_bodies(proto: ModelProto) -> None:
    """Import the operator sets that only functions import so far."""
    known = {_standard(entry.domain) for entry in proto.opset_import}
    for function in proto.functions:
        for entry in function.opset_import:
            if _standard(entry.domain) not in known:
                known.add(_standard(entry.domain))
                proto.opset_import.add().CopyFrom(entry)


def _standard(domain: str) -> str:
    return "" if domain == "ai.onnx" else domain


def _state_defaults(proto: ModelProto) -> None:
    """Give calls the attributes that they leave to the function's defaults.

    ONNX's inliner knows no defaults, and what refers to such an attribute would end without it.
    """
    defaults = {
        (f.domain, f.name, f.overload): f.attribute_proto
        for f in proto.functions
        if f.attribute_proto
    }
    if not defaults:
        return
    for nodes in (proto.graph.node, *(f.node for f in proto.functions)):
        for node in _all_nodes(nodes):
            given = {attribute.name for attribute in node.attribute}
            missing = defaults.get((node.domain, node.op_type, node.overload), ())
            node.attribute.extend(a for a in missing if a.name not in given)


def _all_nodes(nodes: Iterable[NodeProto]) -> Iterator[NodeProto]:
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                yield from _all_nodes(graph.node)


def _adapt_imports(function: FunctionProto, opset: int) -> None:
    for entry in function.opset_import:
        if not _standard(entry.domain) and opset and means_the_same(function, entry.version, opset):
            entry.version = opset

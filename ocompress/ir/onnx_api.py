"""What the onnx package itself knows: schemas, the checker, type inference, inlining."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnx.inliner
from onnx import FunctionProto, ModelProto

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
    for function in proto.functions:
        _adapt_imports(function, model.opset)
    try:
        inlined = onnx.inliner.inline_local_functions(proto, convert_version=True)
    except (RuntimeError, ValueError) as error:
        msg = f"the functions of the model cannot be inlined: {first_line(error)}"
        raise UnsupportedModelError(msg) from error
    if len(inlined.functions) < len(model.functions):
        model.become(from_proto(inlined, read))


def _adapt_imports(function: FunctionProto, opset: int) -> None:
    for entry in function.opset_import:
        standard = entry.domain in ("", "ai.onnx")
        if standard and opset and means_the_same(function, entry.version, opset):
            entry.version = opset

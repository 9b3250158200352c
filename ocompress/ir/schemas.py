"""The definitions of ONNX's operators over time, as the installed onnx package has them."""

from __future__ import annotations

from functools import cache

import onnx
from onnx import AttributeProto, FunctionProto
from onnx.defs import OpSchema

from ocompress.errors import InvalidModelError
from ocompress.ir.model import Model
from ocompress.ir.node import Node
from ocompress.ir.tensors import read_tensor


@cache
def _history() -> dict[str, dict[int, OpSchema]]:
    found: dict[str, dict[int, OpSchema]] = {}
    for schema in onnx.defs.get_all_schemas_with_history():
        if schema.domain == "":
            found.setdefault(schema.name, {})[schema.since_version] = schema
    return found


def check_attributes(model: Model) -> None:
    """Check that attributes of standard operators have the types that their definitions say.

    Everything that reads an attribute later on relies on it.

    Raises:
        InvalidModelError: Naming the node and the attribute.
    """
    for _, node in model.nodes():
        known = _attribute_types(node.op_type, node.domain, model.opsets.get(node.domain, 0))
        for name, attribute in node.attributes.items():
            _check_attribute(node, name, attribute, known.get(name))


def _check_attribute(node: Node, name: str, attribute: AttributeProto, wanted: int | None) -> None:
    if wanted is not None and attribute.type != wanted and not attribute.ref_attr_name:
        kinds = [AttributeProto.AttributeType.Name(k) for k in (attribute.type, wanted)]
        msg = f"attribute {name!r} of node {node.label!r} is {kinds[0]} instead of {kinds[1]}"
        raise InvalidModelError(msg)
    tensors = [attribute.t] if attribute.type == AttributeProto.TENSOR else attribute.tensors
    for tensor in tensors:
        try:
            read_tensor(tensor)
        except (ValueError, TypeError, KeyError) as error:
            msg = f"attribute {name!r} of node {node.label!r} cannot be read: {error}"
            raise InvalidModelError(msg) from error


@cache
def _attribute_types(op_type: str, domain: str, opset: int) -> dict[str, int]:
    """Return the type of each attribute that a definition names; empty if there is none."""
    if not onnx.defs.has(op_type, opset, domain):
        return {}
    schema = onnx.defs.get_schema(op_type, opset, domain)
    return {
        name: AttributeProto.AttributeType.Value(str(entry.type).rpartition(".")[2])
        for name, entry in schema.attributes.items()
    }


def is_redefined(op_type: str, opset: int) -> bool:
    """Whether exactly that opset brings a new definition of a standard operator."""
    return opset in _history().get(op_type, {})


def misfit(node: Node, opset: int) -> str:
    """Say why a standard node does not fit the definition that `opset` brings.

    Structure only: attributes that are gone, defaults that changed, too many inputs or outputs.

    Returns:
        One clause, empty when it fits.
    """
    attributes = {*node.attributes, *node.bodies}
    return _misfit(node.op_type, attributes, len(node.inputs), len(node.outputs), opset)


def _misfit(op_type: str, attributes: set[str], inputs: int, outputs: int, opset: int) -> str:
    schema = _history()[op_type][opset]
    if schema.deprecated:
        return f"opset {opset} has no {op_type} any more"
    for name in sorted(attributes):
        if name not in schema.attributes:
            return f"opset {opset} has no attribute {name!r} of {op_type}"
    if not schema.min_input <= inputs <= schema.max_input or outputs > schema.max_output:
        return f"opset {opset} has another number of inputs or outputs of {op_type}"
    before = [v for v in _history()[op_type] if v < opset]
    old = _history()[op_type][max(before)].attributes if before else {}
    for name, attribute in old.items():
        new = schema.attributes.get(name)
        if name in attributes or new is None:
            continue
        if attribute.default_value != new.default_value:
            return f"opset {opset} changed the default of {name!r} of {op_type}"
    return ""


def means_the_same(function: FunctionProto, before: int, after: int) -> bool:
    """Whether the nodes of a function may be read at another opset as they stand.

    Older functions may use whatever only became more general since; newer ones nothing that was
    redefined.
    """
    versions = range(min(before, after) + 1, max(before, after) + 1)
    for node in function.node:
        for version in versions if node.domain in ("", "ai.onnx") else ():
            if not is_redefined(node.op_type, version):
                continue
            names = {attribute.name for attribute in node.attribute}
            fits = not _misfit(node.op_type, names, len(node.input), len(node.output), version)
            if before > after or not fits:
                return False
    return True


def optional_outputs(node: Node, opset: int) -> frozenset[int]:
    """Return the positions of outputs of a standard node that may be omitted."""
    return _optional_outputs(node.op_type, node.domain, opset)


@cache
def _optional_outputs(op_type: str, domain: str, opset: int) -> frozenset[int]:
    if not onnx.defs.has(op_type, opset, domain):
        return frozenset()
    outputs = onnx.defs.get_schema(op_type, opset, domain).outputs
    optional = OpSchema.FormalParameterOption.Optional
    return frozenset(i for i, o in enumerate(outputs) if o.option == optional)


@cache
def lowest_ir_version(opset: int) -> int:
    """Return the first IR version of files that may import that opset, 0 if they import none."""
    known = min(max(opset, 1), onnx.defs.onnx_opset_version())
    return int(onnx.helper.find_min_ir_version_for([onnx.helper.make_opsetid("", known)]))

"""Questions that rewrites ask of a graph."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from onnx import AttributeProto

from ocompress.ir.dtypes import DType
from ocompress.ir.importer import densify
from ocompress.ir.node import Node
from ocompress.ir.value import Value


def constant(node: Node, index: int) -> np.ndarray | None:
    """Return the array of constant input `index`, None if it is omitted or computed."""
    value = node.input(index)
    return None if value is None else value.constant


def numbers(node: Node, index: int) -> np.ndarray | None:
    """Return constant input `index` if it is a list of numbers, [n], else None.

    Axes, extents and bounds should be lists; files may hold a scalar in their place.
    """
    array = constant(node, index)
    return array if array is not None and array.ndim == 1 and array.dtype.kind in "iu" else None


def scalar(node: Node, index: int) -> float | None:
    """Return constant input `index` if it has exactly one element, else None."""
    array = constant(node, index)
    if array is None or array.size != 1 or array.dtype.kind in "OUS":
        return None
    return float(array.reshape(()))


def only_reader(value: Value) -> Node | None:
    """Return the single node that reads `value`, None if several do or it is a formal output."""
    if value.is_output or value.use_count != 1:
        return None
    return value.users[0][0]


def made_by(value: Value | None, *op_types: str) -> Node | None:
    """Return the producer of `value` if it is one of these standard operators."""
    if value is None or value.producer is None or not value.producer.is_op(*op_types):
        return None
    return value.producer


def restored_by(value: Value | None) -> Node | None:
    """Return the DequantizeLinear that makes a value: of the standard, or of ONNX Runtime.

    Its quantizer writes its own where the standard one of that opset lacks the integer type.
    """
    maker = None if value is None else value.producer
    if maker is None or maker.op_type != "DequantizeLinear":
        return None
    return maker if maker.domain in ("", "com.microsoft") else None


def is_static(value: Value | None) -> bool:
    """Whether every extent of the value's shape is a known number."""
    return (
        value is not None
        and value.shape is not None
        and all(isinstance(extent, int) for extent in value.shape)
    )


def attribute_elements(attributes: Iterable[AttributeProto]) -> int:
    """Return how many numbers the lists and float tensors among attributes hold together."""
    total = 0
    for attribute in attributes:
        total += len(attribute.floats)
        if attribute.type == AttributeProto.TENSOR and DType.named(attribute.t.data_type).is_float:
            total += math.prod(attribute.t.dims)
    return total


def constant_node_value(node: Node) -> np.ndarray | None:
    """Return the array a Constant node makes, None if its attribute is not understood."""
    spelling = next(iter(node.attributes), "")
    value = node.attr(spelling)
    match spelling:
        case "value":
            return np.asarray(value)
        case "sparse_value":
            return densify(value)
        case "value_float" | "value_floats":
            return np.asarray(value, np.float32)
        case "value_int" | "value_ints":
            return np.asarray(value, np.int64)
        case "value_string" | "value_strings":
            return np.asarray(value, object)
    return None

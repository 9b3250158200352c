"""Between tensors of files and arrays."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto

from ocompress.ir.strings import decoded, encoded, is_clean


def read_tensor(tensor: TensorProto) -> np.ndarray:
    """Return the array of a tensor without external data.

    Raises:
        ValueError: If shape, type and content do not fit each other.
        TypeError: If it has no type.
    """
    if tensor.data_type not in TensorProto.DataType.values():
        msg = f"its element type {tensor.data_type} is unknown to ONNX {onnx.__version__}"
        raise ValueError(msg)
    if any(extent < 0 for extent in tensor.dims):
        msg = f"its shape {list(tensor.dims)} has a negative extent"
        raise ValueError(msg)
    if tensor.data_type == TensorProto.STRING:
        texts = np.array([decoded(entry) for entry in tensor.string_data], object)
        return texts.reshape(tuple(tensor.dims))
    return np.asarray(onnx.numpy_helper.to_array(tensor))


def write_tensor(array: np.ndarray) -> TensorProto:
    """Return the tensor of an array of any shape, its content inside."""
    if array.dtype.kind == "O" and not all(map(_is_plain, array.reshape(-1))):
        tensor = TensorProto(dims=array.shape, data_type=TensorProto.STRING)
        tensor.string_data.extend(encoded(text) for text in array.reshape(-1))
        return tensor
    return onnx.numpy_helper.from_array(array)


def _is_plain(entry: object) -> bool:
    return not isinstance(entry, str) or is_clean(entry)

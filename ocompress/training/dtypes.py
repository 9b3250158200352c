"""Element types of ONNX in PyTorch: one float type computes, whatever the file's are."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from ocompress.ir import DType
from ocompress.training.registry import UnsupportedError

_WHOLE = {
    DType.BOOL: torch.bool,
    DType.INT8: torch.int8,
    DType.UINT8: torch.uint8,
    DType.INT16: torch.int16,
    DType.INT32: torch.int32,
    DType.INT64: torch.int64,
    # Types that PyTorch hardly computes in.
    DType.UINT16: torch.int64,
    DType.UINT32: torch.int64,
    DType.UINT64: torch.int64,
    DType.INT4: torch.int8,
    DType.UINT4: torch.uint8,
    DType.INT2: torch.int8,
    DType.UINT2: torch.uint8,
}


def torch_type(dtype: DType | None, floating: torch.dtype) -> torch.dtype:
    """Return the type that stands for an element type.

    Raises:
        UnsupportedError: If there is none, as for texts.
    """
    if dtype is not None and dtype.is_float:
        return floating
    if dtype not in _WHOLE:
        msg = f"there are no tensors of {'unknown type' if dtype is None else dtype.name.lower()}"
        raise UnsupportedError(msg)
    return _WHOLE[dtype]


def to_torch(array: np.ndarray, floating: torch.dtype) -> torch.Tensor:
    """Return a tensor in the shape of an array; it may share the array's memory.

    Raises:
        UnsupportedError: If there are no such tensors.
    """
    dtype = DType.of(array)
    kind = torch_type(dtype, floating)
    if dtype.is_float:
        plain = array.astype(np.float64 if floating is torch.float64 else np.float32, copy=False)
    else:
        plain = array.astype({torch.bool: np.bool_}.get(kind, str(kind).removeprefix("torch.")))
    if not plain.flags.writeable:
        plain = plain.copy()  # PyTorch has no read-only tensors
    return torch.from_numpy(np.ascontiguousarray(plain).reshape(plain.shape))


def to_held(array: Any, floating: torch.dtype) -> Any:
    """Return a tensor of an array, or what it is if there are no such tensors."""
    try:
        return to_torch(array, floating)
    except (UnsupportedError, AttributeError, TypeError, KeyError):
        return array


def to_array(tensor: torch.Tensor) -> np.ndarray:
    """Return the array of a tensor; floats are of the type that ONNX Runtime is mostly given."""
    array: np.ndarray = tensor.numpy(force=True)
    return array.astype(np.float32) if array.dtype == np.float64 else array


def to_numpy(tensor: Any, dtype: DType) -> Any:
    """Return the array of a tensor in an element type of ONNX; what is no tensor stays."""
    if not isinstance(tensor, torch.Tensor):
        return tensor
    array: np.ndarray = tensor.detach().cpu().numpy()
    return array.astype(dtype.numpy, copy=False)

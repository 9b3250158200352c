"""Element types of tensors, named as ONNX names them."""

from __future__ import annotations

from enum import IntEnum

import numpy as np
import onnx
from onnx import TensorProto

_FLOATS = {"FLOAT", "FLOAT16", "BFLOAT16", "DOUBLE"}
_PACKED_BITS = {"INT4": 4, "UINT4": 4, "FLOAT4E2M1": 4, "INT2": 2, "UINT2": 2}


class DType(IntEnum):
    """ONNX tensor element type; the value is that of `TensorProto.DataType`."""

    UNDEFINED = TensorProto.UNDEFINED
    FLOAT = TensorProto.FLOAT
    UINT8 = TensorProto.UINT8
    INT8 = TensorProto.INT8
    UINT16 = TensorProto.UINT16
    INT16 = TensorProto.INT16
    INT32 = TensorProto.INT32
    INT64 = TensorProto.INT64
    STRING = TensorProto.STRING
    BOOL = TensorProto.BOOL
    FLOAT16 = TensorProto.FLOAT16
    DOUBLE = TensorProto.DOUBLE
    UINT32 = TensorProto.UINT32
    UINT64 = TensorProto.UINT64
    COMPLEX64 = TensorProto.COMPLEX64
    COMPLEX128 = TensorProto.COMPLEX128
    BFLOAT16 = TensorProto.BFLOAT16
    FLOAT8E4M3FN = TensorProto.FLOAT8E4M3FN
    FLOAT8E4M3FNUZ = TensorProto.FLOAT8E4M3FNUZ
    FLOAT8E5M2 = TensorProto.FLOAT8E5M2
    FLOAT8E5M2FNUZ = TensorProto.FLOAT8E5M2FNUZ
    UINT4 = TensorProto.UINT4
    INT4 = TensorProto.INT4
    FLOAT4E2M1 = TensorProto.FLOAT4E2M1
    FLOAT8E8M0 = TensorProto.FLOAT8E8M0
    UINT2 = TensorProto.UINT2
    INT2 = TensorProto.INT2

    @property
    def numpy(self) -> np.dtype[np.generic]:
        """The numpy type that holds it (ml_dtypes for the ones numpy lacks)."""
        return np.dtype(onnx.helper.tensor_dtype_to_np_dtype(int(self)))

    @property
    def is_float(self) -> bool:
        """Whether it is one of the float types that networks compute in."""
        return self.name in _FLOATS

    @property
    def bits(self) -> int:
        """Bits one element takes in a file."""
        return _PACKED_BITS.get(self.name) or self.numpy.itemsize * 8

    @classmethod
    def named(cls, code: int) -> DType:
        """Return the type that a number in a file names, `UNDEFINED` if it names none.

        ONNX Runtime reads 32 bits of it, and so runs files where more are set.
        """
        return cls(code) if code in cls._value2member_map_ else cls.UNDEFINED

    @staticmethod
    def of(array: np.ndarray) -> DType:
        """Return the element type that holds `array`, whatever its shape."""
        if array.dtype.kind in "OUST":
            return DType.STRING
        return DType(onnx.helper.np_dtype_to_tensor_dtype(array.dtype))

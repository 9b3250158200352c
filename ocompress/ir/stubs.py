"""Stubs that stand for large weights in protobuf, so that models of any size can be handled."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from onnx import TensorProto

from ocompress.ir.importer import Reader
from ocompress.ir.value import Value

_STUB_ABOVE = 4096
"""Elements above which a constant's values cannot matter to shape inference."""


def external_stub(value: Value) -> TensorProto | None:
    """Store large constants as type and shape only; for use as `to_proto`'s `store`."""
    if value.data is None or value.data.size <= _STUB_ABOVE or value.data.dtype.kind in "OUS":
        return None
    tensor = TensorProto(dims=value.data.shape, data_type=int(value.dtype or 0))
    tensor.data_location = TensorProto.EXTERNAL
    for key, text in (("location", "weights"), ("offset", "0"), ("length", str(value.data.nbytes))):
        tensor.external_data.add(key=key, value=text)
    return tensor


def by_reference() -> tuple[Callable[[Value], TensorProto | None], Reader]:
    """Return a `store` for `to_proto` and a `read` for `from_proto` that pass large arrays by.

    What is stored is a stub; reading it gives back the very array it stands for.
    """
    arrays: list[np.ndarray] = []

    def store(value: Value) -> TensorProto | None:
        tensor = external_stub(value)
        if tensor is not None and value.data is not None:
            tensor.external_data[1].value = str(len(arrays))
            arrays.append(value.data)
        return tensor

    def read(tensor: TensorProto) -> np.ndarray:
        if tensor.data_location == TensorProto.EXTERNAL:
            return arrays[int(tensor.external_data[1].value)]
        return onnx.numpy_helper.to_array(tensor)

    return store, read

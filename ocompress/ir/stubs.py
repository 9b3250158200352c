"""Stubs that stand for large weights in protobuf, so that models of any size can be handled."""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO

import numpy as np
from onnx import TensorProto

from ocompress.ir.importer import Reader
from ocompress.ir.mapping import release
from ocompress.ir.tensors import read_tensor
from ocompress.ir.value import Value

WEIGHTS_FILE = "weights"
"""Name of the external file that stubs point into."""
_PAGE = 4096
_STUB_ABOVE = 4096
"""Elements above which a constant's values cannot matter to shape inference."""


def external_stub(value: Value, offset: int = 0) -> TensorProto | None:
    """Store large constants as type and shape only; for use as `to_proto`'s `store`.

    Args:
        value: The constant.
        offset: Where its bytes are in the file `WEIGHTS_FILE`, if they are anywhere.
    """
    if value.data is None or value.data.size <= _STUB_ABOVE or value.data.dtype.kind in "OUS":
        return None
    tensor = TensorProto(dims=value.data.shape, data_type=int(value.dtype or 0))
    tensor.data_location = TensorProto.EXTERNAL
    where = {"location": WEIGHTS_FILE, "offset": offset, "length": value.data.nbytes}
    for key, entry in where.items():
        tensor.external_data.add(key=key, value=str(entry))
    return tensor


def into_file(file: BinaryIO) -> Callable[[Value], TensorProto | None]:
    """Return a `store` for `to_proto` that appends large constants to a file, page by page.

    Mapped arrays are let go of as they are written, so that memory holds one at a time.
    """

    def store(value: Value) -> TensorProto | None:
        file.write(b"\0" * (-file.tell() % _PAGE))
        stub = external_stub(value, file.tell())
        if stub is None or value.data is None or value.dtype is None or value.dtype.bits % 8:
            return None
        file.write(np.ascontiguousarray(value.data).view(np.uint8).data)
        release(value.data)
        return stub

    return store


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
        return read_tensor(tensor)

    return store, read

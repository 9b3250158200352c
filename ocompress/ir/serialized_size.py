"""How many bytes a model takes in a file."""

from __future__ import annotations

from onnx import TensorProto

from ocompress.ir.exporter import to_proto
from ocompress.ir.model import Model
from ocompress.ir.stubs import external_stub
from ocompress.ir.value import Value

_COPY_BELOW = 1 << 28


def serialized_bytes(model: Model) -> int:
    """Return the bytes of the model as one file, external data included.

    Exact for models below 256 MiB; larger ones are not copied, and their bytes are known to
    within a few dozen per large constant.
    """
    if model.weight_bytes < _COPY_BELOW:
        return int(to_proto(model).ByteSize())
    large = 0

    def store(value: Value) -> TensorProto | None:
        nonlocal large
        stub = external_stub(value)
        if stub is not None and value.data is not None and value.dtype is not None:
            large += -(-value.data.size * value.dtype.bits // 8)
        return stub

    return int(to_proto(model, store).ByteSize()) + large

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from ocompress.archive.wire import stored_tensors
from ocompress.errors import InvalidModelError
from tests.graphs import protos

PROTOS = protos()


def own_tensors(model: onnx.ModelProto) -> list[onnx.TensorProto]:
    """Return all tensors of a model, found through protobuf's own reflection."""
    found: list[onnx.TensorProto] = []

    def look(message: object) -> None:
        if isinstance(message, onnx.TensorProto):
            found.append(message)
            return
        for field, value in message.ListFields():  # type: ignore[attr-defined]
            if field.message_type is not None:
                for one in value if field.is_repeated else [value]:
                    look(one)

    look(model)
    return found


@pytest.mark.parametrize("name", PROTOS)
def test_every_tensor_of_the_zoo_is_seen(name: str) -> None:
    content = PROTOS[name].SerializeToString()
    seen = stored_tensors(memoryview(content))
    wanted = own_tensors(PROTOS[name])
    assert sorted((t.name, t.dims, t.dtype) for t in seen) == sorted(
        (t.name, list(t.dims), t.data_type) for t in wanted
    )
    raw = {bytes(t.raw_data) for t in wanted if t.raw_data}
    cut = {content[at : at + size] for t in seen for at, size in t.spans}
    assert raw <= cut


def test_typed_fields_are_seen() -> None:
    graph = helper.make_graph([], "g", [], [], [
        helper.make_tensor("f", TensorProto.FLOAT, [3], [1.0, 2.0, 3.0]),
        helper.make_tensor("d", TensorProto.DOUBLE, [2], [1.0, 2.0]),
    ])  # fmt: skip
    content = helper.make_model(graph).SerializeToString()
    floats, doubles = (t.spans for t in stored_tensors(memoryview(content)))
    assert [content[a : a + n] for a, n in floats] == [np.array([1, 2, 3], np.float32).tobytes()]
    assert [content[a : a + n] for a, n in doubles] == [np.array([1, 2], np.float64).tobytes()]


def test_external_entries_are_seen() -> None:
    tensor = numpy_helper.from_array(np.ones(4, np.float32), "w")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "w.bin"), ("offset", "8"), ("length", "16")):
        tensor.external_data.add(key=key, value=value)
    graph = helper.make_graph([], "g", [], [], [tensor])
    (seen,) = stored_tensors(memoryview(helper.make_model(graph).SerializeToString()))
    assert seen.is_external
    assert seen.external == {"location": "w.bin", "offset": "8", "length": "16"}


@pytest.mark.parametrize("content", [
    b"", b"\x08", b"not a model", b"\x08\x07", b"\x3a\x00", b"\x08\x07\x3a\x7f", b"\xff" * 20,
    b"\x08\x07\x3a\x00\x00",
])  # fmt: skip
def test_what_is_no_model_is_refused(content: bytes) -> None:
    with pytest.raises(InvalidModelError):
        stored_tensors(memoryview(content))


def test_endless_nesting_is_not_followed() -> None:
    content = b"\x0a\x00"
    for _ in range(300):  # a graph in an attribute of a node in a graph, and so on
        content = b"\x32" + onnx_length(content)
        content = b"\x2a" + onnx_length(content)
        content = b"\x0a" + onnx_length(content)
    assert stored_tensors(memoryview(b"\x08\x07\x3a" + onnx_length(content))) == []


def onnx_length(content: bytes) -> bytes:
    size, groups = len(content), bytearray()
    while size > 127:
        groups.append(size & 127 | 128)
        size >>= 7
    return bytes(groups) + bytes([size]) + content

"""Reading tensors of a model file, those in external data files included."""

from __future__ import annotations

import mmap
import os
import sys
from collections.abc import Iterator
from math import prod
from pathlib import Path

import numpy as np
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto

from ocompress.errors import InvalidModelError, UsageError
from ocompress.io.named import is_folder, is_there
from ocompress.ir import DType
from ocompress.ir.strings import decoded
from ocompress.ir.tensors import read_tensor


class TensorReader:
    """Turns stored tensors into arrays; external data are mapped, not read.

    The mapped arrays stay valid when the file is replaced (as `save_model` does), though not
    when another program cuts it short in place.
    """

    def __init__(self, path: Path) -> None:
        """Read for the model at `path`; nothing outside its folder is opened."""
        self._model = path
        self._maps: dict[Path, memoryview] = {}

    def __call__(self, tensor: TensorProto) -> np.ndarray:
        """Return the tensor's array, read-only where it is mapped.

        Raises:
            InvalidModelError: If its external data are missing, too short, or elsewhere.
        """
        if tensor.data_location != TensorProto.EXTERNAL:
            return read_tensor(tensor)
        raw = self._raw(tensor)
        dtype = DType(tensor.data_type)
        if dtype.bits % 8 or sys.byteorder == "big":
            return read_tensor(_inside(tensor, raw))
        array = np.frombuffer(raw, dtype.numpy).reshape(tuple(tensor.dims))
        return array if array.flags.aligned else array.copy()

    def pull_in(self, tensor: TensorProto) -> None:
        """Move the external data of a tensor into it."""
        tensor.CopyFrom(_inside(tensor, self._raw(tensor)))

    def locate(self, tensor: TensorProto) -> Path:
        """Return the file a tensor's external data are in.

        Raises:
            InvalidModelError: If it is missing or not inside the model's folder.
        """
        return named_file(self._model, _entries(tensor).get("location", ""), tensor.name)

    def _raw(self, tensor: TensorProto) -> memoryview:
        content = self._content(self.locate(tensor))
        entries = _entries(tensor)
        needed = (prod(tensor.dims) * DType(tensor.data_type).bits + 7) // 8
        try:
            offset, length = int(entries.get("offset", 0)), int(entries.get("length", needed))
        except ValueError as error:
            msg = f"tensor {tensor.name!r} has an odd offset or length of external data: {error}"
            raise InvalidModelError(msg) from error
        if length != needed or offset < 0:
            msg = f"it declares {length} bytes at offset {offset}, its shape and type need {needed}"
            raise ValueError(msg)
        if offset + length > len(content):
            msg = (
                f"external data file {entries['location']!r} of {str(self._model)!r} is too "
                f"short: tensor {tensor.name!r} ends at byte {offset + length}, "
                f"the file at {len(content)}"
            )
            raise InvalidModelError(msg)
        return content[offset : offset + length]

    def _content(self, path: Path) -> memoryview:
        if path not in self._maps:
            try:
                with path.open("rb") as stream:
                    empty = os.fstat(stream.fileno()).st_size == 0
                    content = (
                        memoryview(b"")
                        if empty
                        else memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
                    )
            except OSError as error:
                msg = f"external data file {str(path)!r} cannot be read: {error.strerror}"
                raise InvalidModelError(msg) from error
            self._maps[path] = content
        return self._maps[path]


def check_file(path: Path) -> None:
    """Check that a model is a file with something in it.

    Raises:
        UsageError: If it is no file.
        InvalidModelError: If it is empty.
    """
    if is_folder(path):
        msg = f"model {str(path)!r} is a directory; name the .onnx file in it"
        raise UsageError(msg)
    if not is_there(path):
        msg = f"model {str(path)!r} does not exist; name an .onnx file"
        raise UsageError(msg)
    if not path.is_file():
        msg = f"model {str(path)!r} is not a regular file"
        raise UsageError(msg)
    if path.stat().st_size == 0:
        msg = f"{str(path)!r} is not an ONNX model: the file is empty"
        raise InvalidModelError(msg)


def named_file(model: Path, location: str, tensor: str) -> Path:
    """Return the external data file of a model that one of its tensors names.

    Raises:
        InvalidModelError: If it is missing or not inside the model's folder.
    """
    folder = model.parent.resolve()
    try:
        resolved = (folder / location).resolve()
        there = resolved.is_file()
    except (ValueError, OSError, RuntimeError) as error:  # a NUL, too long, links in a circle
        msg = (
            f"tensor {tensor!r} of {str(model)!r} wants data from {location!r}, "
            f"which is not a file name: {error}"
        )
        raise InvalidModelError(msg) from error
    outside = not resolved.is_relative_to(folder)
    if not location or Path(location).is_absolute() or outside:
        msg = (
            f"tensor {tensor!r} of {str(model)!r} wants data from {location!r}, "
            "outside the model's folder, which is refused; copy the data file next to the model"
        )
        raise InvalidModelError(msg)
    if not there:
        msg = (
            f"external data file {location!r} of {str(model)!r} is missing "
            f"(tensor {tensor!r} needs it)"
        )
        raise InvalidModelError(msg)
    return resolved


def stored_tensors(proto: ModelProto) -> Iterator[tuple[TensorProto, bool]]:
    """Iterate over every tensor of a file, with whether it is an initializer."""
    yield from _of_graph(proto.graph)
    for function in proto.functions:
        for node in function.node:
            yield from _of_node(node)


def _of_graph(graph: GraphProto) -> Iterator[tuple[TensorProto, bool]]:
    for tensor in graph.initializer:
        yield tensor, True
    for sparse in graph.sparse_initializer:
        yield sparse.values, True
        yield sparse.indices, True
    for node in graph.node:
        yield from _of_node(node)


def _of_node(node: NodeProto) -> Iterator[tuple[TensorProto, bool]]:
    for attribute in node.attribute:
        if attribute.type == AttributeProto.TENSOR:
            yield attribute.t, False
        elif attribute.type == AttributeProto.TENSORS:
            yield from ((t, False) for t in attribute.tensors)
        elif attribute.type == AttributeProto.GRAPH:
            yield from _of_graph(attribute.g)
        elif attribute.type == AttributeProto.GRAPHS:
            for graph in attribute.graphs:
                yield from _of_graph(graph)


def _entries(tensor: TensorProto) -> dict[str, str]:
    return {decoded(e.key): decoded(e.value) for e in tensor.external_data}


def _inside(tensor: TensorProto, raw: memoryview) -> TensorProto:
    copy = TensorProto()
    copy.CopyFrom(tensor)
    copy.ClearField("external_data")
    copy.ClearField("data_location")
    copy.raw_data = bytes(raw)
    return copy

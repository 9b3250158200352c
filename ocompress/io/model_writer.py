"""Writing ONNX files: atomic, streamed, with external data only where the format demands it."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import numpy as np
from onnx import GraphProto, TensorProto

from ocompress.errors import UsageError
from ocompress.io.archives import SUFFIX, stage_archive
from ocompress.io.atomic import Staging, staging
from ocompress.ir import Model, Value, to_proto, wire
from ocompress.ir.mapping import release
from ocompress.ir.strings import decoded
from ocompress.stopping import temporary_folder

LARGEST_FILE = 1_900_000_000
"""Bytes of weights above which a file would come near protobuf's limit of 2 GiB."""
_STREAM_ABOVE = 1 << 16
"""Bytes above which a tensor is written straight from its array."""
_EXTERNAL_ABOVE = 1 << 10
_PAGE, _WORD = 4096, 64
_GRAPH_FIELD, _INITIALIZER_FIELD, _RAW_FIELD = 7, 5, 9


def save_model(
    model: Model,
    path: str | Path,
    *,
    external: bool | None = None,
    keep: Iterable[Path] = (),
) -> bool:
    """Write a model in one step; a file that holds the same bytes already is left untouched.

    Args:
        model: What to write; must be sorted.
        path: Destination.
        external: Whether weights go to `NAME.data` beside it; by default only if the file would
            come near protobuf's limit of 2 GiB.
        keep: Files that must not be replaced, such as the data file of the input.

    Returns:
        Whether a file was touched.

    Raises:
        UsageError: If a file would replace one of `keep`.
        OutputError: If anything cannot be written; what was there before stays.
    """
    with staging(Path(path)) as stage:
        stage_model(model, stage, external=external, keep=keep)
        return stage.publish()


def stage_model(
    model: Model,
    stage: Staging,
    *,
    external: bool | None = None,
    keep: Iterable[Path] = (),
) -> None:
    """Write a model into a staging folder, where it can be loaded and judged before it counts.

    If the file's name ends in `.ocz`, it becomes an archive.

    Weights are streamed, so no second copy of them is made in memory. The bytes depend on the
    model and the file's name only.

    Args:
        model: What to write; must be sorted.
        stage: Where.
        external: As for `save_model`.
        keep: Files that must not be replaced.

    Raises:
        UsageError: If a file would replace one of `keep`.
        OutputError: If the disk refuses.
    """
    if stage.target.suffix == SUFFIX:
        _protect(stage.target, keep)
        with temporary_folder() as folder:
            inner = folder / f"{stage.target.stem}.onnx"
            save_model(model, inner, external=external)
            stage_archive(inner, stage)
        return
    if external is None:
        external = _total(model) > LARGEST_FILE
    if not external:
        _protect(stage.target, keep)
        with stage.open() as stream:
            _write(model, stream, _Inside(model))
        return
    name = f"{stage.target.name}.data"
    for path in (stage.target, stage.destination(name)):
        _protect(path, keep)
    with stage.open(name) as data, stage.open() as stream:
        proto = to_proto(model, _Outside(name, data))
        stream.write(proto.SerializeToString(deterministic=True))


class _Inside:
    """Stores large constants of the main graph as stubs whose bytes `_write` adds."""

    def __init__(self, model: Model) -> None:
        self._main = {id(v) for v in model.graph.written()}
        self.arrays: dict[str, np.ndarray] = {}

    def __call__(self, value: Value) -> TensorProto | None:
        if id(value) not in self._main or value.data is None:
            return None
        if _bytes(value) <= _STREAM_ABOVE:
            return None
        self.arrays[value.name] = value.data
        return TensorProto(dims=value.data.shape, data_type=int(value.dtype or 0))


class _Outside:
    """Writes constants to the data file as they are met, aligned for memory mapping."""

    def __init__(self, name: str, stream: BinaryIO) -> None:
        self._name = name
        self._stream = stream
        self._written: dict[int, int] = {}
        self._keep: list[np.ndarray] = []

    def __call__(self, value: Value) -> TensorProto | None:
        array = value.data
        if array is None or _bytes(value) <= _EXTERNAL_ABOVE:
            return None
        if id(array) not in self._written:  # shared constants are stored once
            alignment = _PAGE if array.nbytes > _STREAM_ABOVE else _WORD
            self._stream.write(b"\0" * (-self._stream.tell() % alignment))
            self._written[id(array)] = self._stream.tell()
            self._keep.append(array)
            self._stream.write(_view(array))
            release(array)
        tensor = TensorProto(dims=array.shape, data_type=int(value.dtype or 0))
        tensor.data_location = TensorProto.EXTERNAL
        entries = (self._name, str(self._written[id(array)]), str(array.nbytes))
        for key, text in zip(("location", "offset", "length"), entries, strict=True):
            tensor.external_data.add(key=key, value=text)
        return tensor


def _write(model: Model, stream: BinaryIO, store: _Inside) -> None:
    """Write the file field by field in canonical order, large tensors from their arrays."""
    proto = to_proto(model, store)
    if not store.arrays:
        stream.write(proto.SerializeToString(deterministic=True))
        return
    graph = GraphProto()
    graph.CopyFrom(proto.graph)
    proto.ClearField("graph")
    before, after = wire.split(proto, _GRAPH_FIELD)
    graph_before, graph_after = wire.split(graph, _INITIALIZER_FIELD)
    tensors = [_tensor_parts(t, store.arrays.get(decoded(t.name))) for t in graph.initializer]
    size = len(graph_before) + len(graph_after)
    size += sum(wire.field_size(_INITIALIZER_FIELD, _size(parts)) for parts in tensors)
    stream.write(before + wire.key(_GRAPH_FIELD, size) + graph_before)
    for parts in tensors:
        stream.write(wire.key(_INITIALIZER_FIELD, _size(parts)))
        stream.writelines(parts)
    stream.write(graph_after + after)


def _tensor_parts(tensor: TensorProto, array: np.ndarray | None) -> list[bytes | memoryview]:
    if array is None:
        return [tensor.SerializeToString(deterministic=True)]
    before, after = wire.split(tensor, _RAW_FIELD)
    return [before + wire.key(_RAW_FIELD, array.nbytes), _view(array), after]


def _size(parts: Iterable[bytes | memoryview]) -> int:
    return sum(len(p) for p in parts)


def _view(array: np.ndarray) -> memoryview:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data


def _total(model: Model) -> int:
    return sum(_bytes(v) for g in model.graph.graphs() for v in g.written())


def _bytes(value: Value) -> int:
    """Bytes of a constant that can be written straight from memory, 0 for all others."""
    if value.data is None or value.dtype is None or value.sparse is not None:
        return 0
    if value.data.dtype.kind in "OUST" or value.dtype.bits % 8 or sys.byteorder == "big":
        return 0
    return value.data.nbytes


def _protect(path: Path, keep: Iterable[Path]) -> None:
    for other in keep:
        if path.exists() and other.exists() and path.samefile(other):
            msg = (
                f"the output would replace {str(path)!r}, which the input model reads; "
                "choose another output name"
            )
            raise UsageError(msg)

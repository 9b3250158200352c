"""Reading ONNX files."""

from __future__ import annotations

import mmap
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import ModelProto, TensorProto

from ocompress.archive import is_archive
from ocompress.errors import InvalidModelError, UnsupportedModelError, UsageError
from ocompress.io.archives import unpacked
from ocompress.io.external import TensorReader, check_file, stored_tensors
from ocompress.ir import Model, from_proto
from ocompress.ir.onnx_api import NEWEST_OPSET, first_line
from ocompress.ir.schemas import check_attributes


def load_model(path: str | Path) -> Model:
    """Read a model; external weights are mapped read-only, so large ones cost no memory.

    A model in an archive is unpacked into a temporary folder for that.

    Raises:
        UsageError: If there is no such file.
        InvalidModelError: If it is not a whole ONNX model, or its external data are missing, too
            short, or outside its folder.
        UnsupportedModelError: If its IR version or opset is newer than this build knows.
    """
    path = Path(path)
    check_file(path)
    if not is_archive(path):
        return _loaded(path, repr(str(path)))
    with unpacked(path) as inner:
        return _loaded(inner, repr(str(path)))


def _loaded(path: Path, where: str) -> Model:
    return _built(_parse(path, where), where, TensorReader(path))


def model_from(proto: object) -> Model:
    """Build a model from an `onnx.ModelProto`, which is left as it is.

    Raises:
        UsageError: If it is something else.
        ModelError: As `load_model`; also if weights are in files, as those have to be loaded.
    """
    if not isinstance(proto, ModelProto):
        msg = (
            f"a model is a file, an onnx.ModelProto or an ocompress.Model, not {proto!r:.60} of "
            f"type {type(proto).__name__}"
        )
        raise UsageError(msg)
    copy = ModelProto()
    copy.CopyFrom(proto)
    where = "the model in memory"
    _check_proto(where, copy)
    for tensor, _ in stored_tensors(copy):
        if tensor.data_location == TensorProto.EXTERNAL:
            msg = (
                f"tensor {tensor.name!r} of the model is in a file of its own; load the model "
                "with its external data, or name its file"
            )
            raise InvalidModelError(msg)
    return _built(copy, where, None)


def _built(proto: ModelProto, where: str, reader: TensorReader | None) -> Model:
    try:
        for tensor, is_initializer in stored_tensors(proto):
            if reader and not is_initializer and tensor.data_location == TensorProto.EXTERNAL:
                reader.pull_in(tensor)
        model = from_proto(proto, reader) if reader else from_proto(proto)
        model.sort()
        model.verify()
        check_attributes(model)
    except InvalidModelError as error:
        text = str(error)
        if where in text:
            raise
        msg = f"{where} is not a valid model: {text}"
        raise InvalidModelError(msg) from error
    except (ValueError, TypeError, KeyError, IndexError, RecursionError) as error:
        msg = f"{where} is not a valid model: {first_line(error)}"
        raise InvalidModelError(msg) from error
    return model


def model_files(path: str | Path) -> list[Path]:
    """Return a model file and the external data files it reads, for dependency lists.

    An archive holds all of its files and is alone.

    Raises:
        UsageError: If there is no such file.
        InvalidModelError: If it is not an ONNX model.
    """
    path = Path(path)
    check_file(path)
    if is_archive(path):
        return [path]
    reader, found = TensorReader(path), {path: None}
    for tensor, _ in stored_tensors(_parse(path, repr(str(path)))):
        if tensor.data_location == TensorProto.EXTERNAL:
            location = reader.locate(tensor).relative_to(path.parent.resolve())
            found[path.parent / location] = None
    return list(found)


def _parse(path: Path, where: str) -> ModelProto:
    proto = ModelProto()
    try:
        with (
            path.open("rb") as stream,
            mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content,
            memoryview(content) as view,
        ):
            proto.ParseFromString(view)
    except DecodeError as error:
        msg = f"{where} is not an ONNX model, or is truncated: it does not parse"
        raise InvalidModelError(msg) from error
    except OSError as error:
        msg = f"model {where} cannot be read: {error.strerror}"
        raise UsageError(msg) from error
    _check_proto(where, proto)
    return proto


def _check_proto(where: str, proto: ModelProto) -> None:
    if not proto.HasField("graph") or not proto.ir_version:
        msg = f"{where} is not an ONNX model: it holds no graph or no IR version"
        raise InvalidModelError(msg)
    if proto.ir_version > onnx.IR_VERSION:
        msg = (
            f"{where} has IR version {proto.ir_version}, newer than the {onnx.IR_VERSION} "
            f"that onnx {onnx.__version__} knows; upgrade onnx and onnxruntime"
        )
        raise UnsupportedModelError(msg)
    for entry in proto.opset_import:
        if entry.domain in ("", "ai.onnx") and entry.version > NEWEST_OPSET:
            msg = (
                f"{where} has opset {entry.version}, newer than the {NEWEST_OPSET} that "
                f"onnx {onnx.__version__} knows; upgrade onnx and onnxruntime"
            )
            raise UnsupportedModelError(msg)

"""Archives of models: packed, unpacked, described, and run."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ocompress import io
from ocompress.archive import Archive, Piece
from ocompress.archive.wire import StoredTensor
from ocompress.coding.engine import can_compile
from ocompress.errors import ModelError, OutputError, UsageError
from ocompress.front import kinds
from ocompress.front.files import file_bytes
from ocompress.front.limits import unpacked_limit
from ocompress.io.archives import SUFFIX as ARCHIVE_SUFFIX
from ocompress.ir import DType
from ocompress.report.coded import CodedModel, CodedTensor
from ocompress.runtime import Session
from ocompress.stopping import temporary_folder

_LEVEL = 19
_SLOW, _QUICK = 1 << 17, 1 << 15
"""Bytes of a model above which coding takes many seconds without numba, and below which a figure
that nobody asked for is worth the wait."""
_MOST_SHOWN = 32 << 20
"""Bytes of a model above which nobody waits for a figure."""
_WITHOUT_ZSTD = "install the package zstandard to see the size of .onnx.zst"


def pack(model: str | Path, archive: str | Path, *, base: str | Path | None = None) -> bool:
    """Write an ONNX file, with its external data, into an archive that gives back every byte.

    Args:
        model: The model.
        archive: The archive.
        base: An archive of a similar model, such as the version before, that will be there when
            this one is read. Tensors of the same names are stored as changes of its own.

    Returns:
        Whether the archive was touched; one that holds the same bytes is left alone.

    Raises:
        UsageError: If there is no such model, it is an archive already, or the archive has another
            ending than `.ocz`, by which `optimize` knows archives.
        ModelError: If it is not an ONNX model.
        OutputError: If the archive cannot be written; what was there before stays.
    """
    source, output = kinds.file("model", model), kinds.file("archive", archive)
    old = _base(base)
    io.check_output(output, [*io.files_to_pack(source), *([old] if old else [])])
    if output.suffix != ARCHIVE_SUFFIX:
        msg = f"archive {str(output)!r} does not end in {ARCHIVE_SUFFIX}; name an .ocz file"
        raise UsageError(msg)
    return io.pack_model(source, output, old)


def unpack(
    archive: str | Path,
    model: str | Path,
    *,
    base: str | Path | None = None,
    max_size: float | str | None = None,
) -> list[Path]:
    """Write the files of an archive: the model as `model`, its external data beside it.

    Args:
        archive: The archive.
        model: The model.
        base: The archive that it is a change of, if it is one.
        max_size: The most bytes that the files may have in all, as a text with a unit
            (`"2GB"`); by default 1 GiB, or 256 times the archive if that is more.

    Returns:
        The files.

    Raises:
        UsageError: If there is no such archive, or a file would replace it.
        ModelError: If it is damaged, or its files are larger; nothing is written then.
        OutputError: If a file cannot be written; what was there before stays.
    """
    source, output = kinds.file("archive", archive), kinds.file("model", model)
    most = unpacked_limit(max_size)
    _check(source)
    old = _base(base)
    io.check_output(output, [source, *([old] if old else [])])
    return io.unpack_model(source, output, old, most=most)


def advice(size: int) -> str:
    """Return what makes coding a model of so many bytes faster, empty if nothing is missing."""
    if size < _SLOW or can_compile():
        return ""
    return "install the package numba (the extra `fast`) to code models a hundred times faster"


def load_archive(path: str | Path, *, threads: int = 1) -> Any:
    """Load the model of an archive into ONNX Runtime.

    Args:
        path: The archive.
        threads: Threads within an operator; 0 takes all cores.

    Returns:
        An `onnxruntime.InferenceSession` on the CPU.

    Raises:
        UsageError: If there is no such archive, or threads make no sense.
        ModelError: If it is damaged.
        RuntimeFailureError: If ONNX Runtime cannot load the model.
    """
    source = kinds.file("path", path)
    _check(source)
    with io.unpacked(source) as model:
        return Session(model, threads=kinds.whole("threads", threads), as_deployed=True).raw


def describe(path: str | Path, *, base: str | Path | None = None) -> CodedModel:
    """Return what is in an archive, after checking that all of it comes back.

    Args:
        path: The archive.
        base: The archive that it is a change of, if it is one.

    Raises:
        UsageError: If there is no such archive.
        ModelError: If it is damaged.
    """
    source = kinds.file("path", path)
    _check(source)
    old = _base(base)
    archive = Archive(source, Archive(old) if old else None)
    zst = _zst(archive)
    return CodedModel(
        source=str(source),
        files={file.name: file.size for file in archive.files},
        archive=len(archive.content),
        zst=zst,
        tensors=tuple(_coded(archive, t, pieces) for t, pieces in _each_once(archive)),
        remark="" if zst is not None else _WITHOUT_ZSTD,
    )


def in_archive(path: Path) -> CodedModel | None:
    """Return what an archive of a model holds, or an archive itself.

    Args:
        path: A model, or an archive.

    Returns:
        None for a model that takes long to code, or where no temporary file has room.
    """
    size = file_bytes(path)
    if size > (_MOST_SHOWN if can_compile() else _QUICK):
        return None
    if io.is_archive(path):
        return describe(path)
    with contextlib.suppress(OutputError, OSError), temporary_folder() as folder:
        archive = folder / f"model{ARCHIVE_SUFFIX}"
        io.pack_model(path, archive)
        return describe(archive)
    return None


def _base(path: str | Path | None) -> Path | None:
    if path is None:
        return None
    found = kinds.file("base", path)
    _check(found)
    return found


def _check(path: Path) -> None:
    if not io.is_file(path):
        what = "is a directory" if io.is_folder(path) else "does not exist"
        msg = f"archive {str(path)!r} {what}; name an .ocz file"
        raise UsageError(msg)
    if not io.is_archive(path):
        with contextlib.suppress(ModelError):  # what is neither is told where archives are read
            io.model_files(path)
            msg = f"{str(path)!r} is an ONNX model and no archive; ocompress pack makes one of it"
            raise UsageError(msg)


def _each_once(archive: Archive) -> Iterator[tuple[StoredTensor, list[Piece]]]:
    """Yield tensors and their pieces; of several that share some, the first."""
    seen: set[int] = set()
    for tensor, pieces in archive.tensors:
        places = {piece.at for piece in pieces}
        if seen.isdisjoint(places):
            seen |= places
            yield tensor, pieces


def _coded(archive: Archive, tensor: StoredTensor, pieces: Iterable[Piece]) -> CodedTensor:
    pieces = list(pieces)
    size = sum(p.size for p in pieces)
    dtype = DType(tensor.dtype) if tensor.dtype in set(DType) else DType.UNDEFINED
    forms = dict.fromkeys(p.node.described() for p in pieces)
    return CodedTensor(
        name=tensor.name,
        dtype=dtype.name.lower(),
        shape=tuple(tensor.dims),
        form=" + ".join(forms),
        elements=size * 8 // dtype.bits if dtype is not DType.UNDEFINED else size,
        bytes=size,
        coded=sum(p.node.total for p in pieces),
        entropy=_entropy(archive, pieces),
    )


def _entropy(archive: Archive, pieces: Iterable[Piece]) -> float:
    """Return the bits of an element, were each coded by how often its like occurs."""
    found = [
        np.unique(np.frombuffer(archive.piece(p), f"<u{p.node.width}"), return_counts=True)
        for p in pieces
    ]
    values = np.concatenate([v.astype(np.uint64) for v, _ in found])
    _, which = np.unique(values, return_inverse=True)
    counts = np.bincount(which, np.concatenate([c for _, c in found]))
    share = counts / counts.sum()
    return abs(float((share * np.log2(share)).sum()))


def _zst(archive: Archive) -> int | None:
    """Check every file, and return their bytes when compressed by zstd; None without zstandard."""
    try:
        zstandard = importlib.import_module("zstandard")
    except ImportError:
        zstandard = None
    total = 0
    for file in archive.files:
        if zstandard is None:
            archive.check_file(file)
            continue
        counted = _Counted(zstandard.ZstdCompressor(level=_LEVEL).compressobj(size=file.size))
        archive.write_file(file, counted)
        total += counted.end()
    return total if zstandard is not None else None


class _Counted:
    """Counts the bytes of what is written once it is compressed, and keeps none of them."""

    def __init__(self, compressor: Any) -> None:
        self._compressor, self._bytes = compressor, 0

    def write(self, part: bytes, /) -> None:
        """Compress a part."""
        self._bytes += len(self._compressor.compress(part))

    def end(self) -> int:
        """Return the bytes of all parts."""
        return self._bytes + len(self._compressor.flush())

"""Models in archives: packing files into one, and getting them back."""

from __future__ import annotations

import contextlib
import math
import mmap
import shutil
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from ocompress.archive import Archive, SourceFile, is_archive, write_archive
from ocompress.archive.cuts import inside, outside
from ocompress.archive.wire import StoredTensor, stored_tensors
from ocompress.errors import InvalidModelError, OutputError, UnsupportedModelError, UsageError
from ocompress.io.atomic import Staging, check_outputs, staging
from ocompress.io.external import check_file, named_file
from ocompress.ir.mapping import release
from ocompress.stopping import temporary_folder

SUFFIX = ".ocz"
"""Ends the names of archives."""


def pack_model(model: Path, output: Path, base: Path | None = None) -> bool:
    """Write a model file, with its external data, into an archive that gives back every byte.

    Args:
        model: An ONNX file.
        output: The archive.
        base: An archive of a similar model, that will be there when this one is read.

    Returns:
        Whether a file was touched; one that holds the same bytes is left alone.

    Raises:
        UsageError: If the model is no file, or is an archive already.
        InvalidModelError: If it is no ONNX model, or its external data are missing.
        OutputError: If the archive cannot be written; what was there before stays.
    """
    with staging(output) as stage:
        stage_archive(model, stage, base)
        return stage.publish()


def stage_archive(model: Path, stage: Staging, base: Path | None = None) -> None:
    """Write a model file and its external data into a staged archive, and check what it gives back.

    Raises:
        InvalidModelError: As `pack_model`.
        OutputError: If the disk refuses.
    """
    sources = list(_sources(model))
    old = Archive(base) if base is not None else None
    with stage.open() as stream:
        write_archive(stream, sources, old.old_tensors() if old else None)
    archive = Archive(stage.path, old, most=math.inf)
    for file in archive.files:
        archive.check_file(file)


def unpack_model(
    archive: Path, output: Path, base: Path | None = None, *, most: float | None = None
) -> list[Path]:
    """Write the files of an archive, the model as `output`, external data beside it.

    Args:
        archive: The archive.
        output: The model.
        base: The archive that it is a change of, if it is one.
        most: Bytes that the files may have in all; None is 1 GiB, or 256 times the archive.

    Returns:
        The files.

    Raises:
        UsageError: If there is no such archive, or files would replace it or each other.
        InvalidModelError: If it is damaged; nothing is written then.
        UnsupportedModelError: If the files would be larger.
        OutputError: If a file cannot be written; what was there before stays.
    """
    opened = Archive(archive, Archive(base, most=most) if base is not None else None, most=most)
    with staging(output) as stage:
        _check_room(opened, stage.folder.parent)
        data = [stage.destination(file.name) for file in opened.files[1:]]
        check_outputs([output, *data], [archive])
        for file in opened.files:
            name = stage.target.name if file is opened.files[0] else file.name
            with stage.open(name) as stream:
                opened.write_file(file, stream)
        stage.publish()
    return [output, *data]


@contextlib.contextmanager
def unpacked(archive: Path) -> Iterator[Path]:
    """Yield the model file of an archive in a temporary folder, its external data beside it.

    Raises:
        UsageError: If there is no such archive.
        InvalidModelError: If it is damaged.
        UnsupportedModelError: If its files are larger than 1 GiB and 256 times the archive.
        OutputError: If the temporary folder has no room for them.
    """
    opened = Archive(archive)
    with temporary_folder() as folder:
        _check_room(opened, folder)
        try:
            for file in opened.files:
                with (folder / file.name).open("xb") as stream:
                    opened.write_file(file, stream)
        except OSError as error:
            msg = (
                f"{str(archive)!r} cannot be unpacked into the temporary folder {str(folder)!r}: "
                f"{error.strerror}; make room there, or name another one in TMPDIR"
            )
            raise OutputError(msg) from error
        yield folder / opened.files[0].name


def _check_room(archive: Archive, folder: Path) -> None:
    """Notice before any work that a disk is too small."""
    with contextlib.suppress(OSError):  # what writes there says it better
        free = shutil.disk_usage(folder).free
        if archive.size > free:
            msg = (
                f"{str(archive.path)!r} holds {archive.size / 1e6:.1f} MB, but only "
                f"{free / 1e6:.1f} MB are free in {str(folder)!r}; make room there"
            )
            raise OutputError(msg)


def files_to_pack(model: Path) -> list[Path]:
    """Return a model file and its external data files, of any version of ONNX.

    Raises:
        UsageError: If there is no such file, or it is an archive already.
        InvalidModelError: If it is no ONNX model, or its external data are missing.
        UnsupportedModelError: If these are in another folder.
    """
    locations = _locations(model, _scanned(model)[1])
    return [model, *(named_file(model, location, "") for location in locations)]


def _scanned(model: Path) -> tuple[memoryview, list[StoredTensor]]:
    check_file(model)
    if is_archive(model):
        msg = f"{str(model)!r} is an archive already; name an ONNX file, or unpack it first"
        raise UsageError(msg)
    content = _mapped(model)
    try:
        return content, stored_tensors(content)
    except InvalidModelError as error:
        msg = f"{str(model)!r} is not an ONNX model, or is truncated: {error}"
        raise InvalidModelError(msg) from error


def _sources(model: Path) -> Iterator[SourceFile]:
    content, tensors = _scanned(model)
    yield SourceFile(model.name, content, inside(tensors), partial(release, content))
    for location in _locations(model, tensors):
        data = _mapped(named_file(model, location, ""))
        cuts = outside(tensors, location, len(data))
        yield SourceFile(location, data, cuts, partial(release, data))


def _locations(model: Path, tensors: Sequence[StoredTensor]) -> list[str]:
    """Return the names of external data files, each once, in the order of their first tensor."""
    found: dict[str, None] = {}
    for tensor in tensors:
        if tensor.is_external:
            location = tensor.external.get("location", "")
            path = named_file(model, location, tensor.name)
            if path.parent != model.parent.resolve() or path.name != location:
                msg = (
                    f"tensor {tensor.name!r} of {str(model)!r} has its data in {location!r}, but "
                    "an archive holds files of one folder; save the model with its data beside it"
                )
                raise UnsupportedModelError(msg)
            found[location] = None
    return list(found)


def _mapped(path: Path) -> memoryview:
    try:
        with path.open("rb") as stream:
            if not path.stat().st_size:
                return memoryview(b"")
            return memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
    except OSError as error:
        msg = f"{str(path)!r} cannot be read: {error.strerror}"
        raise UsageError(msg) from error

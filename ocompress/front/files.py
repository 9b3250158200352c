"""Models from and to files."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from ocompress import io
from ocompress.errors import UsageError
from ocompress.front import kinds
from ocompress.front.trial import check_survival
from ocompress.io import Staging, staging
from ocompress.ir import Model
from ocompress.stopping import temporary_folder

PathLike: TypeAlias = str | os.PathLike[str]
"""The name of a file."""


class ModelProto(Protocol):
    """An `onnx.ModelProto`, which only the room that reads models knows by its class."""

    graph: Any
    ir_version: int


ModelLike: TypeAlias = Model | PathLike | ModelProto
"""What `as_model` takes."""


def files_read(others: Sequence[Path], model: ModelLike, output: Path | None) -> list[Path]:
    """Return the files that are read, which results must not replace.

    Args:
        others: Those beside the model's.
        model: The model.
        output: Where a result goes, None for nowhere.

    Raises:
        UsageError: If the output would replace one.
    """
    files = [*others]
    if isinstance(model, str | os.PathLike):
        files += io.model_files(os.fspath(model))
    if output is not None:
        io.check_output(output, files)
    return files


def load(path: ModelLike) -> Model:
    """Read an ONNX model, or an `onnx.ModelProto`; external weights are mapped, not read.

    Raises:
        UsageError: If there is no such file.
        ModelError: If it is not a whole, supported ONNX model.
    """
    return as_model(path)[0]


def save(model: ModelLike, path: str | Path, *, external_data: bool | None = None) -> bool:
    """Write a model in one step.

    Args:
        model: What to write.
        path: Destination.
        external_data: Whether weights go to `NAME.data` beside it; by default only if the file
            would come near 2 GiB.

    Returns:
        Whether the file was touched; one that holds the same bytes is left alone.

    Raises:
        OutputError: If it cannot be written; what was there before stays.
    """
    written, _ = as_model(model)
    written.sort()
    written.verify()
    external = kinds.truth("external_data", external_data, optional=True)
    return io.save_model(written, kinds.file("path", path), external=external)


def as_model(model: ModelLike) -> tuple[Model, Path | None]:
    """Return a model and the file it is in, None if it is in memory only.

    Raises:
        UsageError: If it is neither a file that there is, nor a model.
        ModelError: If it cannot be used, or ONNX Runtime crashes on it.
    """
    if isinstance(model, Model):
        return model, None
    if isinstance(model, str | os.PathLike):
        loaded = io.load_model(os.fspath(model))
        check_survival(loaded)
        return loaded, Path(model)
    return io.model_from(model), None


def file_bytes(path: Path) -> int:
    """Return the size of a model file and the data files it reads, bytes."""
    return sum(p.stat().st_size for p in io.model_files(path))


@contextlib.contextmanager
def stage_beside(output: Path | None) -> Iterator[Staging]:
    """Stage beside the output, or in a temporary folder if there is none."""
    if output is not None:
        with staging(output) as stage:
            yield stage
        return
    with temporary_folder() as folder, staging(folder / "model.onnx") as stage:
        yield stage


def cmake_folder() -> Path:
    """Return the folder with `ocompress.cmake`: in the package, or beside it in a checkout.

    Raises:
        UsageError: If this installation has none.
    """
    package = Path(str(resources.files("ocompress")))
    for folder in (package / "cmake", package.parent / "cmake"):
        if (folder / "ocompress.cmake").is_file():
            return folder
    msg = "this installation of ocompress has no CMake module; install it from its wheel"
    raise UsageError(msg)


def older_than(files: Sequence[Path]) -> float | None:
    """Return a time at which a result is older than all it was made from, None if that is none."""
    times = [f.stat().st_mtime for f in files if f.exists()]
    return min(times) - 1 if times else None

"""Models from and to files."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from ocompress import io
from ocompress.io import Staging, staging
from ocompress.ir import Model
from ocompress.stopping import temporary_folder


def load(path: str | Path) -> Model:
    """Read an ONNX model; external weights are mapped, not read.

    Raises:
        UsageError: If there is no such file.
        ModelError: If it is not a whole, supported ONNX model.
    """
    return io.load_model(path)


def save(model: Model, path: str | Path, *, external_data: bool | None = None) -> bool:
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
    model.sort()
    model.verify()
    return io.save_model(model, path, external=external_data)


def as_model(model: Model | str | Path) -> tuple[Model, Path | None]:
    """Return a model and the file it is in, None if it is in memory only."""
    if isinstance(model, Model):
        return model, None
    return io.load_model(model), Path(model)


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

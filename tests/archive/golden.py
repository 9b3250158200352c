"""Archives that decoders of today and tomorrow have to read; `python -m tests.archive.golden`.

They are written once for a version of the format. An encoder may write others, but what is there
stays.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper

from ocompress.archive import Archive, SourceFile, write_archive
from ocompress.archive.cuts import inside
from ocompress.archive.wire import stored_tensors
from tests.archive.samples import PIECES, changed_model, small_model

FOLDER = Path(__file__).parent / "golden"
BASE = FOLDER / "several-tensors.ocz"
CHANGE = FOLDER / "change-of-several-tensors.ocz"


def model_of(array: np.ndarray, dtype: int, columns: int) -> bytes:
    """Return a model with one tensor of these bytes."""
    elements = array.size * (2 if dtype in (TensorProto.UINT4, TensorProto.INT4) else 1)
    dims = [elements // columns, columns] if columns > 1 else [elements]
    tensor = TensorProto(
        name="w", data_type=dtype or TensorProto.UINT8, dims=dims, raw_data=array.tobytes()
    )
    return bytes(
        helper.make_model(helper.make_graph([], "g", [], [], [tensor])).SerializeToString()
    )


def archive_of(content: bytes, base: Archive | None = None) -> bytes:
    """Return the archive of a model file, as a change of another one if that is given."""
    view, stream = memoryview(content), io.BytesIO()
    sources = [SourceFile("m.onnx", view, inside(stored_tensors(view)))]
    write_archive(stream, sources, base.old_tensors() if base else None)
    return stream.getvalue()


def opened(path: Path) -> Archive:
    """Open one of the archives."""
    return Archive(path, Archive(BASE) if path == CHANGE else None)


def main() -> None:
    """Write those that are missing."""
    FOLDER.mkdir(exist_ok=True)
    models = {"several tensors": small_model()}
    for name, make in PIECES.items():
        array, plan, _ = make()
        models[name] = model_of(array, plan.dtype, plan.columns)
    for name, content in models.items():
        path = FOLDER / f"{name.replace(' ', '-').replace(',', '')}.ocz"
        if not path.exists():
            path.write_bytes(archive_of(content))
    if not CHANGE.exists():
        CHANGE.write_bytes(archive_of(changed_model(), Archive(BASE)))


if __name__ == "__main__":
    main()

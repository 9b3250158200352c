"""Files that workers of other machines need, as parcels."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from ocompress.io import is_there, model_files
from ocompress.workers import Parcel

FILES = ("model", "data", "labels", "eval_data", "preprocess", "recipe", "student")
"""Settings that may name files which are read."""


def parcels_of(settings: Mapping[str, object]) -> list[tuple[str, Parcel]]:
    """Return the files that settings name, by the setting."""
    found = []
    for name in FILES:
        value = settings.get(name)
        if isinstance(value, str | os.PathLike) and is_there(value):
            path = Path(value)
            others = model_files(path) if path.suffix == ".onnx" else ()
            found.append((name, Parcel.of(path, others)))
    return found

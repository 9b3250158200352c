"""Labels from files of their own, or from beside the inputs in an archive."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ocompress.errors import DataError
from ocompress.io.arrays import ArraySource, open_npy, open_npz
from ocompress.io.named import is_file

KEYS = ("labels", "label")
"""Names of a label array in an archive."""


def from_archive(arrays: Mapping[str, ArraySource], inputs: set[str]) -> np.ndarray | None:
    """Return the label array of an archive, None if it has none or it is an input."""
    for key in KEYS:
        if key in arrays and key not in inputs:
            return arrays[key].whole()
    return None


def load_labels(path: Path) -> np.ndarray:
    """Read labels: `.npy`, `.npz` (`labels` or the only array), `.txt` (one a line) or `.csv`.

    In a `.csv` the column `labels` or `label` counts, without a header the last one.

    Raises:
        DataError: If the file is missing, of another kind, or holds no labels.
    """
    readers = {".npy": _npy, ".npz": _npz, ".txt": _text, ".csv": _csv}
    if not is_file(path):
        msg = f"labels {str(path)!r} do not exist; name a .npy, .npz, .csv or .txt file"
        raise DataError(msg)
    if path.suffix not in readers:
        msg = f"labels {str(path)!r}: give a .npy, .npz, .csv or .txt file"
        raise DataError(msg)
    labels = readers[path.suffix](path)
    if not labels.size or not labels.ndim:
        msg = f"labels {str(path)!r} are empty"
        raise DataError(msg)
    if labels.dtype.kind == "f" and not np.isfinite(labels).all():
        msg = f"labels {str(path)!r} hold NaN or infinity"
        raise DataError(msg)
    return labels


def _npy(path: Path) -> np.ndarray:
    return open_npy(path).whole()


def _npz(path: Path) -> np.ndarray:
    arrays = open_npz(path)
    found = from_archive(arrays, set())
    if found is not None:
        return found
    if len(arrays) != 1:
        msg = f"labels {str(path)!r} hold {', '.join(arrays) or 'nothing'}; name one of them labels"
        raise DataError(msg)
    return next(iter(arrays.values())).whole()


def _text(path: Path) -> np.ndarray:
    return _column(path, [line.split() for line in _lines(path) if line.strip()])


def _csv(path: Path) -> np.ndarray:
    rows = [row for row in csv.reader(_lines(path)) if row]
    header = [cell.strip().lower() for cell in rows[0]] if rows else []
    named = [header.index(key) for key in KEYS if key in header]
    if named:
        rows = [[row[named[0]]] for row in rows[1:] if len(row) > named[0]]
    return _column(path, rows)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        msg = f"labels {str(path)!r} cannot be read: {error}"
        raise DataError(msg) from error


def _column(path: Path, rows: list[list[str]]) -> np.ndarray:
    texts = [row[-1].strip() for row in rows]
    try:
        return np.array([int(t) for t in texts], np.int64)
    except ValueError:
        pass
    try:
        return np.array([float(t) for t in texts], np.float64)
    except ValueError as error:
        msg = f"labels {str(path)!r} are not numbers: {error}"
        raise DataError(msg) from error

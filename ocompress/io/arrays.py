"""Arrays in `.npy` and `.npz` files, read a few rows at a time and never unpickled."""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

import numpy as np

from ocompress.errors import DataError

DAMAGED = (
    OSError, EOFError, ValueError, KeyError, OverflowError, RuntimeError, NotImplementedError,
    struct.error, zlib.error, zipfile.BadZipFile,
)  # fmt: skip
"""What reading a damaged archive may raise."""


class ArraySource(Protocol):
    """An array that can be read in order, any number of times."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Extents of the whole array."""
        ...

    @property
    def dtype(self) -> np.dtype:
        """Element type."""
        ...

    def whole(self) -> np.ndarray:
        """Read all of it."""
        ...

    def rows(self, group: int, stop: int) -> Iterator[np.ndarray]:
        """Read axis 0 up to `stop` in groups; the last may be smaller."""
        ...


@dataclass(frozen=True, slots=True)
class HeldArray:
    """An array in memory."""

    array: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """Extents."""
        return tuple(self.array.shape)

    @property
    def dtype(self) -> np.dtype:
        """Element type."""
        return self.array.dtype

    def whole(self) -> np.ndarray:
        """Return the array."""
        return self.array

    def rows(self, group: int, stop: int) -> Iterator[np.ndarray]:
        """Cut axis 0 up to `stop` into groups."""
        for start in range(0, stop, group):
            yield self.array[start : min(start + group, stop)]


@dataclass(frozen=True, slots=True)
class TurnedArray:
    """An array whose rows lie along another axis than the first; it is read as a whole."""

    source: ArraySource
    axis: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Extents, that of the rows first."""
        shape = list(self.source.shape)
        return (shape.pop(self.axis), *shape)

    @property
    def dtype(self) -> np.dtype:
        """Element type."""
        return self.source.dtype

    def whole(self) -> np.ndarray:
        """Read all of it."""
        return np.moveaxis(self.source.whole(), self.axis, 0)

    def rows(self, group: int, stop: int) -> Iterator[np.ndarray]:
        """Cut the rows up to `stop` into groups."""
        return HeldArray(self.whole()).rows(group, stop)


@dataclass(frozen=True, slots=True)
class StoredArray:
    """An array in numpy's file format, alone or as a member of an archive, packed or not."""

    source: str
    open: Callable[[], AbstractContextManager[IO[bytes]]]
    shape: tuple[int, ...]
    dtype: np.dtype
    fortran: bool

    def whole(self) -> np.ndarray:
        """Read all of it."""
        count = int(np.prod(self.shape, dtype=np.int64))
        with self.open() as stream:
            _header(self.source, stream)
            flat = self._take(stream, count)
        return flat.reshape(self.shape, order="F" if self.fortran else "C")

    def rows(self, group: int, stop: int) -> Iterator[np.ndarray]:
        """Read axis 0 up to `stop` in groups, in one pass over the file."""
        if self.fortran and len(self.shape) > 1:  # columns come first: nothing to stream
            yield from HeldArray(self.whole()).rows(group, stop)
            return
        width = int(np.prod(self.shape[1:], dtype=np.int64))
        with self.open() as stream:
            _header(self.source, stream)
            for start in range(0, stop, group):
                count = min(group, stop - start)
                yield self._take(stream, count * width).reshape((count, *self.shape[1:]))

    def _take(self, stream: IO[bytes], count: int) -> np.ndarray:
        wanted = count * self.dtype.itemsize
        try:
            raw = stream.read(wanted)
        except DAMAGED as error:
            raise DataError(_damaged(self.source, error)) from error
        if len(raw) < wanted:
            raise DataError(_damaged(self.source, "it ends too early"))
        return np.frombuffer(raw, self.dtype)


@dataclass(frozen=True)
class PickedRows:
    """Some rows of an array, read in one pass over it."""

    source: ArraySource
    keep: np.ndarray
    """Which rows, bool [rows of the source]."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Extents."""
        return (int(self.keep.sum()), *self.source.shape[1:])

    @property
    def dtype(self) -> np.dtype:
        """Element type."""
        return self.source.dtype

    def whole(self) -> np.ndarray:
        """Read all of them."""
        kept: np.ndarray = self.source.whole()[: len(self.keep)][self.keep]
        return kept

    def rows(self, group: int, stop: int) -> Iterator[np.ndarray]:
        """Read the first `stop` of them in groups."""
        held: list[np.ndarray] = []
        count, left = 0, stop
        for start, piece in self._pieces(group):
            kept = piece[self.keep[start : start + len(piece)]][:left]
            held.append(kept)
            count, left = count + len(kept), left - len(kept)
            while count >= group:
                joined = np.concatenate(held)
                yield joined[:group]
                held, count = [joined[group:]], count - group
            if not left:
                break
        if count:
            yield np.concatenate(held)

    def _pieces(self, group: int) -> Iterator[tuple[int, np.ndarray]]:
        last = int(np.flatnonzero(self.keep)[-1]) + 1
        start = 0
        for piece in self.source.rows(group, last):
            yield start, piece
            start += len(piece)


def picked(source: ArraySource, keep: np.ndarray, axis: int = 0) -> ArraySource:
    """Return some rows of an array.

    Args:
        source: The array.
        keep: Which, bool [rows]; what lies behind its end is left out.
        axis: Axis of the rows; along another than the first the array is read as a whole.
    """
    if isinstance(source, HeldArray) or axis:
        return HeldArray(np.compress(keep, source.whole(), axis))
    own = getattr(source, "picked", None)  # pictures need not be decoded to be left out
    return PickedRows(source, keep) if own is None else own(keep)


def open_npy(path: Path) -> StoredArray:
    """Read the header of a `.npy` file.

    Raises:
        DataError: If it is damaged or holds pickled objects.
    """
    return _stored(str(path), lambda: path.open("rb"))


def open_npz(path: Path) -> dict[str, StoredArray]:
    """Read the headers of all arrays of a `.npz` file.

    Raises:
        DataError: If it is damaged or holds pickled objects.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = [n for n in archive.namelist() if n.endswith(".npy")]
    except DAMAGED as error:
        raise DataError(_damaged(str(path), error)) from error
    return {
        name.removesuffix(".npy"): _stored(
            f"{path}:{name}",
            lambda name=name: _Member(path, name),  # type: ignore[misc]
        )
        for name in names
    }


class _Member:
    """Opens one member of an archive, on an archive handle of its own."""

    def __init__(self, path: Path, name: str) -> None:
        self._path, self._name = path, name

    def __enter__(self) -> IO[bytes]:
        self._archive = zipfile.ZipFile(self._path)
        self._stream = self._archive.open(self._name)
        return self._stream

    def __exit__(self, *_: object) -> None:
        self._stream.close()
        self._archive.close()


def _stored(source: str, opener: Callable[[], AbstractContextManager[IO[bytes]]]) -> StoredArray:
    try:
        with opener() as stream:
            shape, fortran, dtype = _header(source, stream)
    except DAMAGED as error:
        raise DataError(_damaged(source, error)) from error
    return StoredArray(source, opener, shape, dtype, fortran)


def _header(source: str, stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    try:
        version = np.lib.format.read_magic(stream)
        read = {  # version 3 exists for structured arrays only
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }.get(version)
        shape, fortran, dtype = read(stream) if read is not None else ((), False, np.dtype("O"))
    except Exception as error:  # numpy evaluates the header, and raises what that brings
        raise DataError(_damaged(source, error)) from error
    if dtype.hasobject:
        msg = f"data {source!r} hold pickled objects, which are never loaded; save plain arrays"
        raise DataError(msg)
    return shape, fortran, dtype


def _damaged(source: str, why: object) -> str:
    text = str(why).splitlines() or [""]
    return f"data {source!r} cannot be read: {text[0]}"

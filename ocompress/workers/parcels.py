"""Files that travel to workers, found there by their content."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ocompress.stopping import folder_for

_ENTRY = "content"


@dataclass(frozen=True)
class Parcel:
    """Files below a folder, by relative name.

    Attributes:
        main: Relative name of the file that is meant, or an empty text for the whole folder.
        files: Relative names and contents, in order.
        key: SHA-256 of all that, in hexadecimal.
    """

    main: str
    files: tuple[tuple[str, bytes], ...]
    key: str

    @staticmethod
    def of(main: Path, others: Iterable[Path] = ()) -> Parcel:
        """Read a file with those that belong to it, or all of a folder.

        Args:
            main: The file or folder.
            others: Files below the folder of the file that it names, as weights beside a model.

        Raises:
            OSError: If one cannot be read.
        """
        if main.is_dir():
            root, name = main, ""
            paths = sorted(path for path in main.rglob("*") if path.is_file())
        else:
            root, name = main.parent, main.name
            paths = sorted({main, *others})
        files = tuple((p.relative_to(root).as_posix(), p.read_bytes()) for p in paths)
        total = hashlib.sha256(name.encode())
        for relative, content in files:
            total.update(f"\n{relative}\n{len(content)}\n".encode())
            total.update(content)
        return Parcel(name, files, total.hexdigest())

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(len(content) for _, content in self.files)


class _Shelf:
    """Where a worker keeps parcels while it lives."""

    folder: Path | None = None


def unpacked(parcel: Parcel) -> Path:
    """Return where a parcel's file or folder lies on this machine, written at the first call."""
    if _Shelf.folder is None:
        _Shelf.folder = folder_for(_Shelf)
    home = _Shelf.folder / parcel.key
    if not home.exists():
        making = _Shelf.folder / f"{parcel.key}.part"
        for relative, content in parcel.files:
            path = making / _ENTRY / relative
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        making.rename(home)
    return home / _ENTRY / parcel.main

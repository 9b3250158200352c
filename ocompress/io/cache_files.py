"""Files that are kept for later runs: of a bounded folder, which many processes may share."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ocompress.errors import OutputError
from ocompress.io.atomic import atomic_write

_NAME = re.compile(r"[0-9a-f]{64}")
_KEPT = 0.75
"""Part of the most that stays when the rest makes room."""
_FOREIGN = 0o022
"""Permissions of others to write."""


@dataclass
class CacheFiles:
    """Contents by what they depend on, each in a file of its own.

    Files are written in one step, so that no reader sees a part. Once they are too many, or too
    large together, those go that were not read or written for longest. Other files of the folder
    are left alone.

    Attributes:
        folder: Where the files are; made with the first of them.
        suffix: What their names end with, the dot included.
        most_bytes: Bytes of all of them, at most.
        most_files: How many there are, at most.
    """

    folder: Path
    suffix: str
    most_bytes: int
    most_files: int = 20_000
    _room: tuple[int, int] | None = field(default=None, init=False)
    """Bytes and files that may be written before the folder is looked at again."""

    def path(self, key: Hashable) -> Path:
        """Return where the content of a key is, found by its text."""
        return self.folder / f"{hashlib.sha256(repr(key).encode()).hexdigest()}{self.suffix}"

    def read(self, key: Hashable, *, own: bool = False) -> bytes | None:
        """Return what is kept; None if nothing is.

        Args:
            key: What it depends on.
            own: Whether only this user may have written it.
        """
        path = self.path(key)
        try:
            with path.open("rb") as file:
                if own and not _is_own(os.fstat(file.fileno())):
                    return None
                content = file.read()
            os.utime(path)  # what is used stays
        except OSError:
            return None
        return content

    def write(self, key: Hashable, content: bytes) -> bool:
        """Keep something; False if that fails, which costs later runs time and nothing else."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            atomic_write(self.path(key), content)
        except (OutputError, OSError):
            return False
        self._make_room(len(content))
        return True

    def _make_room(self, written: int) -> None:
        """Count what was written, and look at the folder if it may hold too much.

        Others write, too: each looks after a tenth of the most was written by itself.
        """
        if self._room is not None:
            self._room = self._room[0] - written, self._room[1] - 1
            if min(self._room) > 0:
                return
        files = sorted(self._files(), reverse=True)  # the last used first
        total, count = sum(size for _, size, _ in files), len(files)
        if total > self.most_bytes or count > self.most_files:
            while files and (
                total > _KEPT * self.most_bytes or len(files) > _KEPT * self.most_files
            ):
                _, size, path = files.pop()
                total -= size
                with contextlib.suppress(OSError):  # another process makes room as well
                    path.unlink()
        left = self.most_bytes - total, self.most_files - len(files)
        self._room = min(left[0], self.most_bytes // 10), min(left[1], self.most_files // 10)

    def _files(self) -> Iterator[tuple[int, int, Path]]:
        """Yield when each of our files was used last, nanoseconds, its bytes, and where it is."""
        with contextlib.suppress(OSError), os.scandir(self.folder) as found:
            for entry in found:
                name, dot, suffix = entry.name.partition(".")
                if f"{dot}{suffix}" == self.suffix and _NAME.fullmatch(name):
                    with contextlib.suppress(OSError):  # gone meanwhile
                        known = entry.stat()
                        yield known.st_mtime_ns, known.st_size, Path(entry.path)


def _is_own(found: os.stat_result) -> bool:
    own = getattr(os, "getuid", None)
    return own is None or (found.st_uid == own() and not found.st_mode & _FOREIGN)

"""Writing files so that a reader sees the old content or the new, never a part of either."""

from __future__ import annotations

import contextlib
import filecmp
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from ocompress import stopping
from ocompress.errors import OutputError, UsageError
from ocompress.io.named import can_be, is_there
from ocompress.ir.strings import readable

_SHOWN = 40
"""Characters of a name that its hidden folder has, too; with more a long name had no room."""


class Staging:
    """A hidden folder beside the destination where files are made under their final names.

    Nothing at the destination changes until `publish`; leaving the folder behind unpublished, in
    any way, removes it. Use `staging` to make one.
    """

    def __init__(self, path: Path) -> None:
        """Choose the folder; nothing is created yet.

        Args:
            path: Destination of the main file. A link is followed, so that what it points to is
                replaced.
        """
        self.target = path.resolve() if path.is_symlink() else path
        name = f".{self.target.name[:_SHOWN]}.{secrets.token_hex(4)}.tmp"
        self.folder = self.target.with_name(name)

    @property
    def path(self) -> Path:
        """Where to make the main file."""
        return self.folder / self.target.name

    def destination(self, name: str) -> Path:
        """Return where a file of the folder goes."""
        return self.target.with_name(name)

    @contextlib.contextmanager
    def open(self, name: str = "") -> Iterator[BinaryIO]:
        """Open a file of the folder for writing, by default the main one.

        Its content reaches the disk before this returns.

        Raises:
            OutputError: If the disk refuses.
        """
        name = name or self.target.name
        try:
            with (self.folder / name).open("xb") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise OutputError(failure(self.destination(name), error)) from error

    def clear(self) -> None:
        """Remove what was made in the folder, so that it can be made again."""
        for path in self.folder.iterdir():
            path.unlink()

    def publish(self, *, touch: bool = False, date: float | None = None) -> bool:
        """Move every file to its destination, the main one last.

        If a move fails, those made before it are taken back.

        Args:
            touch: Whether files that are there already with the same bytes get a new time of
                change, which is what build tools look at; else they are left alone.
            date: The time of change of all files, seconds since 1970; None is now.

        Returns:
            Whether any bytes are new.

        Raises:
            OutputError: If a move fails; everything is as it was.
        """
        with stopping.publishing:
            return self._publish(touch, date)

    def _publish(self, touch: bool, date: float | None) -> bool:
        times = None if date is None else (date, date)
        others = sorted(p.name for p in self.folder.iterdir() if p.name != self.target.name)
        moved: list[str] = []
        backup = self.folder / ".replaced"
        try:
            backup.mkdir()
            for name in (*others, self.target.name):
                if _same(self.folder / name, self.destination(name)):
                    if touch or times:
                        os.utime(self.destination(name), times)
                else:
                    if times:
                        os.utime(self.folder / name, times)
                    _keep(self.destination(name), backup / name)
                    moved.append(name)
                    (self.folder / name).replace(self.destination(name))
            _sync_folder(self.target.parent)
        except BaseException as error:
            for name in moved:
                self._take_back(name, backup / name)
            if isinstance(error, OSError):
                raise OutputError(failure(self.target, error)) from error
            raise
        return bool(moved)

    def _take_back(self, name: str, old: Path) -> None:
        if old.exists():
            old.replace(self.destination(name))
        elif not (self.folder / name).exists():
            self.destination(name).unlink(missing_ok=True)


@contextlib.contextmanager
def staging(path: Path) -> Iterator[Staging]:
    """Make a staging folder for `path` and remove it at the end.

    Raises:
        UsageError: If no file can have its name.
        OutputError: If the folder of `path` cannot be written to.
    """
    _check_name(path)
    made = Staging(path)
    stopping.keep_track(made.folder)
    try:
        try:
            made.folder.mkdir()
        except OSError as error:
            raise OutputError(failure(path, error)) from error
        yield made
    finally:
        stopping.remove_folder(made.folder)


def atomic_write(path: Path, content: str | bytes, *, touch: bool = False) -> bool:
    """Replace a file's content in one step.

    Args:
        path: The file.
        content: What it shall hold.
        touch: Whether a file that holds it already gets a new time of change.

    Returns:
        Whether the content is new.

    Raises:
        OutputError: If it cannot be written; what was there before stays.
    """
    with staging(path) as stage:
        with stage.open() as stream:
            stream.write(readable(content).encode() if isinstance(content, str) else content)
        return stage.publish(touch=touch)


def check_output(path: Path, inputs: Iterable[Path] = ()) -> None:
    """Find out before the work starts whether `path` can be written.

    Args:
        path: Where a result shall go.
        inputs: Files that must survive.

    Raises:
        UsageError: If it is a folder, a device, one of the inputs, its folder is missing, or its
            name is too long.
        OutputError: If its folder cannot be written to.
    """
    _check_name(path)
    for source in inputs:
        if _is_same(path, source):
            msg = f"output {str(path)!r} is the same file as {str(source)!r}; choose another name"
            raise UsageError(msg)
    if path.is_dir():
        msg = f"output {str(path)!r} is a directory; name a file in it"
        raise UsageError(msg)
    if path.exists() and not path.is_file():
        msg = f"output {str(path)!r} is not a regular file; choose another name"
        raise UsageError(msg)
    if not path.resolve().parent.is_dir():
        msg = f"the folder of output {str(path)!r} does not exist; create it first"
        raise UsageError(msg)
    with staging(path):
        pass


def check_outputs(paths: Iterable[Path | None], inputs: Iterable[Path]) -> None:
    """Find out whether several results can be written, each to a file of its own.

    Args:
        paths: Where results shall go; None is one that is not wanted.
        inputs: Files that must survive, or are written already.

    Raises:
        UsageError: As `check_output`, or if two results would go to one file.
        OutputError: As `check_output`.
    """
    taken = list(inputs)
    for path in paths:
        if path is not None:
            check_output(path, taken)
            taken.append(path)


def _check_name(path: Path) -> None:
    if not path.name or not can_be(path):
        msg = f"output {str(path)!r} is no name that a file can have; choose a shorter one"
        raise UsageError(msg)


def failure(path: Path, error: OSError) -> str:
    """Return the sentence that says why a file could not be written."""
    return f"cannot write {str(path)!r}: {error.strerror or error}"


def _is_same(path: Path, source: Path) -> bool:
    if is_there(path) and is_there(source):
        return path.samefile(source)
    return is_there(path) == is_there(source) and path.resolve() == source.resolve()


def _same(one: Path, other: Path) -> bool:
    return other.is_file() and filecmp.cmp(one, other, shallow=False)


def _keep(path: Path, backup: Path) -> None:
    """Give the present file a second name, and its permissions to the file that replaces it."""
    if not path.exists():
        return
    (backup.parent.parent / path.name).chmod(path.stat().st_mode & 0o7777)
    try:
        backup.hardlink_to(path)
    except OSError:  # a file system without hard links
        shutil.copy2(path, backup)


def _sync_folder(folder: Path) -> None:
    """Make a rename durable, where the system can."""
    with contextlib.suppress(OSError, AttributeError):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

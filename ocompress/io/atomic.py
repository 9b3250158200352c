"""Writing files so that a reader sees the old content or the new, never a part of either."""

from __future__ import annotations

import contextlib
import filecmp
import os
import secrets
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from ocompress.errors import OutputError, UsageError


class Staged:
    """A finished temporary file beside its destination, to be moved there or thrown away."""

    def __init__(self, path: Path) -> None:
        """Choose the temporary name; nothing is created yet.

        Args:
            path: Destination. A link is followed, so that what it points to is replaced.
        """
        self.path = path.resolve() if path.is_symlink() else path
        self.temporary = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}.tmp")

    @contextlib.contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """Open the temporary file for writing; it reaches the disk before this returns.

        Raises:
            OutputError: If the folder or the disk refuses.
        """
        try:
            with self.temporary.open("xb") as stream:
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
        except BaseException as error:
            self.discard()
            if isinstance(error, OSError):
                raise OutputError(failure(self.path, error)) from error
            raise

    def is_same(self) -> bool:
        """Whether the destination already holds these bytes."""
        return self.path.is_file() and filecmp.cmp(self.temporary, self.path, shallow=False)

    def commit(self) -> bool:
        """Move the file to its destination, unless that has the same bytes already.

        Returns:
            Whether the destination was touched; build tools look at its time of change.

        Raises:
            OutputError: If the move fails; the destination is as it was.
        """
        try:
            if self.is_same():
                return False
            if self.path.exists():
                self.temporary.chmod(self.path.stat().st_mode & 0o7777)
            self.temporary.replace(self.path)
            _sync_folder(self.path.parent)
        except OSError as error:
            raise OutputError(failure(self.path, error)) from error
        finally:
            self.discard()
        return True

    def discard(self) -> None:
        """Remove the temporary file if it is still there."""
        with contextlib.suppress(OSError):
            self.temporary.unlink()


def atomic_write(path: Path, content: str | bytes) -> bool:
    """Replace a file's content in one step; a file that holds it already is left untouched.

    Returns:
        Whether the file was touched.

    Raises:
        OutputError: If it cannot be written; what was there before stays.
    """
    staged = Staged(path)
    with staged.open() as stream:
        stream.write(content.encode() if isinstance(content, str) else content)
    return staged.commit()


def check_output(path: Path, inputs: Iterable[Path] = ()) -> None:
    """Find out before the work starts whether `path` can be written.

    Args:
        path: Where a result shall go.
        inputs: Files that must survive.

    Raises:
        UsageError: If it is a folder, a device, one of the inputs, or its folder is missing.
        OutputError: If its folder cannot be written to.
    """
    for source in inputs:
        if path.exists() and source.exists() and path.samefile(source):
            msg = f"output {str(path)!r} is the same file as an input; choose another name"
            raise UsageError(msg)
    if path.is_dir():
        msg = f"output {str(path)!r} is a directory; name a file in it"
        raise UsageError(msg)
    if path.exists() and not path.is_file():
        msg = f"output {str(path)!r} is not a regular file; choose another name"
        raise UsageError(msg)
    folder = path.resolve().parent
    if not folder.is_dir():
        msg = f"the folder of output {str(path)!r} does not exist; create it first"
        raise UsageError(msg)
    staged = Staged(path)
    with staged.open():
        pass
    staged.discard()


def failure(path: Path, error: OSError) -> str:
    """Return the sentence that says why a file could not be written."""
    return f"cannot write {str(path)!r}: {error.strerror or error}"


def _sync_folder(folder: Path) -> None:
    """Make a rename durable, where the system can."""
    with contextlib.suppress(OSError, AttributeError):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

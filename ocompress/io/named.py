"""What the names that users give stand for: one that is too long for a file stands for nothing."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path


def is_there(name: str | os.PathLike[str]) -> bool:
    """Return whether a name is that of anything."""
    return _asked(Path(name).exists)


def is_file(name: str | os.PathLike[str]) -> bool:
    """Return whether a name is that of a regular file."""
    return _asked(Path(name).is_file)


def is_folder(name: str | os.PathLike[str]) -> bool:
    """Return whether a name is that of a folder."""
    return _asked(Path(name).is_dir)


def can_be(name: str | os.PathLike[str]) -> bool:
    """Return whether a file may have a name: not if it is too long, or holds a NUL."""
    try:
        os.lstat(name)
    except ValueError:
        return False
    except OSError as error:
        return error.errno != errno.ENAMETOOLONG
    return True


def _asked(question: Callable[[], bool]) -> bool:
    """Answer a question about a name; of one that is too long, no."""
    try:
        return question()
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        return False

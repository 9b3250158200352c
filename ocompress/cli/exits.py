"""The one place where exceptions become exit codes and sentences."""

from __future__ import annotations

import errno
import functools
import os
import re
import sys
from collections.abc import Callable
from typing import ParamSpec

from ocompress.errors import OcompressError

P = ParamSpec("P")

DONE, OVER_BUDGET, USAGE, MODEL, FAILURE, INTERRUPTED, TERMINATED = 0, 1, 2, 3, 4, 130, 143
INTERRUPTION = "interrupted; nothing was written"
_SYSTEM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EMFILE)
"""Refusals of the system that the user can mend, wherever they come up."""

_LONGEST = 900
"""Characters of a sentence."""
_WORD = re.compile(r"(\S{40})\S{40,}(\S{40})")

_complaints: list[str] = []


class Terminated(KeyboardInterrupt):
    """SIGTERM; unwinds as an interrupt does."""


def mapped(command: Callable[P, int]) -> Callable[P, int]:
    """Make a command return an exit code whatever happens in it.

    With OCOMPRESS_DEBUG set, exceptions go through, with their traceback.
    """

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> int:
        try:
            return command(*args, **kwargs)
        except BrokenPipeError:
            _close_stdout()
            return DONE
        except BaseException as error:
            if os.environ.get("OCOMPRESS_DEBUG") or isinstance(error, SystemExit):
                raise
            code, sentence = describe(error)
            complain(sentence)
            return code

    return run


def describe(error: BaseException) -> tuple[int, str]:
    """Return the exit code of an exception and the sentence that says what happened."""
    if isinstance(error, OcompressError):
        return error.exit_code, one_line(str(error))
    signal = interrupt_in(error)
    if signal is not None:
        code = TERMINATED if isinstance(signal, Terminated) else INTERRUPTED
        return code, INTERRUPTION
    if isinstance(error, MemoryError):
        return FAILURE, (
            "there is not enough memory for this model and data; use fewer samples "
            "or a machine with more memory"
        )
    if isinstance(error, OSError) and error.errno in _SYSTEM:
        where = f": {error.filename!r}" if error.filename else ""
        return FAILURE, f"the operating system reported: {error.strerror}{where}"
    what = f"{type(error).__name__}: {one_line(str(error))}".rstrip(": ")
    return FAILURE, (
        f"unexpected {what}; this is a bug, please report it with the traceback that "
        "OCOMPRESS_DEBUG=1 shows"
    )


def interrupt_in(error: BaseException | None) -> KeyboardInterrupt | None:
    """Return the interrupt that it all began with; extension modules wrap one while they load."""
    found = None
    while error is not None:
        if isinstance(error, KeyboardInterrupt) and not isinstance(found, Terminated):
            found = error
        error = error.__cause__ or error.__context__
    return found


def complain(sentence: str) -> None:
    """Print one error on standard error."""
    _complaints.append(sentence)
    sys.stderr.write(f"error: {sentence}\n")
    sys.stderr.flush()


def complained() -> bool:
    """Whether this process has said what went wrong."""
    return bool(_complaints)


def flush() -> None:
    """Flush standard output; a reader that went away is no error."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _close_stdout()


def one_line(text: str) -> str:
    """Return a text as one line, in which names and quotations without end are cut."""
    line = " ".join(text.split())
    if len(line) > _LONGEST:
        line = _WORD.sub(r"\1[...]\2", line)
    if len(line) > _LONGEST:
        line = f"{line[: _LONGEST // 2]} [...] {line[-_LONGEST // 2 :]}"
    return line


def _close_stdout() -> None:
    """Keep the interpreter from complaining about the pipe when it exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)

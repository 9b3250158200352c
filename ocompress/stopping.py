"""Ending early: limits on time, what has to be stopped, and what must not be left behind.

ONNX Runtime holds the interpreter's attention while it runs a model, so that neither a limit nor a
signal would be noticed before it is done. What runs is therefore listed here with a way to stop it,
and another thread may do so.
"""

from __future__ import annotations

import contextlib
import math
import shutil
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType

from ocompress.errors import OptionError, TimeLimitError

RUN_SECONDS = 300.0
"""Time that one run of a model may take, unless the user says otherwise."""
_LOOK_SECONDS = 0.1
"""How often running models are looked at."""
_GRACE_SECONDS = 3.0
"""How long after the limit a model may take to notice that it is to stop: one operator's time."""

publishing = threading.Lock()
"""Held while results are moved to their places, which must not be cut off."""


class WatchedRun:
    """One run of a model, from `with` to its end, that another thread can stop.

    Raises:
        TimeLimitError: On leaving, if it was stopped because of the limit.
        KeyboardInterrupt: On leaving, if it was stopped because the process shall end.
    """

    __slots__ = ("_stop", "expired", "since", "stopped")

    def __init__(self, stop: Callable[[], None]) -> None:
        """Prepare; `stop` makes the run fail soon and may be called from any thread."""
        self._stop = stop
        self.since = 0.0
        self.expired = False
        self.stopped = False

    def __enter__(self) -> WatchedRun:
        """Begin."""
        self.since = time.monotonic()
        _running.add(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        """End; a failure that a stop caused becomes what caused the stop."""
        _running.discard(self)
        if self.stopped:
            raise KeyboardInterrupt from error
        if self.expired and error is not None:
            raise TimeLimitError(_overrun()) from error

    def stop(self, *, expired: bool = False) -> None:
        """Stop it, because of the limit or because the process shall end."""
        self.expired |= expired
        self.stopped |= not expired
        self._stop()


_running: set[WatchedRun] = set()
_limits: list[float] = []
_folders: set[Path] = set()
on_overrun: list[Callable[[str], None]] = []
"""What to call with a sentence if a run goes on long after it was stopped; a program may end."""


def stop_everything() -> None:
    """Stop every run of a model, as the process shall end."""
    for one in tuple(_running):
        one.stop()


# -- an early end ---------------------------------------------------------------------------


class EarlyEnd:
    """Whether long work, whose best so far is worth something, shall end.

    Attributes:
        is_asked: Whether somebody asked for it.
        is_noticed: Whether a program's watch has seen that.
    """

    def __init__(self) -> None:
        """Start with nobody having asked."""
        self.is_asked = False
        self.is_noticed = False


_ends: list[EarlyEnd] = []


@contextlib.contextmanager
def early_end() -> Iterator[EarlyEnd]:
    """Let the first interrupt of a program end the work inside, and not the program."""
    _ends.append(EarlyEnd())
    try:
        yield _ends[-1]
    finally:
        _ends.pop()


def ask_for_early_end() -> bool:
    """Ask for it; False if there is nothing to end early, or it was asked for before."""
    if not _ends or _ends[-1].is_asked:
        return False
    _ends[-1].is_asked = True
    return True


def notice_early_end() -> bool:
    """Whether an interrupt is one that asks for an early end; the watch of a program calls it."""
    if not _ends or _ends[-1].is_noticed:
        return False
    _ends[-1].is_noticed = True
    return True


# -- limits ---------------------------------------------------------------------------------


def check_limit(seconds: float) -> None:
    """Check a limit that a user gave.

    Raises:
        OptionError: If it makes no sense.
    """
    if not seconds >= 0:
        msg = f"timeout {seconds:g} must not be negative; it is the seconds that one run of the "
        msg += "model may take, 0 for no limit"
        raise OptionError(msg)


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Limit each run of a model inside the block, loading included.

    Args:
        seconds: The longest that a run may take; 0 is no limit.

    Raises:
        OptionError: If the limit makes no sense.
        TimeLimitError: If a run takes longer.
    """
    check_limit(seconds)
    done = threading.Event()
    _limits.append(seconds or math.inf)
    watch = threading.Thread(target=_watch, args=(done, _limits[-1]), daemon=True)
    if math.isfinite(_limits[-1]):
        watch.start()
    try:
        yield
    finally:
        done.set()
        _limits.pop()


def limit() -> float | None:
    """Return the present limit in seconds, None if there is none."""
    return _limits[-1] if _limits and math.isfinite(_limits[-1]) else None


def _watch(done: threading.Event, seconds: float) -> None:
    while not done.wait(min(_LOOK_SECONDS, seconds / 4)):
        now = time.monotonic()
        for one in tuple(_running):
            over = now - one.since - seconds
            if over > 0 and not one.expired:
                one.stop(expired=True)
            if over > _GRACE_SECONDS:
                for end in on_overrun:
                    end(_overrun())


def _overrun() -> str:
    seconds = _limits[-1] if _limits else RUN_SECONDS
    return (
        f"a run of the model took longer than {seconds:g} s and was stopped; raise the limit with "
        "--timeout, or use smaller inputs"
    )


# -- folders --------------------------------------------------------------------------------


def keep_track(folder: Path) -> None:
    """Note a temporary folder, so that it is removed even if the process is cut off."""
    _folders.add(folder)


def remove_folder(folder: Path) -> None:
    """Remove a temporary folder."""
    shutil.rmtree(folder, ignore_errors=True)
    _folders.discard(folder)


def folder_for(owner: object) -> Path:
    """Make a temporary folder that lives as long as `owner`."""
    folder = Path(tempfile.mkdtemp(prefix="ocompress-"))
    keep_track(folder)
    weakref.finalize(owner, remove_folder, folder)
    return folder


@contextlib.contextmanager
def temporary_folder() -> Iterator[Path]:
    """Make a temporary folder for the length of a block."""
    folder = Path(tempfile.mkdtemp(prefix="ocompress-"))
    keep_track(folder)
    try:
        yield folder
    finally:
        remove_folder(folder)


def remove_everything() -> None:
    """Remove every temporary folder of this process, which is about to be cut off."""
    for folder in tuple(_folders):
        remove_folder(folder)

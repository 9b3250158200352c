"""What tests have workers do; workers import it."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

from ocompress import stopping
from ocompress.errors import DataError
from ocompress.workers import Parcel, unpacked


def double(number: int) -> int:
    return 2 * number


def process_of(_: int) -> int:
    return os.getpid()


def fail(number: int) -> None:
    msg = f"{number} is wrong"
    raise DataError(msg)


def die_once(note: str) -> str:
    """Kill the worker at the first call, as a lack of memory does."""
    path = Path(note)
    if not path.exists():
        path.write_text("was here")
        os.kill(os.getpid(), signal.SIGKILL)
    return "done"


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def beside(folder: str, name: str, others: int) -> int:
    """Wait until so many calls are inside, at most for a while; return how many were seen."""
    home = Path(folder)
    mark = home / name
    mark.write_text("")
    seen = 0
    for _ in range(2000):
        seen = max(seen, len(list(home.iterdir())))
        if seen > others:
            break
        os.sched_yield()
    mark.unlink()
    return seen


def read(parcel: Parcel) -> tuple[str, bytes]:
    path = unpacked(parcel)
    return str(path), path.read_bytes()


def wait_for_end(note: str) -> None:
    """Write a note, and wait for as long as the process lives."""
    folder = stopping.folder_for(stopping)
    (folder / "file").write_text("")
    Path(note).write_text(str(folder))
    threading.Event().wait()

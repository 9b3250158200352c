"""Memory that was freed, given back to the system.

glibc keeps what is freed for later, and maps arrays apart only from a size on that it raises to
32 MiB by itself. So where arrays and sessions of all sizes come and go, its heap becomes several
times as large as what is in it: of 656 MB in the middle of a search, 325 were in use.
"""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Callable
from pathlib import Path
from time import monotonic

_GROWTH, _LEAST = 1.2, 64 << 20
"""What memory has to have grown by since it was least, as a factor and in bytes."""
_LARGE, _SECONDS = 512 << 20, 10.0
"""So large a process looks after so many seconds even so: what it held before may be freed by now,
and others put in its place."""
_MUCH = 64 << 20
"""Bytes that runs make between two looks."""
_STATM = Path("/proc/self/statm")
_known = 0
_made = 0
_when = 0.0


def give_back() -> None:
    """Give memory back, if there is much more of it than there was since the last time.

    A large process does now and then without that. It takes up to a tenth of a second where
    something comes of it, microseconds otherwise. Does nothing where the C library cannot, as
    outside Linux.
    """
    global _known, _when  # noqa: PLW0603
    trim, now, time = _trim(), resident(), monotonic()
    late = now >= _LARGE and time >= _when + _SECONDS
    if trim is None or (now < _GROWTH * _known + _LEAST and not late):
        _known = min(_known, now)  # it may have become less by itself
        return
    trim(0)
    _known, _when = resident(), time


def made(size: int) -> None:
    """Count bytes that a run has made; after many, give memory back as far as that pays.

    Sweeps over data load nothing for minutes, and keep a little of every run among what is freed.
    """
    global _made  # noqa: PLW0603
    _made += size
    if _made >= _MUCH:
        _made = 0
        give_back()


def resident() -> int:
    """Return the bytes of this process in memory; 0 where that is not known."""
    try:
        pages = int(_STATM.read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


@functools.cache
def _trim() -> Callable[[int], object] | None:
    """Return glibc's `malloc_trim`; None where there is none."""
    try:
        found: Callable[[int], object] = ctypes.CDLL(None).malloc_trim
    except (OSError, TypeError, AttributeError):
        return None
    return found if resident() else None

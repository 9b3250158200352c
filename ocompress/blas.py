"""Threads of linear algebra: one while passes compute.

Passes multiply many small matrices. A second thread gains little there, and on a busy machine much
is lost: OpenBLAS waits for it actively, product by product. Besides, sums that several threads
share come out differently on another number of cores, and the same command has to make the same
bytes everywhere.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Iterator

from threadpoolctl import ThreadpoolController

_guard = threading.Lock()
_inside = 0
_restore = contextlib.ExitStack()


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Let the libraries behind numpy compute with one thread.

    The limit is the process's: it ends when the last one who asked for it leaves, whichever thread
    that is.
    """
    global _inside  # noqa: PLW0603
    with _guard:
        if not _inside:
            _restore.enter_context(_libraries().limit(limits=1, user_api="blas"))
        _inside += 1
    try:
        yield
    finally:
        with _guard:
            _inside -= 1
            if not _inside:
                _restore.close()


@functools.cache
def _libraries() -> ThreadpoolController:
    """Return what is loaded; finding that out takes a while."""
    return ThreadpoolController()

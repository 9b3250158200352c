"""Workers on this machine: this process, or several others."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import queue
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType
from typing import Any, Self

from ocompress import stopping
from ocompress.errors import WorkerLostError
from ocompress.workers.base import TRIES

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""What numerical libraries read when they are loaded; processes side by side share the cores."""


class ThisProcess:
    """Runs every call at once, where it is submitted."""

    count = 1
    here = True

    def submit(self, call: Callable[..., Any], *args: Any, timed: bool = False) -> Future[Any]:
        """Run a call; see `Workers.submit`."""
        del timed  # there is nothing beside it
        future: Future[Any] = Future()
        try:
            future.set_result(call(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        """End."""


class Processes:
    """Processes of this machine, each of which runs one call at a time.

    A process that dies takes only its own call with it: each is a pool of its own.
    """

    here = True

    def __init__(self, count: int) -> None:
        """Prepare; processes begin with their first call."""
        self.count = count
        self._free: queue.SimpleQueue[ProcessPoolExecutor] = queue.SimpleQueue()
        self._threads = ThreadPoolExecutor(count, "ocompress-worker")
        self._gate = _Gate()
        for _ in range(count):
            self._free.put(_process())

    def submit(self, call: Callable[..., Any], *args: Any, timed: bool = False) -> Future[Any]:
        """Have a process run a call; see `Workers.submit`."""
        return self._threads.submit(self._run, call, args, timed)

    def _run(self, call: Callable[..., Any], args: tuple[Any, ...], timed: bool) -> Any:
        for _ in range(TRIES):
            with self._gate.alone() if timed else self._gate.beside():
                pool = self._free.get()
                try:
                    with _cores_shared(1 if timed else self.count):
                        future = pool.submit(call, *args)
                    return future.result()
                except BrokenProcessPool:
                    pool.shutdown(wait=False)
                    pool = _process()
                finally:
                    self._free.put(pool)
        msg = (
            f"{TRIES} processes that ran this were killed, one after the other; it may need more "
            "memory than there is: use fewer workers"
        )
        raise WorkerLostError(msg)

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        """End the processes."""
        self._threads.shutdown(wait=True, cancel_futures=True)
        while not self._free.empty():
            self._free.get().shutdown(wait=True, cancel_futures=True)


class _Gate:
    """Lets many calls through side by side, or one alone."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0

    @contextlib.contextmanager
    def beside(self) -> Iterator[None]:
        with self._changed:
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        with self._changed:  # held to the end, so that nobody comes in
            self._changed.wait_for(lambda: self._inside == 0)
            yield


def _process() -> ProcessPoolExecutor:
    fresh = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
    return ProcessPoolExecutor(1, mp_context=fresh, initializer=_begin)


def _begin() -> None:
    """Leave signals to the process that started this one, and end with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        stopping.remove_everything()
        os._exit(1)


_spawning = threading.Lock()


@contextlib.contextmanager
def _cores_shared(count: int) -> Iterator[None]:
    """Have a process that begins here take its share of the cores, if the user says nothing."""
    each = str(max(1, (os.cpu_count() or 1) // count))
    with _spawning:
        unset = [name for name in _THREADS if name not in os.environ]
        os.environ.update(dict.fromkeys(unset, each))
        try:
            yield
        finally:
            for name in unset:
                os.environ.pop(name, None)

"""Workers on this machine: this process, or several others."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
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
    timers = 1

    def submit(
        self, call: Callable[..., Any], *args: Any, timed: bool = False, near: Sequence[str] = ()
    ) -> Future[Any]:
        """Run a call; see `Workers.submit`."""
        del timed, near  # there is nothing beside it
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
    timers = 1

    def __init__(self, count: int) -> None:
        """Prepare; processes begin with their first call."""
        self.count = count
        self._gate = _Gate()
        self._waiting: list[_Call] = []
        self._changed = threading.Condition()
        self._is_closed = False
        self._members = [_Member() for _ in range(count)]
        self._threads = [
            threading.Thread(
                target=self._serve, args=(member,), name="ocompress-worker", daemon=True
            )
            for member in self._members
        ]
        for thread in self._threads:
            thread.start()

    def submit(
        self, call: Callable[..., Any], *args: Any, timed: bool = False, near: Sequence[str] = ()
    ) -> Future[Any]:
        """Have a process run a call; see `Workers.submit`."""
        asked = _Call(call, args, timed, tuple(near))
        with self._changed:
            self._waiting.append(asked)
            self._changed.notify_all()
        return asked.future

    def _serve(self, member: _Member) -> None:
        """Give a process its calls, one after the other, to the end."""
        while True:
            with self._changed:
                asked = self._next(member)
                while asked is None and not self._is_closed:
                    self._changed.wait()
                    asked = self._next(member)
                if asked is None or self._is_closed:
                    return
                self._waiting.remove(asked)
                member.busy = asked.main
                member.knows.update(asked.near)
            if asked.future.set_running_or_notify_cancel():
                self._run(member, asked)
            with self._changed:
                member.busy = ""
                self._changed.notify_all()

    def _next(self, member: _Member) -> _Call | None:
        """Return the call that a process begins: what it knows, what nobody does, what is first.

        What another one is about to learn waits for that one.
        """
        others = [other for other in self._members if other is not member]
        known = set[str]().union(*(other.knows for other in others))
        busy = {other.busy for other in others} - {""}
        able = [c for c in self._waiting if c.main in member.knows or c.main not in busy]

        def strangeness(asked: _Call) -> tuple[bool, ...]:
            rest = any(part not in member.knows for part in asked.near[1:])
            return asked.main not in member.knows, rest, asked.main in known

        return min(able, key=strangeness, default=None)

    def _run(self, member: _Member, asked: _Call) -> None:
        for _ in range(TRIES):
            with self._gate.alone() if asked.timed else self._gate.beside():
                try:
                    with _cores_shared(1 if asked.timed else self.count):
                        running = member.pool.submit(asked.call, *asked.args)
                    found = running.result()
                except BrokenProcessPool:
                    member.renew()
                    if self._is_closed:
                        break
                except BaseException as error:
                    asked.future.set_exception(error)
                    return
                else:
                    asked.future.set_result(found)
                    return
        msg = (
            f"{TRIES} processes that ran this were killed, one after the other; it may need more "
            "memory than there is: use fewer workers"
        )
        asked.future.set_exception(WorkerLostError(msg))

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        """End the processes, and with them what they are busy with."""
        with self._changed:
            self._is_closed = True
            for asked in self._waiting:
                asked.future.cancel()
            self._changed.notify_all()
        for member in self._members:
            member.end()
        for thread in self._threads:
            thread.join()
        for member in self._members:  # one may have been renewed meanwhile
            member.end()
            member.pool.shutdown(wait=True, cancel_futures=True)


@dataclass(eq=False)
class _Call:
    """A call that waits or runs, and what is known beforehand of who runs it best."""

    call: Callable[..., Any]
    args: tuple[Any, ...]
    timed: bool
    near: tuple[str, ...]
    future: Future[Any] = field(default_factory=Future)

    @property
    def main(self) -> str:
        """What matters most of what it has in common with others; empty for nothing."""
        return self.near[0] if self.near else ""


class _Member:
    """A process.

    Attributes:
        knows: What calls it has run were near to.
        busy: What its present call is near to.
    """

    def __init__(self) -> None:
        self.knows: set[str] = set()
        self.busy = ""
        self._begin()

    def _begin(self) -> None:
        fresh = multiprocessing.get_context("spawn")  # a fork of a process with threads may hang
        ours, self._lifeline = fresh.Pipe(duplex=False)
        self.pool = ProcessPoolExecutor(1, mp_context=fresh, initializer=_begin, initargs=(ours,))

    def renew(self) -> None:
        """Put another process in the place of one that died."""
        self.pool.shutdown(wait=False)
        self.knows.clear()
        self.end()
        self._begin()

    def end(self) -> None:
        """Have the process clean up and end, whatever it is busy with."""
        self._lifeline.close()


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


def _begin(lifeline: Connection) -> None:
    """Leave signals to the process that started this one, and end with it or when it says so."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with, args=(lifeline,), daemon=True).start()


def _end_with(lifeline: Connection) -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel, lifeline])
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

"""Workers of a Dask cluster."""

from __future__ import annotations

import importlib.util
import itertools
import re
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Self

from ocompress import __version__
from ocompress.errors import UsageError, WorkerLostError
from ocompress.workers.base import TRIES, sent
from ocompress.workers.parcels import Parcel

TIMER = "timer"
"""Resource of workers on which time may be measured."""
_CONNECT_SECONDS = 10


class DaskCluster:
    """Workers that a scheduler knows; parcels go to each once, found by their content."""

    here = False

    def __init__(self, address: str) -> None:
        """Connect.

        Args:
            address: Of the scheduler: `tcp://host:port`.

        Raises:
            UsageError: If the package is missing, nobody answers, or workers lack ocompress or
                have another version of it.
        """
        if importlib.util.find_spec("distributed") is None:
            msg = (
                "--scheduler needs the package 'distributed', which is not installed: pip install "
                "'ocompress[cluster]'"
            )
            raise UsageError(msg)
        if not re.fullmatch(r"\w+://\S+:\d+", address):
            msg = f"scheduler {address!r} is no address; write one such as tcp://host:8786"
            raise UsageError(msg)
        import distributed

        try:
            self._client = distributed.Client(
                address, timeout=_CONNECT_SECONDS, set_as_default=False
            )
        except (OSError, ValueError, TimeoutError) as error:
            msg = f"no scheduler answers at {address!r} ({type(error).__name__}); start one there"
            raise UsageError(msg) from error
        self._killed = distributed.KilledWorker
        self._sent: dict[str, Any] = {}
        try:
            known = self._check(address)
        except BaseException:
            self._client.close()
            raise
        self.count = sum(worker["nthreads"] for worker in known.values())
        self.timers = sum(bool(w.get("resources", {}).get(TIMER)) for w in known.values())
        self._homes: dict[str, str] = {}
        self._turns = itertools.cycle(sorted(known))

    def submit(
        self, call: Callable[..., Any], *args: Any, timed: bool = False, near: Sequence[str] = ()
    ) -> Future[Any]:
        """Have a worker run a call; see `Workers.submit`.

        Raises:
            UsageError: If it is to be timed and no worker says that it may.
        """
        if timed and not self.timers:
            msg = (
                f"no worker of the cluster may measure time; start those that may with "
                f"--nthreads 1 --resources {TIMER}=1, or leave time unmeasured"
            )
            raise UsageError(msg)
        for parcel in sent(args):
            if parcel.key not in self._sent:
                self._sent[parcel.key] = self._client.scatter(parcel, hash=True)
        first = next(iter(near), "")
        if first and first not in self._homes:
            self._homes[first] = next(self._turns)
        home = self._homes.get(first) if not timed else None
        found = self._client.submit(
            call,
            *(self._sent[a.key] if isinstance(a, Parcel) else a for a in args),
            pure=False,
            retries=0,
            workers=home,
            allow_other_workers=home is not None,  # idle ones take over what waits there
            resources={TIMER: 1} if timed else None,
        )
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()
        found.add_done_callback(lambda done: self._hand_over(done, future))
        return future

    def _hand_over(self, done: Any, future: Future[Any]) -> None:
        error = done.exception() if done.status != "cancelled" else None
        if isinstance(error, self._killed):
            msg = f"{TRIES} workers of the cluster that ran this were killed, one after the other"
            error = WorkerLostError(msg)
        if done.status == "cancelled":
            error = WorkerLostError("the cluster has let go of this; its scheduler may have ended")
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(done.result())

    def _check(self, address: str) -> dict[str, Any]:
        """Return what the scheduler says of its workers."""
        known: dict[str, Any] = self._client.scheduler_info(n_workers=-1)["workers"]
        if not known:
            msg = f"the scheduler at {address!r} has no workers; start some"
            raise UsageError(msg)
        try:
            versions = self._client.run(_version)
        except Exception as error:  # whatever importing raises there
            msg = f"workers cannot load ocompress ({error}); install version {__version__} there"
            raise UsageError(msg) from error
        for worker, version in versions.items():
            if version != __version__:
                msg = f"worker {worker} has version {version}; install version {__version__} there"
                raise UsageError(msg)
        return known

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        """Disconnect; what has not begun is let go."""
        self._client.close()


def _version() -> str:
    """Return the version of ocompress on a worker."""
    return __version__

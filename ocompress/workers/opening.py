"""Choosing workers by what the user says."""

from __future__ import annotations

from ocompress.errors import OptionError
from ocompress.workers.base import Workers
from ocompress.workers.local import Processes, ThisProcess


def open_workers(count: int = 1, scheduler: str = "") -> Workers:
    """Return workers: this process, processes beside it, or a cluster.

    Args:
        count: Calls that run at a time on this machine; 1 runs them in this process.
        scheduler: Address of a Dask scheduler (`tcp://host:port`), whose workers run all; empty
            for this machine.

    Raises:
        UsageError: If these contradict each other, or the cluster cannot be used.
    """
    check_workers(count, scheduler)
    if not scheduler:
        return ThisProcess() if count == 1 else Processes(count)
    from ocompress.workers.cluster import DaskCluster

    return DaskCluster(scheduler)


def check_workers(count: int, scheduler: str) -> None:
    """Check what `open_workers` is given, as far as that takes no look at a cluster.

    Raises:
        OptionError: If it contradicts itself.
    """
    if count < 1:
        msg = f"workers {count} must be 1 or more"
        raise OptionError(msg)
    if scheduler and count != 1:
        msg = "--workers contradicts --scheduler, which has workers of its own; leave one out"
        raise OptionError(msg)

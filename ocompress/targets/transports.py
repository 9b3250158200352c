"""Devices by the name that a user gives: `local`, `qemu-aarch64`, `qemu-aarch64:cortex-a72`."""

from __future__ import annotations

from collections.abc import Callable

from ocompress.errors import OptionError
from ocompress.targets import emulated
from ocompress.targets.transport import LocalTransport, Transport


def _local(detail: str) -> Transport:
    if detail:
        msg = f"target 'local' takes nothing after its name, but got {detail!r}"
        raise OptionError(msg)
    return LocalTransport()


_KINDS: dict[str, Callable[[str], Transport]] = {
    "local": _local,
    emulated.NAME: emulated.EmulatedTransport.of_core,
}

DEVICES = tuple(_KINDS)
"""Every kind of device that `find_transport` knows."""


def find_transport(name: str) -> Transport:
    """Return the way to a device, ready to be used.

    Args:
        name: `KIND` or `KIND:DETAIL`.

    Raises:
        UsageError: If there is no such kind, or it has to be set up first.
    """
    kind, _, detail = name.partition(":")
    if kind not in _KINDS:
        msg = f"models cannot be run on {name!r}; devices are {', '.join(DEVICES)}"
        raise OptionError(msg)
    return _KINDS[kind](detail)

"""SIGINT and SIGTERM: the process ends within a second, wherever it is.

Python runs handlers of signals between its own instructions. While a library computes (a model
that runs, a matrix that is factorized) there are none. So the signal is also noticed by a thread:
it stops what runs, gives the program time to unwind, and else removes what must not be left
behind and ends the process itself. Where work may end early with its best so far, the first SIGINT
asks for that alone. Once it is settled how the program ends, a signal changes that no more: the
interpreter may take a while to end, and what was written was written.
"""

from __future__ import annotations

import atexit
import os
import signal
import socket
import threading
import time
from types import FrameType

from ocompress import stopping
from ocompress.cli import exits

_UNWIND_SECONDS = 0.6
_NUDGE_SECONDS = 0.05
_KINDS = {signal.SIGINT: exits.INTERRUPTED, signal.SIGTERM: exits.TERMINATED}

_settled: list[int] = []


def install() -> None:
    """Take over SIGINT and SIGTERM in this process; for programs, not for libraries."""
    noticed, wakes = socket.socketpair()
    wakes.setblocking(False)
    atexit.register(_ignore)  # first, and so the last that is called
    signal.set_wakeup_fd(wakes.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGTERM, _terminate)
    signal.signal(signal.SIGINT, _interrupt)
    stopping.on_overrun.append(_give_up)
    threading.Thread(target=_watch, args=(noticed, wakes), daemon=True).start()


def settle(code: int) -> None:
    """Say that the work is over, and with what code the process ends whatever comes now."""
    _settled.append(code)


def leave(code: int) -> None:
    """End the process after an interruption that was handled.

    Where Ctrl-C comes while Python runs code that is given as text, as it makes a named tuple of,
    the interpreter would end itself by the signal later, whatever was made of the exception.
    """
    exits.flush()
    _cut_off(code, exits.INTERRUPTION)


def _ignore() -> None:
    """Keep the interpreter from making signals deadly again on its last steps."""
    for kind in _KINDS:
        signal.signal(kind, signal.SIG_IGN)


def _terminate(_: int, __: FrameType | None) -> None:
    """End as on Ctrl-C, so that temporary files are removed."""
    if not _settled:
        raise exits.Terminated


def _interrupt(number: int, frame: FrameType | None) -> None:
    """End early what can, or else everything."""
    if not _settled and not stopping.ask_for_early_end():
        signal.default_int_handler(number, frame)


def _watch(noticed: socket.socket, _: socket.socket) -> None:
    """Wait for a signal; the other end of the pair is passed to keep it open."""
    codes = {int(kind): code for kind, code in _KINDS.items()}
    code = None
    while code is None:
        found = noticed.recv(1)[0]
        if found == signal.SIGINT and stopping.notice_early_end():
            continue
        code = codes.get(found)
    until = time.monotonic() + _UNWIND_SECONDS
    while time.monotonic() < until:  # the program may load or run the next model
        stopping.stop_everything()
        time.sleep(_NUDGE_SECONDS)
    _cut_off(code, exits.INTERRUPTION)


def _give_up(sentence: str) -> None:
    _cut_off(exits.FAILURE, sentence)


def _cut_off(code: int, sentence: str) -> None:
    with stopping.publishing:  # what is being put in place is put in place whole
        stopping.remove_everything()
        if not _settled and not exits.complained():
            exits.complain(sentence)
        os._exit(*_settled or [code])

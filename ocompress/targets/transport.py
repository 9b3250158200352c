"""How a job reaches a device and its result comes back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from ocompress.errors import RuntimeFailureError

RUNNER, JOB, RESULT = "runner.py", "job.json", "result.json"
"""Names of the files in the folder of a job."""

Progress = Callable[[int, int], None]
"""Told how many runs are done, and of how many."""


def silent(done: int, total: int) -> None:
    """Take note of nothing."""


class Transport(Protocol):
    """Runs the runner on a device.

    Attributes:
        name: What reports call the device.
        timed: Whether times measured there mean anything.
    """

    @property
    def name(self) -> str:
        """What reports call the device."""
        ...

    @property
    def timed(self) -> bool:
        """Whether times measured there mean anything."""
        ...

    def execute(self, folder: Path, progress: Progress) -> None:
        """Do the job of a folder.

        When it returns, the folder holds `result.json` and the files that it names. A transport
        to another machine copies the folder there and what was made back.

        Raises:
            RuntimeFailureError: If the runner could not be started, or died.
        """
        ...


class LocalTransport:
    """Runs the runner in a process of this machine, in the Python at hand."""

    name = "local"
    timed = True

    def execute(self, folder: Path, progress: Progress) -> None:
        """Do the job of a folder.

        Raises:
            RuntimeFailureError: If the runner died.
        """
        run_process([sys.executable, RUNNER, JOB, RESULT], folder, progress, self.name)


def run_process(
    command: Sequence[str],
    folder: Path,
    progress: Progress,
    device: str,
    env: Mapping[str, str] | None = None,
) -> None:
    """Run the runner as a child, passing on its progress.

    The child is ended when this is interrupted.

    Raises:
        RuntimeFailureError: If it could not be started, or died; with the last line it wrote.
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors:
        try:
            child = subprocess.Popen(
                command,
                cwd=folder,
                env=None if env is None else dict(env),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                errors="replace",
            )
        except OSError as error:
            msg = f"cannot start {command[0]!r} for {device}: {error.strerror or error}"
            raise RuntimeFailureError(msg) from error
        try:
            _follow(child, progress)
        finally:
            if child.poll() is None:
                child.kill()
            child.wait()
        if child.returncode or not (folder / RESULT).exists():
            errors.seek(0)
            raise RuntimeFailureError(_death(device, child.returncode, errors.read()))


def _follow(child: subprocess.Popen[str], progress: Progress) -> None:
    assert child.stdout is not None  # it is a pipe
    with child.stdout as lines:
        for line in lines:
            words = line.split()
            if len(words) == 3 and words[0] == "step" and words[1].isdigit():
                progress(int(words[1]), int(words[2]))
    child.wait()


def _death(device: str, code: int, errors: str) -> str:
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    last = lines[-1] if lines else "it wrote no message"
    return f"the runner for {device} {_how(code)}: {last}"


def _how(code: int) -> str:
    if code < 0 and os.name == "posix":
        try:
            return f"was killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"was killed by signal {-code}"
    return f"ended with exit code {code}"

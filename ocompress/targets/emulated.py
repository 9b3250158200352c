"""AArch64 on a machine of another kind: ONNX Runtime for Arm under user-mode emulation.

The kernels that run are those of a device with the same instruction set, so what they compute is
what the device computes; how long they take says nothing about it.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ocompress.errors import RuntimeFailureError, UsageError
from ocompress.runtime import host_cores
from ocompress.stopping import temporary_folder
from ocompress.targets.cores import DEFAULT, Core, find_core
from ocompress.targets.sysroot import Say, Sysroot, build, find_tool
from ocompress.targets.transport import JOB, RESULT, RUNNER, Progress, run_process

NAME = "qemu-aarch64"


@dataclass(frozen=True)
class EmulatedTransport:
    """Runs the runner in the sysroot, on an emulated core.

    Attributes:
        core: The core.
        sysroot: The system.
        emulator: Path of the emulator.
    """

    core: Core
    sysroot: Sysroot
    emulator: str
    timed = False

    @classmethod
    def of_core(cls, name: str = "") -> EmulatedTransport:
        """Use the sysroot of the cache folder; `max` is the core if none is named.

        Raises:
            UsageError: If the core is not known, or the emulator or the sysroot is missing.
        """
        core, emulator, sysroot = find_core(name or DEFAULT), _emulator(), Sysroot.of_cache()
        if not sysroot.is_ready:
            msg = f"target {NAME} is not set up; run 'ocompress target setup {NAME}' once"
            raise UsageError(msg)
        return cls(core, sysroot, emulator)

    @property
    def name(self) -> str:
        """What reports call the device."""
        return f"{NAME}:{self.core.name}"

    def execute(self, folder: Path, progress: Progress) -> None:
        """Do the job of a folder.

        Raises:
            RuntimeFailureError: If the runner or the emulator died.
        """
        with self._prefix() as prefix:
            command = [*self.command(prefix), "-B", RUNNER, JOB, RESULT]
            run_process(command, folder, progress, self.name, self.environment)

    def check(self) -> None:
        """Import what the runner needs, which also compiles it for the next time.

        Raises:
            RuntimeFailureError: If that fails.
        """
        with self._prefix() as prefix:
            done = subprocess.run(
                [*self.command(prefix), "-c", "import numpy, onnxruntime"],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                check=False,
            )
        if done.returncode:
            lines = done.stdout.decode(errors="replace").strip().splitlines()
            last = lines[-1] if lines else f"exit code {done.returncode}"
            msg = f"ONNX Runtime does not start on {self.name}: {last}"
            raise RuntimeFailureError(msg)

    def command(self, prefix: Path) -> list[str]:
        """Return how to start Python, given a folder that shows the system with this core."""
        python = str(self.sysroot.python)
        return [self.emulator, "-L", str(prefix), "-cpu", self.core.name, python, "-S"]

    @property
    def environment(self) -> dict[str, str]:
        """The variables of the emulated process; none of this one's fit there."""
        return {
            "PYTHONHOME": str(self.sysroot.root / "usr"),
            "PYTHONPATH": str(self.sysroot.site),
            "PATH": "/usr/bin:/bin",
            "LANG": "C.UTF-8",
        }

    @contextlib.contextmanager
    def _prefix(self) -> Iterator[Path]:
        """Make a folder of links to the system whose `/proc/cpuinfo` tells of this core."""
        with temporary_folder() as folder:
            for entry in sorted(self.sysroot.root.iterdir()):
                if entry.name != "proc":
                    (folder / entry.name).symlink_to(entry.resolve())
            (folder / "proc").mkdir()
            text = self.core.cpuinfo(host_cores())
            (folder / "proc" / "cpuinfo").write_text(text, encoding="utf-8")
            yield folder


def set_up(*, say: Say, mirror: str = "", again: bool = False) -> None:
    """Make the sysroot in the cache folder, once.

    Args:
        say: Takes a line about each step.
        mirror: Where Debian packages come from, if not from where debootstrap gets them.
        again: Set it up again even if it exists.

    Raises:
        UsageError: If a program is missing, or this is no Linux.
        RuntimeFailureError: If a step fails.
        OutputError: If the disk refuses.
    """
    emulator = _emulator()

    def check(made: Sysroot) -> None:
        EmulatedTransport(find_core(DEFAULT), made, emulator).check()

    build(Sysroot.of_cache(), check, say=say, mirror=mirror, again=again)


def _emulator() -> str:
    if not sys.platform.startswith("linux"):
        msg = f"target {NAME} needs Linux; run it in a container there"
        raise UsageError(msg)
    return find_tool("qemu-user-static", "qemu-aarch64-static", "qemu-aarch64")

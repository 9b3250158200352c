"""Facts about the machine and the runtime that figures depend on."""

from __future__ import annotations

import platform
import re
from pathlib import Path

from ocompress.profiling.result import Environment
from ocompress.runtime import VERSION, host_cores
from ocompress.targets import host


def environment(threads: int) -> Environment:
    """Describe this machine, for runs with that many threads (0 is all cores)."""
    return Environment(
        cpu=_cpu_name(),
        isa=tuple(sorted(host().features)),
        cores=host_cores(),
        threads=threads or host_cores(),
        provider="CPUExecutionProvider",
        runtime=VERSION,
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
    )


def _cpu_name() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    line = re.search(r"^(?:model name|Model|Hardware)\s*:\s*(.+)$", text, re.MULTILINE)
    return line[1].strip() if line else platform.processor() or platform.machine()

"""The targets known by name, and what the machine at hand is."""

from __future__ import annotations

import difflib
import platform
import re
from dataclasses import replace
from pathlib import Path

from ocompress.errors import UsageError
from ocompress.targets import costs
from ocompress.targets.target import Arch, Target

_X86_FEATURES = {
    "avx2": "avx2",
    "avx512f": "avx512",
    "avx512_vnni": "vnni",
    "avx_vnni": "vnni",
    "amx_int8": "amx",
}
_ARM_FEATURES = {"asimddp": "dotprod", "i8mm": "i8mm", "asimd": "neon"}


def _x86(name: str, features: set[str], *, saturates: bool) -> Target:
    fast = "vnni" in features
    return Target(
        name=name,
        arch=Arch.X86_64,
        features=frozenset(features),
        saturates=saturates,
        channel_multiple=16 if "avx512" in features else 8,
        float_costs=costs.VNNI_FLOAT if fast else costs.AVX2_FLOAT,
        int8_costs=costs.VNNI_INT8 if fast else costs.AVX2_INT8,
    )


_KNOWN = (
    Target(
        name="portable",
        arch=Arch.ANY,
        saturates=True,
        float_costs=costs.AVX2_FLOAT,
        int8_costs=costs.AVX2_INT8,
    ),
    _x86("x86-avx2", {"avx2"}, saturates=True),
    _x86("x86-avx512", {"avx2", "avx512"}, saturates=True),
    _x86("x86-vnni", {"avx2", "avx512", "vnni"}, saturates=False),
    Target(
        name="arm64",
        arch=Arch.AARCH64,
        features=frozenset({"neon"}),
        float_costs=costs.AVX2_FLOAT,
        int8_costs=costs.AVX2_INT8,
    ),
)

NAMES: tuple[str, ...] = ("host", *(t.name for t in _KNOWN))
"""Every name that `find` knows."""


def find(name: str) -> Target:
    """Return a target by name; `host` is the machine at hand.

    `portable` is for files that any machine may run: its integer scheme is exact on every
    instruction set, and its costs are those of AVX2.

    Raises:
        UsageError: Naming the known targets and the nearest spelling.
    """
    if name == "host":
        return host()
    for target in _KNOWN:
        if target.name == name:
            return target
    near = difflib.get_close_matches(name, NAMES, 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    msg = f"there is no target named {name!r}{hint} (there are {', '.join(NAMES)})"
    raise UsageError(msg)


def host(cpuinfo: str | None = None, machine: str | None = None) -> Target:
    """Describe a machine.

    Its integer scheme is the careful one whatever the machine can do: files travel, and on
    EfficientNet-Lite0 care costs half a decibel and no time. `x86-vnni` and `arm64` do without.

    Args:
        cpuinfo: Text in the form of `/proc/cpuinfo`; read from there by default.
        machine: As `platform.machine()` says.
    """
    machine = (machine or platform.machine()).lower()
    text = _cpuinfo() if cpuinfo is None else cpuinfo
    if machine in ("x86_64", "amd64"):
        features = _features(text, "flags", _X86_FEATURES)
        if not text and cpuinfo is None:
            features = {"avx2"}  # other systems do not say; the careful guess
        return _x86("host", features, saturates=True)
    if machine in ("aarch64", "arm64"):
        features = _features(text, "Features", _ARM_FEATURES) | {"neon"}
        return replace(find("arm64"), name="host", features=frozenset(features), saturates=True)
    return replace(find("portable"), name="host")


def _cpuinfo() -> str:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _features(text: str, key: str, wanted: dict[str, str]) -> set[str]:
    line = re.search(rf"^{key}\s*:\s*(.*)$", text, re.MULTILINE)
    words = set(line[1].split()) if line else set()
    return {ours for theirs, ours in wanted.items() if theirs in words}

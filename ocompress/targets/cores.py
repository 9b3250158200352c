"""The AArch64 cores that can be emulated, and what Linux would say about them."""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from ocompress.errors import OptionError

_V8 = "fp asimd aes pmull sha1 sha2 crc32 cpuid"
_V82 = f"{_V8} atomics fphp asimdhp asimdrdm lrcpc dcpop asimddp"
_MAX = f"{_V82} jscvt fcma ilrcpc flagm sb sha3 sm3 sm4 sha512 sve asimdfhm dcpodp sve2 i8mm bf16"


@dataclass(frozen=True, slots=True)
class Core:
    """A core as `/proc/cpuinfo` describes it.

    ONNX Runtime reads the part number and then believes what it knows about that part, so the
    emulator must really have those instructions: int8 kernels chosen for a Cortex-A76 die of an
    illegal instruction on an emulated Cortex-A72.

    Attributes:
        name: What the emulator calls it.
        part: Arm's part number.
        variant: Major revision.
        revision: Minor revision.
        features: Instruction-set features, no more than the emulator has (QEMU 7.2).
    """

    name: str
    part: str
    variant: str
    revision: int
    features: str

    def cpuinfo(self, count: int) -> str:
        """Return the text of `/proc/cpuinfo` for so many of these cores."""
        return "".join(
            f"processor\t: {number}\n"
            "BogoMIPS\t: 50.00\n"
            f"Features\t: {self.features}\n"
            "CPU implementer\t: 0x41\n"
            "CPU architecture: 8\n"
            f"CPU variant\t: {self.variant}\n"
            f"CPU part\t: {self.part}\n"
            f"CPU revision\t: {self.revision}\n\n"
            for number in range(count)
        )


CORES = {
    core.name: core
    for core in (
        Core("max", "0xd49", "0x0", 0, _MAX),  # reads as Neoverse N2, the nearest of the real ones
        Core("cortex-a35", "0xd04", "0x1", 0, _V8),
        Core("cortex-a53", "0xd03", "0x0", 4, _V8),
        Core("cortex-a57", "0xd07", "0x1", 0, _V8),
        Core("cortex-a72", "0xd08", "0x0", 3, _V8),
        Core("cortex-a76", "0xd0b", "0x4", 1, _V82),
        Core("neoverse-n1", "0xd0c", "0x4", 1, _V82),
    )
}
"""Cores by name: `max` has matrix multiplication, the others with `asimddp` have dot products."""

DEFAULT = "max"


def find_core(name: str) -> Core:
    """Return a core by name.

    Raises:
        OptionError: Naming the known cores and the nearest spelling.
    """
    if name in CORES:
        return CORES[name]
    near = difflib.get_close_matches(name, CORES, 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    msg = f"there is no AArch64 core named {name!r}{hint} (there are {', '.join(CORES)})"
    raise OptionError(msg)

"""What a device is, as far as rewriting for it goes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

_CACHED = 1 << 18


class Arch(StrEnum):
    """Processor family."""

    X86_64 = "x86_64"
    AARCH64 = "aarch64"
    ANY = "any"


@dataclass(frozen=True, kw_only=True)
class OpCost:
    """Time of one operator kind: its overhead, and what its work and its memory take.

    Attributes:
        overhead_ns: Fixed time of a call, nanoseconds.
        macs_per_ns: Multiply-accumulates a single thread does per nanosecond; 0 = none to do.
        element_ns: Time per element read or written, nanoseconds.
        tap_ns: Time per place and element of the kernel, whatever the number of channels,
            nanoseconds.
        row_ns: Time per place and row of the kernel, whatever the number of channels: integer
            convolutions first copy what a place reads, a row of the kernel at a time, nanoseconds.
        spill_ns: Further time per element beyond 262,144, which in float32 is more than the
            caches of one core hold, nanoseconds.
    """

    overhead_ns: float = 1000.0
    macs_per_ns: float = 0.0
    element_ns: float = 0.0
    tap_ns: float = 0.0
    row_ns: float = 0.0
    spill_ns: float = 0.0

    def time_ns(self, macs: float, elements: float, taps: float = 0.0, rows: float = 0.0) -> float:
        """Return the predicted time of a call, nanoseconds on one thread."""
        work = macs / self.macs_per_ns if self.macs_per_ns else 0.0
        spilt = max(0.0, elements - _CACHED) * self.spill_ns
        moved = elements * self.element_ns + spilt + taps * self.tap_ns + rows * self.row_ns
        return self.overhead_ns + work + moved


@dataclass(frozen=True, kw_only=True)
class Target:
    """A device: its instruction set, and which integer scheme is fast and safe there.

    Attributes:
        name: What the user calls it (`host`, `x86-avx2`, `arm64`, `portable`).
        arch: Processor family.
        features: Instruction-set features that matter (`avx2`, `vnni`, `dotprod`, `i8mm`).
        saturates: Whether the result may run where pairs of u8*s8 products are added in 16 bits
            and clip, so that weights must keep clear of that.
        activation_dtype: `uint8` or `int8`, whichever ONNX Runtime's kernels run faster there.
        channel_multiple: Channel counts that its blocked kernels like.
        float_costs: Cost of each operator kind in float.
        int8_costs: Cost of each operator kind in int8; a kind that is missing has no integer
            kernel worth using.
    """

    name: str
    arch: Arch
    features: frozenset[str] = frozenset()
    saturates: bool = False
    activation_dtype: str = "uint8"
    channel_multiple: int = 8
    float_costs: Mapping[str, OpCost] = field(default_factory=dict)
    int8_costs: Mapping[str, OpCost] = field(default_factory=dict)

    @property
    def is_host(self) -> bool:
        """Whether models can be timed on it right here."""
        return self.name == "host"

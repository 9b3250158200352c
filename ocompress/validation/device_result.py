"""What a validation on another machine found; plain data that reports format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ocompress.diagnostics import Finding
from ocompress.targets.device import MachineFacts
from ocompress.validation.result import OutputComparison, ValidationResult


@dataclass(frozen=True, slots=True)
class Flips(Finding):
    """Samples that the same model decides in another way on another machine.

    Attributes:
        output: Name of the output.
        decision: How decisions are read off it.
        count: Samples with at least one other decision.
        fraction: Their share.
        samples: Their indices, from 0.
    """

    output: str
    decision: str
    count: int
    fraction: float
    samples: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class MachineComparison(Finding):
    """One model on the device against the same model on the host.

    Attributes:
        model: `reference` or `candidate`.
        error: Why there is nothing to compare, empty if there is.
        outputs: One comparison per output, the host's taken as the signal.
        flips: Decisions that differ, per output.
    """

    model: str
    error: str = ""
    outputs: tuple[OutputComparison, ...] = ()
    flips: tuple[Flips, ...] = ()


@dataclass(frozen=True, slots=True)
class DeviceValidation(Finding):
    """What validating on a device found.

    Attributes:
        device: What the device is called (`qemu-aarch64:cortex-a76`).
        facts: What it said about itself.
        host: Processor family of the host.
        host_onnxruntime: Version of ONNX Runtime on the host.
        validation: The candidate against the reference, both on the device.
        machines: The same model on the device and on the host, candidate first.
        times_valid: Whether times on the device mean anything.
        remarks: What to keep in mind, one sentence each.
    """

    derived: ClassVar[tuple[str, ...]] = ("passed",)

    device: str
    facts: MachineFacts
    host: str
    host_onnxruntime: str
    validation: ValidationResult
    machines: tuple[MachineComparison, ...]
    times_valid: bool
    remarks: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every check of the validation on the device holds."""
        return self.validation.passed

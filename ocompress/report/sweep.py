"""What many optimizations came to, as data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ocompress.diagnostics import Finding


@dataclass(frozen=True, slots=True)
class SweepRow(Finding):
    """What came of one optimization.

    Attributes:
        number: Its place in the file of jobs, from 1.
        model: The file.
        varied: The settings in which jobs differ.
        code: 0 if all limits held, 1 if one broke; else the exit code of what went wrong.
        why: The limits that broke, or what went wrong.
        passes: The passes that ran, in their text form.
        bytes: Size on disk before and after.
        latency_ratio: Time over the original's; None if it was not measured.
        lost: What outputs lost in `unit`; None if nothing was compared.
        unit: What the loss is counted in.
        output: The file written, empty for none.
        seconds: How long it took.
    """

    number: int
    model: str
    varied: Mapping[str, Any]
    code: int
    why: str = ""
    passes: str = ""
    bytes: tuple[int, int] = (0, 0)
    latency_ratio: float | None = None
    lost: float | None = None
    unit: str = ""
    output: str = ""
    seconds: float = 0.0

    @property
    def size_ratio(self) -> float | None:
        """Bytes over the original's, None without a result."""
        return self.bytes[1] / self.bytes[0] if self.bytes[0] else None

    @property
    def ending(self) -> str:
        """How it ended, in a word or two."""
        return {0: "held", 1: "beyond"}.get(self.code, f"error {self.code}")


@dataclass(frozen=True, slots=True)
class Sweep(Finding):
    """What came of many optimizations.

    Attributes:
        source: The file of jobs.
        rows: One for each job, in the order of the file.
        workers: How many ran at a time.
        seconds: How long all of it took.
    """

    source: str
    rows: tuple[SweepRow, ...]
    workers: int
    seconds: float

    @property
    def code(self) -> int:
        """0 if all limits of all jobs held; else the largest exit code of a job."""
        return max((row.code for row in self.rows), default=0)

    @property
    def summary(self) -> str:
        """How many jobs held, broke a limit, and failed, for people."""
        counted = Counter(min(row.code, 2) for row in self.rows)
        said = [f"{counted[0]} of {len(self.rows)} jobs within their limits"]
        said += [f"{counted[1]} beyond"] if counted[1] else []
        said += [f"{counted[2]} failed"] if counted[2] else []
        return ", ".join(said)

"""What a plan is for, and what it must not exceed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class PlanGoal(StrEnum):
    """What is made as small as it can be."""

    LATENCY = "latency"
    """The median time of a run, relative to the original's."""
    SIZE = "size"
    """The bytes of the .onnx file."""
    ARCHIVE = "archive"
    """The bytes of the .ocz archive of it."""
    MEMORY = "memory"
    """The most memory that loading the file and running it once takes."""


@dataclass(frozen=True)
class PlanBounds:
    """Limits beside that on the drop; None is no limit.

    Attributes:
        latency: Time of a run over the original's.
        size: Bytes of the file over the original's.
        memory: Bytes of memory.
    """

    latency: float | None = None
    size: float | None = None
    memory: float | None = None

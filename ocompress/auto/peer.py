"""Models that somebody else made, to compare a plan with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class PlanPeer:
    """A model that was measured beside the trials of a plan.

    Attributes:
        name: Its file.
        size: Bytes of its file.
        drop: What it lost on the samples that plans are chosen on, in units of the metric; None if
            it does not run on them.
        latency: Its time over the original's, None if it was not measured.
        held: Whether it keeps to the limit on the drop.
        why: Why it does not, one sentence; empty if it does.
    """

    name: str
    size: int
    drop: float | None = None
    latency: float | None = None
    held: bool = False
    why: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return what reports hold of it."""
        return {
            "file": self.name,
            "held": self.held,
            "drop": self.drop,
            "latency_ratio": self.latency,
            "bytes": self.size,
            "why": self.why,
        }

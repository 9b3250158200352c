"""What a candidate takes, as far as a gate limits it."""

from __future__ import annotations

from dataclasses import dataclass

from ocompress.ir import Model
from ocompress.ir.serialized_size import serialized_bytes


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """Bytes, time and memory of a candidate; None was not measured.

    Attributes:
        bytes: Of the candidate's file, external data included.
        size_ratio: Bytes of the candidate's file over the reference's.
        latency_ms: Median time of one run of the candidate, milliseconds.
        latency_ratio: Median latency of the candidate over the reference's.
        memory: Peak resident memory of a fresh process that loads the candidate and runs it once,
            above that of the bare runtime, bytes.
    """

    bytes: int | None = None
    size_ratio: float | None = None
    latency_ms: float | None = None
    latency_ratio: float | None = None
    memory: int | None = None


def serialized_footprint(reference: Model, candidate: Model) -> Footprint:
    """Return the sizes that two models would have as files; nothing is measured."""
    size = serialized_bytes(candidate)
    return Footprint(bytes=size, size_ratio=size / max(serialized_bytes(reference), 1))

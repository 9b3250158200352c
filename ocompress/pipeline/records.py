"""What happened in a pipeline, as data; `report` turns it into text and files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from ocompress.diagnostics import Diagnostics
from ocompress.ir import Facet, Model
from ocompress.pipeline.base import Family, Outcome, Pass
from ocompress.pipeline.guard import Verdict


class Status(StrEnum):
    """How a pass of a pipeline ended."""

    APPLIED = "applied"
    UNCHANGED = "unchanged"
    ROLLED_BACK = "rolled-back"


@dataclass(frozen=True, kw_only=True)
class PassRecord:
    """One pass of a pipeline.

    Attributes:
        name: Pass name.
        text: Text form with the options in force.
        status: Whether its result was kept.
        seconds: Wall time, judging excluded.
        changed: The facets it changed.
        counts: What it did how often; for a family the sums of its members.
        details: Whatever the pass wants in the report.
        verdicts: What the guards found.
        nodes: Number of nodes before and after, bodies included.
        weight_bytes: Bytes of constants before and after.
        members: Of a family: the passes that speak for it.
        waits: Whether its drop is judged with a later pass, which makes it good.
    """

    name: str
    text: str
    status: Status
    seconds: float
    changed: Facet
    counts: Mapping[str, int] = field(default_factory=dict)
    details: Mapping[str, Any] = field(default_factory=dict)
    verdicts: tuple[Verdict, ...] = ()
    nodes: tuple[int, int] = (0, 0)
    weight_bytes: tuple[int, int] = (0, 0)
    members: tuple[str, ...] = ()
    waits: bool = False


@dataclass(frozen=True, kw_only=True)
class PipelineResult:
    """A finished pipeline: the best model that held, and the story."""

    model: Model
    records: tuple[PassRecord, ...]
    diagnostics: Diagnostics

    @property
    def held(self) -> bool:
        """Whether every pass stayed within its budget, and kept the outputs if it is meant to."""
        return all(v.held for r in self.records for v in r.verdicts)


def record_of(
    item: Pass,
    outcome: Outcome,
    verdicts: tuple[Verdict, ...],
    seconds: float,
    before: Model,
    after: Model,
) -> PassRecord:
    """Return the record of a pass that ran.

    Args:
        item: The pass.
        outcome: What it reported.
        verdicts: What the guards found.
        seconds: How long it took.
        before: The model that it was given.
        after: What it made of it.
    """
    status = Status.APPLIED if outcome else Status.UNCHANGED
    if not all(v.held for v in verdicts):
        status = Status.ROLLED_BACK
    return PassRecord(
        name=item.name,
        text=str(item),
        status=status,
        seconds=seconds,
        changed=outcome.changed,
        counts=outcome.counts,
        details=outcome.details,
        verdicts=verdicts,
        nodes=(sum(1 for _ in before.nodes()), sum(1 for _ in after.nodes())),
        weight_bytes=(before.weight_bytes, after.weight_bytes),
        members=item.members if isinstance(item, Family) else (),
    )

"""The record of one optimization, from which every report of it is made."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ocompress.analysis.cost import Cost
from ocompress.auto import Plan
from ocompress.diagnostics import Remark
from ocompress.ir import Facet, Model
from ocompress.pipeline import PassRecord, PipelineResult, Status, choices_of
from ocompress.pipeline.pipeline import FIRST
from ocompress.profiling import ProfileResult
from ocompress.report.coded import CodedModel
from ocompress.validation import ValidationResult


@dataclass(frozen=True)
class Tried:
    """A pipeline that was tried beside others.

    Attributes:
        passes: Its text form, `canonicalize` left out.
        latency_ratio: Its time over the original's, None if it was not measured.
        size_ratio: Its bytes over the original's.
        kept: Whether it is the result.
    """

    passes: str
    latency_ratio: float | None
    size_ratio: float
    kept: bool


def idle(records: Iterable[PassRecord]) -> tuple[PassRecord, ...]:
    """Return the passes that changed nothing, but for the one that every pipeline starts with."""
    return tuple(r for r in records if r.status is Status.UNCHANGED and r.name != FIRST)


@dataclass(frozen=True, kw_only=True)
class Optimization:
    """What was asked, what each pass did, and what the result is worth.

    Attributes:
        settings: The resolved settings, JSON-able, in the order they are shown.
        source: Name of the input file, empty for a model in memory.
        output: The file written, None if there is none.
        discarded: Whether there is none because a budget failed.
        touched: Whether that file was changed (it may have had these bytes already).
        pipeline: The passes.
        validation: The result against the original.
        profile: Latency and memory beside the original's, None if they were not measured.
        cost: Parameters and multiply-accumulates, before and after.
        bytes: Size on disk with external data, before and after.
        samples: Samples there were, those that passes were fitted to included.
        coded: What an archive of the result holds, None unless a pass worked for that.
        tried: What was asked for and shorter pipelines, where some were tried.
        broken: The budgets that did not hold, one sentence each.
        remarks: What else a reader must know, one sentence each.
        plan: How the passes were chosen, None if they were given.
    """

    settings: Mapping[str, Any]
    source: str
    output: Path | None
    touched: bool
    pipeline: PipelineResult
    validation: ValidationResult
    profile: ProfileResult | None
    cost: tuple[Cost, Cost]
    bytes: tuple[int, int]
    samples: int = 0
    coded: CodedModel | None = None
    tried: tuple[Tried, ...] = ()
    broken: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()
    discarded: bool = False
    plan: Plan | None = None

    @property
    def model(self) -> Model:
        """The optimized model."""
        return self.pipeline.model

    @property
    def held(self) -> bool:
        """Whether every budget held."""
        return not self.broken

    @property
    def idle(self) -> tuple[PassRecord, ...]:
        """Passes the user asked for that changed nothing."""
        return idle(self.pipeline.records)

    def declined(self, record: PassRecord) -> dict[str, int]:
        """Count what a pass or its members left alone, by code, most frequent first."""
        counted = self.pipeline.diagnostics.declined(record.name, *record.members)
        return dict(sorted(counted.items(), key=lambda item: (-item[1], item[0])))

    def to_json(self) -> dict[str, Any]:
        """Return the body of the JSON report."""
        return {
            "held": self.held,
            "broken": list(self.broken),
            "remarks": list(self.remarks),
            "samples": {"all": self.samples, "judged_on": self.validation.samples},
            "input": {
                "file": self.source,
                "bytes": self.bytes[0],
                "cost": self.cost[0].to_json(),
            },
            "output": {
                "file": str(self.output) if self.output else "",
                "bytes": self.bytes[1],
                "cost": self.cost[1].to_json(),
            },
            "coded": self.coded.to_json() if self.coded else None,
            "plan": self.plan.to_json() if self.plan else None,
            "tried": [dataclasses.asdict(t) for t in self.tried],
            "passes": [self._pass(r) for r in self.pipeline.records],
            "choices": [c.to_json() for c in choices_of(self.pipeline)],
            "validation": self.validation.to_json(),
            "profile": self.profile.to_json() if self.profile else None,
            "nodes": [_remark(r) for r in self.pipeline.diagnostics],
        }

    def _pass(self, record: PassRecord) -> dict[str, Any]:
        return {
            "name": record.name,
            "text": record.text,
            "status": record.status.value,
            "seconds": round(record.seconds, 6),
            "changed": [f.name.lower() for f in Facet if f in record.changed and f.name],
            "counts": dict(record.counts),
            "declined": self.declined(record),
            "nodes": list(record.nodes),
            "weight_bytes": list(record.weight_bytes),
            "verdicts": [
                {
                    "guard": v.guard,
                    "held": v.held,
                    "message": v.message,
                    "figures": {n: f if math.isfinite(f) else None for n, f in v.figures.items()},
                }
                for v in record.verdicts
            ],
            "details": dict(record.details),
        }


def _remark(remark: Remark) -> dict[str, str]:
    return {
        "source": remark.source,
        "severity": remark.severity.value,
        "code": remark.code,
        "node": remark.node,
        "op_type": remark.op_type,
        "message": remark.message,
    }

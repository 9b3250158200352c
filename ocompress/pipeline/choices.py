"""What became of every layer, what would have come second, and why it lost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ocompress.diagnostics import Finding, Remark, Severity
from ocompress.pipeline.pipeline import FIRST
from ocompress.pipeline.records import PassRecord, PipelineResult, Status

_ENTRIES = ("name", "chosen", "second", "why")
_AS_IT_WAS = "as it is"


@dataclass(frozen=True, slots=True)
class LayerChoice(Finding):
    """One decision about one layer.

    Attributes:
        layer: Name of the layer, or of its weight.
        by: Name of the pass.
        chosen: What it became.
        second: What it would have become otherwise.
        why: Why that lost, one sentence; empty if it is not known.
    """

    layer: str
    by: str
    chosen: str
    second: str
    why: str


def choices_of(result: PipelineResult) -> tuple[LayerChoice, ...]:
    """Return what passes decided about layers, layer by layer, in order of the passes.

    Passes say what came second under `choices` in their details. Of other layers, remarks tell what
    was done or why nothing was.
    """
    found: dict[str, list[LayerChoice]] = {}
    for record in result.records:
        if record.name == FIRST:
            continue
        told = list(_told(record))
        known = {choice.layer for choice in told}
        for remark in result.diagnostics.of(record.name):
            if remark.node and remark.node not in known and record.status is not Status.ROLLED_BACK:
                told += _remarked(remark)
        for choice in told:
            found.setdefault(choice.layer, []).append(choice)
    return tuple(choice for choices in found.values() for choice in choices)


def _told(record: PassRecord) -> Iterator[LayerChoice]:
    rows = record.details.get("choices")
    for row in rows if isinstance(rows, list | tuple) else ():
        if isinstance(row, Mapping) and all(isinstance(row.get(e), str) for e in _ENTRIES):
            choice = LayerChoice(row["name"], record.name, *(row[e] for e in _ENTRIES[1:]))
            if record.status is Status.ROLLED_BACK:
                refused = next((v.message for v in record.verdicts if not v.held), "it was refused")
                why = f"rolled back with the whole pass: {refused}"
                choice = LayerChoice(choice.layer, record.name, _AS_IT_WAS, choice.chosen, why)
            yield choice


def _remarked(remark: Remark) -> Iterator[LayerChoice]:
    if remark.severity is Severity.APPLIED:
        why = "without it nothing is saved"
        yield LayerChoice(remark.node, remark.source, remark.message, _AS_IT_WAS, why)
    elif remark.severity is Severity.DECLINED:
        yield LayerChoice(remark.node, remark.source, _AS_IT_WAS, remark.source, remark.message)

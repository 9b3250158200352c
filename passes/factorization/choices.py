"""All candidates of all layers, and which of them pay."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ocompress.ir import Model
from ocompress.lossy.budget_search import FASTER
from ocompress.lossy.layer_times import Times, measured
from ocompress.pipeline import Context
from ocompress.planning import CandidateTable, Resource
from passes.factorization.building import Chained, Target
from passes.factorization.offers import Offer

_SLOWER = "its layers are not measured faster within the model"
_RUINOUS = "by itself it costs more than a model can lose"
_RUIN = 1.0
"""What a form costs at most: beyond, the error is as large as the output itself, or half a nat of
divergence, and decisions are no longer those of the model."""
Plan = dict[str, int]
"""Position of the candidate of each part that is changed."""


@dataclass
class Choices:
    """All candidates of all layers.

    Attributes:
        table: Their errors, sizes and times.
        offers: What makes them, at the same places.
        minds: What errors of outputs cost, by part.
        power: What it would cost to leave a part out.
        shapes: What each part reads.
        parts: Labels of the nodes of each part.
        by: What is saved: time where it was measured, else multiply-accumulates.
        rest: Multiply-accumulates of everything else in the model, for one sample.
        verdict: Code and sentence for all parts, if nothing holds a limit.
    """

    table: CandidateTable
    offers: dict[str, list[Offer]]
    minds: dict[str, np.ndarray]
    power: dict[str, float]
    shapes: dict[str, tuple[int, ...]]
    parts: dict[str, list[str]]
    by: Resource
    rest: float = 0.0
    verdict: tuple[str, str] | None = None

    def drop_ruinous(self) -> None:
        """Take forms out of the running that cost more by themselves than a model can lose."""
        for part, rows in self.table.rows.items():
            for at, row in enumerate(rows):
                if row.error > _RUIN:
                    self.table.drop(part, at, _RUINOUS)

    def targets(self, plan: Mapping[str, int]) -> dict[str, Target]:
        """Return what becomes of the parts that a plan changes."""
        found = {}
        for part, at in plan.items():
            offer = self.offers[part][at]
            if offer.form is not None:
                found[part] = Target(offer.form, offer.ranks, self.minds[part], self.shapes[part])
        return found


def changed(choice: Mapping[str, int]) -> Plan:
    """Return the parts of a choice that do not stay as they are."""
    return {part: at for part, at in choice.items() if at}


def why_kept(choices: Choices, part: str) -> tuple[str, str]:
    """Return code and sentence for a part that could have been changed and was not."""
    if choices.verdict is not None:
        return choices.verdict
    lost = [why for (name, _), why in choices.table.lost.items() if name == part]
    if _RUINOUS in lost and len(choices.table.open(part)) == 1:
        return "too-lossy", "each of its forms costs more by itself than a model can lose"
    if len(choices.table.open(part)) == 1 or _SLOWER in lost:
        return "not-faster", "none of its forms is measured faster here"
    return "not-chosen", "other layers save more for what they cost"


def paying(plan: Plan, built: Chained, choices: Choices, model: Model, ctx: Context) -> Plan:
    """Leave those layers as they are whose chain takes as long within the model."""
    times = measured(model, built.model, ctx)
    if times is None:
        return {}
    found = {}
    for part, at in plan.items():
        row = times.of(choices.parts[part], links_of(choices.parts[part], times.after))
        if row and row["ms_after"] < row["ms_before"] * FASTER:
            found[part] = at
        else:
            choices.table.drop(part, at, _SLOWER)
    return found


def add_times(
    lines: Iterable[dict[str, Any]], plan: Plan, choices: Choices, times: Times | None
) -> None:
    """Add to the report how long the layers that changed take within the model."""
    for line in lines:
        if times is not None and line["name"] in plan and line["taken"]:
            layers = choices.parts[line["name"]]
            spent = times.of(layers, links_of(layers, times.after))
            line |= {k: spent[k] for k in ("ms_before", "ms_after") if k in spent}


def links_of(layers: Sequence[str], labels: Iterable[str]) -> list[str]:
    """Return which labels are those of layers or of links that stand before them."""
    return [
        label
        for label in labels
        if any(label == x or label.startswith((f"{x}_factor", f"{x}_flat")) for x in layers)
    ]

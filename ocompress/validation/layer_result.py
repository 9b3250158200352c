"""What a comparison of a quantized model with its float one found, layer by layer."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import ClassVar

from ocompress.analysis.sensitivity import Sensitivity
from ocompress.diagnostics import Finding

CEILING_DB = 50.0
"""About what 8 bits can do at best: better inputs than this do not make a drop larger."""


@dataclass(frozen=True, slots=True)
class LayerQuality(Finding):
    """One layer of the quantized model against the float one.

    Attributes:
        node: Name of the node; of the input where `op_type` is `input`.
        op_type: Operator, `input` for an input of the model.
        value: The value compared, as the float model names it.
        quantized: Whether the node computes on integers, or with a weight that was rounded.
        sqnr_db: Signal over noise power of what readers get, decibels.
        inherited_db: The same of its worst input; `inf` if there is no noise in the inputs.
        own_db: Signal over noise power against a float copy of the layer on the same inputs, or
            what is left after taking off inherited noise where no copy could be made; `inf` if
            the layer adds no noise. Rounding an input counts here if no quantized layer made it.
        max_abs_error: Largest absolute difference.
        low: Smallest value in the float model.
        high: Largest value in the float model.
        grid_low: Smallest number of the grid, None where the value is not rounded to one.
        grid_high: Largest number of the grid.
        clipped: Share of the float model's values that the grid has no code for.
        saturated: Codes at the ends of the grid, an end that stands for 0.0 not counted.
        elements: Elements compared.
        pair_sums: Sums of two u8*s8 products examined, on a sample of rows.
        pair_clips: Those that leave int16, which x86-64 without VNNI clips.
        excludable: Whether `quant` can be told to leave the node alone: canonicalizing the float
            model keeps a node of that name.
    """

    derived: ClassVar[tuple[str, ...]] = ("drop_db",)

    node: str
    op_type: str
    value: str
    quantized: bool
    sqnr_db: float
    inherited_db: float
    own_db: float
    max_abs_error: float
    low: float
    high: float
    grid_low: float | None
    grid_high: float | None
    clipped: float | None
    saturated: int
    elements: int
    pair_sums: int
    pair_clips: int
    excludable: bool = True

    @property
    def drop_db(self) -> float:
        """How far the ratio falls from the inputs to the output, decibels."""
        if math.isinf(self.sqnr_db) and self.sqnr_db > 0:
            return 0.0
        return max(0.0, min(self.inherited_db, CEILING_DB) - self.sqnr_db)


@dataclass(frozen=True, slots=True)
class QuantReport(Finding):
    """A quantized model against the float one it was made from.

    Attributes:
        layers: Inputs that are rounded, then nodes in the order of the graph.
        missing: Values of the float model that the quantized one lacks.
        extra: Values of the quantized model that the float one lacks.
        sensitivity: What the outputs lose when only that layer is quantized, as measured; empty
            if that was not asked for.
        canonical: Whether the float model was canonicalized before its values were matched.
        samples: Samples compared.
        source: Where the data came from.
        remarks: What was left out and why, one sentence each.
    """

    derived: ClassVar[tuple[str, ...]] = ("breaks_at", "keep", "worst", "correlation")

    layers: tuple[LayerQuality, ...]
    missing: tuple[str, ...]
    extra: tuple[str, ...]
    sensitivity: tuple[Sensitivity, ...]
    canonical: bool
    samples: int
    source: str
    remarks: tuple[str, ...] = ()

    @property
    def breaks_at(self) -> str:
        """The layer with the largest drop, empty if there is none."""
        worst = max(self.layers, key=lambda entry: entry.drop_db, default=None)
        return worst.node if worst is not None and worst.drop_db > 0 else ""

    @property
    def keep(self) -> tuple[str, ...]:
        """Quantized nodes that cost quality, the one to keep in float first in front.

        Measured sensitivity decides where there is one, the noise a layer adds elsewhere.
        """
        costs = self._costs()
        return tuple(sorted((n for n in costs if costs[n] < math.inf), key=lambda n: costs[n]))

    @property
    def worst(self) -> tuple[str, ...]:
        """The first of `keep`, as many as make half of the noise, five at most."""
        costs = self._costs()
        noise = [10 ** (-costs[n] / 10) for n in self.keep]
        sums = list(itertools.accumulate(noise))
        count = sum(before < sums[-1] / 2 for before in (0.0, *sums[:-1])) if sums else 0
        return self.keep[: min(count, 5)]

    def _costs(self) -> dict[str, float]:
        measured = {s.node: s.sqnr_db for s in self.sensitivity}
        own = {e.node: e.own_db for e in self.layers if e.quantized and e.excludable}
        return {n: measured.get(n, own[n]) for n in own if not measured or n in measured}

    @property
    def correlation(self) -> float | None:
        """Spearman's rank correlation of the noise layers add and their measured sensitivity."""
        own = {entry.node: entry.own_db for entry in self.layers if entry.quantized}
        both = [(own[s.node], s.sqnr_db) for s in self.sensitivity if s.node in own]
        return spearman([a for a, _ in both], [b for _, b in both])


def spearman(left: list[float], right: list[float]) -> float | None:
    """Return the correlation of ranks, ties sharing theirs; None where there is no spread."""
    a, b = _ranks(left), _ranks(right)
    middle = (len(a) + 1) / 2
    spread = sum((x - middle) ** 2 for x in a) * sum((y - middle) ** 2 for y in b)
    if not spread:
        return None
    together = sum((x - middle) * (y - middle) for x, y in zip(a, b, strict=True))
    return float(together / math.sqrt(spread))


def _ranks(numbers: list[float]) -> list[float]:
    ordered = sorted(numbers)
    first = {x: ordered.index(x) for x in set(numbers)}
    return [first[x] + (ordered.count(x) + 1) / 2 for x in numbers]

"""Losses of outputs, summed up feed by feed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ocompress.analysis.output_parts import Spread
from ocompress.validation.intervals import mean_interval
from ocompress.validation.measures import Measure, Unit
from ocompress.validation.result import Loss

_SELDOM = 0.05
"""A probability that is on one side of a half more rarely than this decides nothing."""
_LOWEST = 0.1
"""Part of the samples, those with the smallest margins, that would be the first to flip."""


@dataclass
class LossSum:
    """Running loss of one output over data.

    Attributes:
        measure: How it is counted.
    """

    measure: Measure
    _losses: list[np.ndarray] = field(default_factory=list)
    _margins: list[np.ndarray] = field(default_factory=list)
    _spreads: list[Spread] = field(init=False)
    _seldom: LossSum | None = field(init=False, default=None)
    _fired: int = 0
    _decided: int = 0

    def __post_init__(self) -> None:
        """Begin with nothing."""
        self._spreads = [Spread(part) for part in self.measure.parts]
        if self.measure.seldom is not None:
            self._seldom = LossSum(self.measure.seldom)

    @property
    def decides(self) -> bool:
        """Whether decisions go both ways, as far as was seen."""
        if self._seldom is None:
            return self.measure.rule is not None
        return _SELDOM <= self._fired / max(self._decided, 1) <= 1 - _SELDOM

    def update(self, prepared: np.ndarray, candidate: np.ndarray | None, samples: int) -> None:
        """Take in one feed; None for an output that is no longer there."""
        unit = self.measure.unit
        if self._seldom is not None:
            p = prepared[..., 1]
            self._fired += int((p > 0.5).sum())
            self._decided += p.size
            self._seldom.update(p, candidate, samples)
        if unit is Unit.ERROR:
            for spread in self._spreads:
                spread.update(prepared)
        if candidate is None:
            lost = np.inf if unit is Unit.ERROR else 1.0
            self._losses.append(np.full((len(self._spreads), samples), lost))
        else:
            self._losses.append(self.measure.losses(prepared, candidate, samples))
        self.watch(prepared, samples)

    def watch(self, prepared: np.ndarray, samples: int) -> None:
        """Take in the original's output of a feed, for what a flip would cost."""
        self._margins.append(self.measure.margins(prepared, samples))

    def results(self, confidence: float | None = None) -> list[Loss]:
        """Return the loss of each part.

        Args:
            confidence: One-sided confidence of the interval's upper end; None gives the two-sided
                95 % of reports.
        """
        if not self._losses:
            return []
        if self._seldom is not None and not self.decides:
            return self._seldom.results(confidence)
        losses = np.concatenate(self._losses, axis=1)
        if self.measure.unit is Unit.ERROR:
            losses = losses / np.array([[s.variance] for s in self._spreads])
        bounded = self.measure.unit in (Unit.EXPECTED, Unit.AGREEMENT)
        margin = self.margin if bounded else None
        return [
            Loss(part.name, self.measure.unit.value, found, len(row))
            for part, row in zip(self.measure.parts, losses, strict=True)
            for found in [mean_interval(row, margin, confidence)]
        ]

    @property
    def margin(self) -> float:
        """What a flip would cost, on average, of the samples that are the nearest to one."""
        margins = np.sort(np.concatenate(self._margins))
        return float(margins[: max(1, round(len(margins) * _LOWEST))].mean())


def worst(losses: Sequence[Loss]) -> Loss | None:
    """Return the largest loss, None without any; one that is not a number is the largest."""
    return max(losses, key=lambda n: (np.isnan(n.drop.value), n.drop.value), default=None)

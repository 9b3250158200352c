"""Losses of outputs, summed up feed by feed."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ocompress.analysis.output_parts import Spread
from ocompress.validation.decisions import Kind
from ocompress.validation.exchange import Exchange
from ocompress.validation.intervals import mean_interval
from ocompress.validation.measures import LossUnit, Measure
from ocompress.validation.result import Interval, Loss
from ocompress.validation.tally import Matching, Tally

_SELDOM = 0.05
"""A probability that is on one side of a half more rarely than this decides nothing."""
_BELIEVED, _INFORMED = 0.5, 0.75
"""An original whose own probabilities give its decisions less than the first on average, and say
less than the second of what it takes to name one of so many classes (0.18 for one of a thousand),
hardly tells them apart: then they say nothing of what a decision is worth."""
_LOWEST = 0.1
"""Part of the samples, those with the smallest margins, that would be the first to flip."""


@dataclass
class LossSum:
    """Running loss of one output over data.

    Attributes:
        measure: How it is counted.
        like: The sum that says whether probabilities are to be believed; None goes by its own.
        alike: Whether the same class won in all samples so far.
    """

    measure: Measure
    like: LossSum | None = None
    alike: bool = True
    _losses: list[np.ndarray] = field(default_factory=list)
    _margins: list[np.ndarray] = field(default_factory=list)
    _spreads: list[Spread] = field(init=False)
    _instead: LossSum | None = field(init=False, default=None)
    _winner: int | None = None
    _exchange: Exchange = field(default_factory=Exchange)
    _tallies: list[Tally] = field(default_factory=list)
    _own: list[np.ndarray] = field(default_factory=list)
    _fired: float = 0.0
    _sure: float = 0.0
    _decided: int = 0
    _classes: int = 1

    def __post_init__(self) -> None:
        """Begin with nothing."""
        self._spreads = [Spread(part) for part in self.measure.parts]
        if self.measure.instead is not None:
            self._instead = LossSum(self.measure.instead)

    @property
    def decides(self) -> bool:
        """Whether the output decides anything: one probability has to go both ways."""
        rule = self.measure.rule
        if rule is None or rule.kind is not Kind.THRESHOLD or not self._decided:
            return rule is not None
        return _SELDOM <= self._fired / self._decided <= 1 - _SELDOM

    @property
    def tells_nothing(self) -> bool:
        """Whether the same class wins in every sample, so that numbers are to count instead."""
        return self.measure.numbers is not None and self.alike and self._decided > 1

    @property
    def unit(self) -> LossUnit:
        """What the loss is counted in, as far as was seen."""
        return self.counted.unit

    @property
    def counted(self) -> Measure:
        """How the loss is counted, as far as was seen."""
        return self._counting.measure

    @property
    def _counting(self) -> LossSum:
        """The sum that counts: the other one where probabilities are not to be believed."""
        if self._instead is not None and self.measure.matching is not None:
            return self if any(own.any() for own in self._own) or not self._own else self._instead
        if self._instead is None or not self._decided:
            return self
        return self if (self.like or self).is_believed else self._instead

    @property
    def is_believed(self) -> bool:
        """Whether the original's probabilities say what a decision is worth."""
        least = min(_BELIEVED, self._classes ** (_INFORMED - 1))
        return self.decides and self._sure >= least * self._decided

    def update(self, prepared: np.ndarray, candidate: np.ndarray | None, samples: int) -> None:
        """Take in one feed.

        Args:
            prepared: What the measure made of the original's output, [samples, ...].
            candidate: The candidate's output, [samples, ...]; None if it is no longer there.
            samples: Samples of the feed.
        """
        unit = self.measure.unit
        if self._instead is not None:
            self._instead.update(self.measure.decided_by(prepared), candidate, samples)
        if self.measure.matching is not None:
            self._match(self.measure.matching, prepared, candidate, samples)
            return
        if unit is LossUnit.ERROR:
            for spread in self._spreads:
                spread.update(prepared)
        if candidate is None:
            lost = np.inf if unit is LossUnit.ERROR else 1.0
            self._losses.append(np.full((len(self._spreads), samples), lost))
        else:
            self._losses.append(self.measure.losses(prepared, candidate, samples))
        if unit is LossUnit.EXPECTED:
            scores = None if candidate is None else self.measure.scores_like(prepared, candidate)
            self._exchange.update(prepared, scores, self.measure.temperature, samples)
        self.watch(prepared, samples)

    def _match(
        self, matching: Matching, prepared: np.ndarray, candidate: np.ndarray | None, samples: int
    ) -> None:
        if candidate is None:
            found = Tally.of_nothing(matching.own(prepared, samples))
        else:
            found = matching.compare(prepared, matching.prepare(candidate), samples)
        self._tallies.append(found)
        self._own.append(found.own)

    def watch(self, prepared: np.ndarray, samples: int) -> None:
        """Take in the original's output, [samples, ...], for what a flip would cost."""
        if self.measure.matching is not None:
            self._own.append(self.measure.matching.own(prepared, samples))
            if self._instead is not None:
                self._instead.watch(self.measure.decided_by(prepared), samples)
            return
        self._margins.append(self.measure.margins(prepared, samples))
        if self.measure.unit is LossUnit.EXPECTED:
            best = np.nan_to_num(prepared.max(-1))
            self._sure += float(best.sum())
            self._fired += float((prepared[..., -1] > 0.5).sum())
            self._decided += best.size
            self._classes = prepared.shape[-1]
            self.alike = self.alike and self._wins_again(prepared)

    def _wins_again(self, prepared: np.ndarray) -> bool:
        """Return whether the same class wins as ever, of [samples, ..., classes]."""
        winners = prepared.argmax(-1) if prepared.size else np.zeros(0, np.int64)
        if self._winner is None and winners.size:
            self._winner = int(winners.flat[0])
        return bool((winners == self._winner).all())

    def results(self, confidence: float | None = None) -> list[Loss]:
        """Return the loss of each part.

        Args:
            confidence: One-sided confidence of the interval's upper end; None gives the two-sided
                95 % of reports.
        """
        if not self._losses and not self._tallies:
            return []
        if self._counting is not self:
            return self._counting.results(confidence)
        if self._tallies:
            return self._matched(confidence)
        losses = np.concatenate(self._losses, axis=1)
        if self.measure.unit is LossUnit.ERROR:
            losses = losses / np.array([[s.variance] for s in self._spreads])
        margin = self.margin if self.measure.unit.is_share else None
        return self._losses_of(losses, margin, confidence)

    def _losses_of(
        self, losses: np.ndarray, margin: float | None, confidence: float | None
    ) -> list[Loss]:
        """Return the mean of each part of [parts, samples]."""
        measure = self.measure
        return [
            Loss(part.name, measure.unit.value, found, len(row), measure.temperature, measure.why)
            for part, row in zip(measure.parts, losses, strict=True)
            for found in [self._interval(row, margin, confidence)]
        ]

    def _interval(
        self, losses: np.ndarray, margin: float | None, confidence: float | None
    ) -> Interval:
        if self.measure.unit is LossUnit.EXPECTED and margin is not None:
            return self._exchange.loss(losses, margin, confidence)
        return mean_interval(losses, margin, confidence)

    def _matched(self, confidence: float | None) -> list[Loss]:
        """Return sums of what was lost over sums of all there is, the mean over cells or by part.

        A sample's share of the whole sum, times the number of samples, is its loss: the mean of
        these is the ratio of the sums.
        """
        lost, whole, own = (
            np.concatenate([getattr(t, name) for t in self._tallies], axis=1)
            for name in ("lost", "whole", "own")
        )
        there = own.sum(1) > 0
        totals = np.where(there, whole.sum(1), 1.0)[:, None]
        losses = np.where(there[:, None], lost * (lost.shape[1] / totals), 0.0)
        if self.measure.unit.is_share:
            return self._losses_of(losses[there].mean(0)[None], self.margin, confidence)
        return self._losses_of(losses, None, confidence)

    def beside(self, prepared: np.ndarray, candidate: np.ndarray | None, samples: int) -> None:
        """Take in samples that the candidate was fitted to.

        Args:
            prepared: What the measure made of the original's output, [samples, ...].
            candidate: The candidate's, [samples, ...]; None where it did not run.
            samples: Samples of the feed.
        """
        if self.measure.unit is LossUnit.EXPECTED:
            scores = None if candidate is None else self.measure.scores_like(prepared, candidate)
            self._exchange.watch(prepared, scores, self.measure.temperature, samples)

    def agreement(self, plain: Interval) -> Interval:
        """Return the share of equal decisions to be expected; `plain` is the share as it is."""
        return self._exchange.agreement(plain)

    @property
    def margin(self) -> float:
        """What a flip would cost, on average, of the samples that are the nearest to one."""
        if self._counting is not self:
            return 1.0
        if self.measure.matching is not None:
            own = np.concatenate(self._own, axis=1)
            totals = own.sum(1)[own.sum(1) > 0]
            return min(1.0, float((own.shape[1] / totals).mean()))
        margins = np.sort(np.concatenate(self._margins))
        return float(margins[: max(1, round(len(margins) * _LOWEST))].mean())

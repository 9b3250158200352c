"""Comparing two models output by output while the data stream by."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ocompress.ir import Model
from ocompress.runtime import Level
from ocompress.validation.choosing import choose_measures
from ocompress.validation.decisions import DecisionRule, agree
from ocompress.validation.intervals import wilson
from ocompress.validation.losses import LossSum
from ocompress.validation.measures import LossUnit, Measure
from ocompress.validation.naming import AUTO, Wanted
from ocompress.validation.numeric import NumericSum
from ocompress.validation.result import (
    Interval,
    LevelResult,
    OutputComparison,
    ScoreComparison,
    WorstSample,
)

Outputs = Mapping[str, np.ndarray]

MOST_WORST = 5
"""Worst samples that are kept."""


@dataclass(slots=True)
class OutputSum:
    """Running comparison of one output: numbers, decisions and what is lost.

    Attributes:
        name: Name of the output.
        measure: How its loss is counted.
    """

    name: str
    measure: Measure
    numbers: NumericSum = field(default_factory=NumericSum)
    _agreed: float = 0.0
    _counted: int = 0
    _lost: LossSum = field(init=False)
    _numbers: LossSum | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        """Begin with nothing."""
        self._lost = LossSum(self.measure)
        if self.measure.numbers is not None:
            self._numbers = LossSum(self.measure.numbers)

    def update(
        self, references: Outputs, candidates: Outputs, first: int, samples: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Take in all outputs of one feed: arrays [samples, ...], or single results of any shape.

        Returns:
            Decibels per sample (or a single one), and shares of equal decisions, all 1 where the
            output decides nothing.
        """
        reference, candidate = references[self.name], candidates[self.name]
        ratios = self.numbers.update(reference, candidate, first, samples)
        counted = self.measure.of(self.name, references) if self.measure.counts else None
        if counted is not None:
            other = self.measure.of(self.name, candidates)
            self._lost.update(self.measure.prepare(counted), other, samples)
            self._update_numbers(counted, other, samples)
        rule = self.measure.rule
        if rule is None:
            return ratios, np.ones(len(ratios))
        left, right = (rule.labels_of(rule.decide(a), True) for a in (reference, candidate))
        shares = agree(left, right, samples)
        self._agreed += float(shares.sum())
        self._counted += len(shares)
        return ratios, shares

    def _update_numbers(
        self, reference: np.ndarray, candidate: np.ndarray | None, samples: int
    ) -> None:
        """Take in the outputs themselves for as long as the same class wins."""
        if self._numbers is None or not self._lost.alike:
            self._numbers = None
            return
        self._numbers.update(self._numbers.measure.prepare(reference), candidate, samples)

    def beside(self, references: Outputs, candidates: Outputs, samples: int) -> None:
        """Take in samples that the candidate was fitted to, all outputs by name."""
        if self.measure.unit is LossUnit.EXPECTED and self.measure.counts:
            reference = self.measure.of(self.name, references)
            if reference is not None:
                candidate = self.measure.of(self.name, candidates)
                self._lost.beside(self.measure.prepare(reference), candidate, samples)

    def result(self) -> OutputComparison:
        """Return the comparison."""
        numbers = self.numbers
        rule = self.measure.rule if self._lost.decides else None
        return OutputComparison(
            name=self.name,
            elements=numbers.elements,
            exact=numbers.exact,
            **numbers.figures(),
            new_nonfinite=numbers.new_nonfinite,
            shape_changes=numbers.shape_changes,
            changed_nonfinite=numbers.changed_nonfinite,
            nonfinite=numbers.elements - numbers.compared,
            agreement=self._agreement() if rule is not None and self._counted else None,
            decision=rule.describe(True) if rule is not None else "",
            worst_sample=numbers.worst[0],
            losses=tuple(self._counting.results()),
        )

    @property
    def _counting(self) -> LossSum:
        numbers = self._numbers if self._lost.tells_nothing else None
        return numbers or self._lost

    def _agreement(self) -> Interval:
        return self._lost.agreement(wilson(self._agreed / self._counted, self._counted))


@dataclass(slots=True)
class Comparer:
    """Running comparison of all the outputs that two models share.

    Memory hardly grows with the data: sums per output, a loss per sample, and the few worst
    samples.

    Attributes:
        model: The reference, whose graph tells what kind its outputs are.
        measures: How the loss of outputs is counted, where that is known.
        wanted: How somebody asked that it is counted, where it is not known.
    """

    model: Model
    measures: dict[str, Measure] = field(default_factory=dict)
    wanted: Wanted = AUTO
    _outputs: dict[str, OutputSum] = field(default_factory=dict)
    _worst: list[tuple[float, int, str, bool]] = field(default_factory=list)

    def update(
        self,
        reference: Outputs,
        candidate: Outputs,
        first: int,
        samples: int,
    ) -> None:
        """Take in one feed's outputs; `first` is the index of its first sample."""
        if not self.measures.keys() >= reference.keys():
            chosen = choose_measures(self.model, reference, self.wanted)
            self.measures = {**chosen, **self.measures}
        lowest = [(np.inf, "")] * samples
        agrees = np.ones(samples, bool)
        for name in reference:
            if name not in candidate:
                continue
            output = self._outputs.setdefault(name, OutputSum(name, self.measures[name]))
            ratios, shares = output.update(reference, candidate, first, samples)
            if len(ratios) == len(shares) == samples:
                lowest = [min(old, (r, name)) for old, r in zip(lowest, ratios, strict=True)]
                agrees &= shares == 1.0
        for index, (ratio, name) in enumerate(lowest):
            if name and ratio < np.inf:
                self._keep((-float(ratio), -(first + index), name, bool(agrees[index])))

    def beside(self, reference: Outputs, candidate: Outputs, samples: int) -> None:
        """Take in all outputs of a feed that the candidate was fitted to."""
        for output in self._outputs.values():
            output.beside(reference, candidate, samples)

    def _keep(self, entry: tuple[float, int, str, bool]) -> None:
        if len(self._worst) < MOST_WORST:
            heapq.heappush(self._worst, entry)
        else:
            heapq.heappushpop(self._worst, entry)

    def outputs(self) -> tuple[OutputComparison, ...]:
        """Return one comparison per output, in the order of the reference."""
        return tuple(o.result() for o in self._outputs.values())

    def worst(self) -> tuple[WorstSample, ...]:
        """Return the worst samples, worst first."""
        ordered = sorted(self._worst, reverse=True)
        return tuple(WorstSample(-i, name, -ratio, same) for ratio, i, name, same in ordered)

    def rule_of(self, output: str) -> DecisionRule | None:
        """Return how decisions are read off an output, None where it decides nothing."""
        return self.measures[output].rule if output in self.measures else None

    def within_unit(self, output: str) -> bool:
        """Whether the reference's output stays within [0, 1]; False if it was never compared."""
        return output in self._outputs and self._outputs[output].numbers.within_unit

    def result(
        self, level: Level, scores: Sequence[ScoreComparison | None] = (None, None)
    ) -> LevelResult:
        """Return the comparison at one level, with accuracy and metric."""
        accuracy, metric = scores
        return LevelResult(level, self.outputs(), accuracy, metric, self.worst())

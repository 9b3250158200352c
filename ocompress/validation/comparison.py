"""Comparing two models output by output while the data stream by."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ocompress.runtime import Level
from ocompress.validation.decisions import Rule, agree
from ocompress.validation.intervals import wilson
from ocompress.validation.numeric import NumericSum
from ocompress.validation.result import LevelResult, OutputComparison, ScoreComparison, WorstSample

MOST_WORST = 5
"""Worst samples that are kept."""


@dataclass(slots=True)
class OutputSum:
    """Running comparison of one output: numbers and decisions."""

    name: str
    numbers: NumericSum = field(default_factory=NumericSum)
    _rule: Rule | None = None
    _agreed: np.ndarray = field(default_factory=lambda: np.zeros(2))
    _counted: int = 0

    def update(
        self, reference: np.ndarray, candidate: np.ndarray, first: int, samples: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Take in one feed.

        Returns:
            Decibels, and shares of equal decisions, per sample (or a single one).
        """
        if self._rule is None:
            self._rule = Rule.for_output(reference)
        ratios = self.numbers.update(reference, candidate, first, samples)
        left, right = self._rule.decide(reference), self._rule.decide(candidate)
        shares = [
            agree(self._rule.labels_of(left, unit), self._rule.labels_of(right, unit), samples)
            for unit in (False, True)
        ]
        self._agreed += [s.sum() for s in shares]
        self._counted += len(shares[0])
        return ratios, shares[self.numbers.within_unit]

    def result(self) -> OutputComparison:
        """Return the comparison."""
        numbers, unit = self.numbers, self.numbers.within_unit
        share = float(self._agreed[int(unit)]) / max(self._counted, 1)
        return OutputComparison(
            name=self.name,
            elements=numbers.elements,
            exact=numbers.exact,
            **numbers.figures(),
            new_nonfinite=numbers.new_nonfinite,
            shape_changes=numbers.shape_changes,
            changed_nonfinite=numbers.changed_nonfinite,
            nonfinite=numbers.elements - numbers.compared,
            agreement=wilson(share, self._counted) if self._counted else None,
            decision=self._rule.describe(unit) if self._rule else "",
            worst_sample=numbers.worst[0],
        )


@dataclass(slots=True)
class Comparer:
    """Running comparison of all the outputs that two models share.

    Memory does not grow with the data: sums per output, and the few worst samples.
    """

    _outputs: dict[str, OutputSum] = field(default_factory=dict)
    _worst: list[tuple[float, int, str, bool]] = field(default_factory=list)

    def update(
        self,
        reference: dict[str, np.ndarray],
        candidate: dict[str, np.ndarray],
        first: int,
        samples: int,
    ) -> None:
        """Take in one feed's outputs; `first` is the index of its first sample."""
        lowest = [(np.inf, "")] * samples
        agrees = np.ones(samples, bool)
        for name, array in reference.items():
            if name not in candidate:
                continue
            output = self._outputs.setdefault(name, OutputSum(name))
            ratios, shares = output.update(array, candidate[name], first, samples)
            if len(ratios) == len(shares) == samples:
                lowest = [min(old, (r, name)) for old, r in zip(lowest, ratios, strict=True)]
                agrees &= shares == 1.0
        for index, (ratio, name) in enumerate(lowest):
            if name and ratio < np.inf:
                self._keep((-float(ratio), -(first + index), name, bool(agrees[index])))

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

    def within_unit(self, output: str) -> bool:
        """Whether the reference's output stays within [0, 1]; False if it was never compared."""
        return output in self._outputs and self._outputs[output].numbers.within_unit

    def result(
        self, level: Level, scores: Sequence[ScoreComparison | None] = (None, None)
    ) -> LevelResult:
        """Return the comparison at one level, with accuracy and metric."""
        accuracy, metric = scores
        return LevelResult(level, self.outputs(), accuracy, metric, self.worst())

"""How much worse a candidate is than the original, on data, as one number with its interval."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from ocompress.ir import Model
from ocompress.validation.measures import LossUnit, Measure
from ocompress.validation.result import Interval
from ocompress.validation.unit_limits import DropLimit

MOST_FITTED = 2048
"""Samples that passes were fitted to that are looked at, too, at most."""


@dataclass(frozen=True)
class Drop:
    """What a candidate lost.

    Attributes:
        value: The loss with its interval, whose upper end has the confidence asked for.
        noun: What was lost, for people.
        count: Samples.
        least: Upper end that a candidate without any loss would have on so many samples.
        unit: What it is counted in; None for a score.
        fitted: The loss on samples that the candidate was fitted to; None where there are none
            or nobody looked.
        clear: Whether so much was lost that nobody looked.
        finite: Whether no output was NaN or infinite on what is judged on.
    """

    value: Interval
    noun: str
    count: int
    least: float
    unit: LossUnit | None = None
    fitted: Drop | None = None
    clear: bool = False
    finite: bool = False


class Meter(Protocol):
    """Measures candidates against the original, which was run once."""

    noun: str
    """What is measured, for people."""
    units: Sequence[LossUnit]
    """Units of outputs, each once; none where a score is measured."""
    reasons: Sequence[str]
    """How each output is counted and why, one sentence each; none where a score is."""

    def drop(
        self,
        candidate: Model,
        confidence: float,
        limit: DropLimit,
        most: float = math.inf,
    ) -> Drop:
        """Run a candidate, and return what it lost most of for what the unit may lose.

        Args:
            candidate: What became of the original.
            confidence: One-sided confidence of the interval's upper end.
            limit: What each unit may lose.
            most: What has clearly lost more than this, in the strictest unit, is not looked at
                on samples that it was fitted to.

        Raises:
            RuntimeFailureError: If it cannot be loaded or run.
            CollapsedError: If an output became the same for every input.
            DataError: If the data do not fit it.
        """
        ...

    @property
    def measures(self) -> Mapping[str, Measure]:
        """How losses of outputs are counted; empty where a score is."""
        ...

    def margins(self) -> Mapping[LossUnit | None, float]:
        """Return what a sample that is lost costs, at the least likely, by unit."""
        ...

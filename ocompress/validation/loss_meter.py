"""Losses of outputs that need no labels."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial

import numpy as np

from ocompress.errors import DataError
from ocompress.io.dataset import Dataset, Feeds, samples_in
from ocompress.ir import Model
from ocompress.runtime import Level
from ocompress.validation.choosing import choose_measures
from ocompress.validation.drops import MOST_FITTED, Drop
from ocompress.validation.intervals import mean_interval
from ocompress.validation.losses import LossSum
from ocompress.validation.measures import LossUnit, Measure
from ocompress.validation.naming import AUTO, Wanted, fit
from ocompress.validation.relation import Motion
from ocompress.validation.sources import LiveSource, OutputShelf
from ocompress.validation.temperature import corrected
from ocompress.validation.unit_limits import DropLimit

Outputs = dict[str, np.ndarray]


@dataclass(frozen=True)
class _Kept:
    """What measures made of the original's outputs, feed by feed.

    Attributes:
        data: The feeds.
        shelf: What was made of each.
    """

    data: Dataset
    shelf: OutputShelf = field(default_factory=OutputShelf)

    def __iter__(self) -> Iterator[tuple[Feeds, int, Outputs]]:
        """Yield each feed, its samples, and what is kept."""
        for feeds, kept in zip(self.data, self.shelf, strict=True):
            yield feeds, samples_in(self.data, feeds), kept


class LossMeter:
    """Measures losses that need no labels, each output in its unit; the worst counts.

    What is kept of the original are the probabilities or outputs that candidates are compared
    with; beyond 64 MiB they go to a temporary file.
    """

    def __init__(
        self,
        reference: Model,
        data: Dataset,
        wanted: Wanted = AUTO,
        threads: int = 1,
        fitted: Dataset | None = None,
        *,
        alike: bool = True,
    ) -> None:
        """Run the reference over the data once.

        Args:
            reference: The original.
            data: What is judged on.
            wanted: What is measured; may be left to the outputs.
            threads: Threads within an operator; 0 takes all cores.
            fitted: Samples that candidates were fitted to; the reference runs on them once they
                are looked at.
            alike: Whether these were drawn with `data`; then their margins, and errors there, say
                more of what is lost on such samples.
        """
        self._reference, self._threads = reference, threads
        self._fitted, self._alike, self._motion = fitted, alike, Motion()
        self._measures: dict[str, Measure] = {}
        self._kept = self._run(data, partial(self._choose, reference, data, wanted))
        self._sums = self._watched()
        silent = [name for name, total in self._sums.items() if total.tells_nothing]
        if silent:
            numbers = {name: self._measures[name].numbers for name in silent}
            self._measures = {n: numbers.get(n) or m for n, m in self._measures.items()}
            self._kept = self._run(data)  # of outputs, which nobody kept
            self._sums = self._watched()
        self.units: Sequence[LossUnit] = sorted({total.unit for total in self._sums.values()})
        self.noun = " or ".join(sorted(unit.noun for unit in self.units))
        self.reasons: Sequence[str] = [
            f"output {name!r} is counted by {total.unit}: {total.counted.why}"
            for name, total in self._sums.items()
        ]

    @property
    def measures(self) -> Mapping[str, Measure]:
        """How the loss of each output that counts is measured."""
        return self._measures

    def drop(
        self, candidate: Model, confidence: float, limit: DropLimit, most: float = math.inf
    ) -> Drop:
        """Return the worst loss of any output; see `Meter.drop`."""
        source = LiveSource(candidate, Level.ALL, self._threads)
        sums, motion = self._begin(), Motion()
        for feeds, samples, kept in self._kept:
            outputs = source.outputs(feeds)
            motion.update(outputs, samples)
            for name, prepared in kept.items():
                sums[name].update(prepared, self._measures[name].of(name, outputs), samples)
        self._motion.check(motion)
        found = replace(self._worst(sums, confidence, limit), finite=motion.finite)
        if self._fitted is not None and found.value.low > most * limit.worth(found.unit):
            return replace(found, clear=True)
        if self._beside is None:
            return found
        own = self._begin(self._sums)  # in the units of the others
        for feeds, samples, kept in self._beside:
            outputs = source.outputs(feeds)
            for name, prepared in kept.items():
                output = self._measures[name].of(name, outputs)
                own[name].update(prepared, output, samples)
                if self._alike:
                    sums[name].beside(prepared, output, samples)
        known = self._worst(own, confidence, limit)
        whole = self._worst(sums, confidence, limit)
        return replace(whole, fitted=known, finite=motion.finite)

    def margins(self) -> Mapping[LossUnit | None, float]:
        """Return what the flip of a sample that is near to one costs, by unit."""
        found: dict[LossUnit | None, float] = dict.fromkeys(self.units, 0.0)
        for total in self._sums.values():
            if total.unit.is_share:
                found[total.unit] = max(found[total.unit], total.margin)
        return found

    @cached_property
    def _beside(self) -> _Kept | None:
        return None if self._fitted is None else self._run(self._fitted.take(MOST_FITTED))

    def _run(self, data: Dataset, choose: Callable[[Outputs], None] | None = None) -> _Kept:
        """Run the reference; what is measured is chosen by its first outputs."""
        found = _Kept(data)
        source = LiveSource(self._reference, Level.ALL, self._threads)
        for feeds in data:
            outputs = source.outputs(feeds)
            if choose is not None:
                self._motion.update(outputs, samples_in(data, feeds))
                if not self._measures:
                    choose(outputs)
            measured = {n: m.of(n, outputs) for n, m in self._measures.items() if m.counts}
            found.shelf.put(
                {n: self._measures[n].prepare(a) for n, a in measured.items() if a is not None}
            )
        return found

    def _worst(self, sums: Mapping[str, LossSum], confidence: float, limit: DropLimit) -> Drop:
        most = limit.worst(loss for total in sums.values() for loss in total.results(confidence))
        assert most is not None  # there is a measure, and there are data
        unit = LossUnit(most.unit)
        margin = self.margins().get(unit, 0.0)
        least = mean_interval(np.zeros(most.count), margin, confidence).high
        return Drop(most.drop, unit.noun, most.count, least, unit)

    def _watched(self) -> dict[str, LossSum]:
        """Return sums that have seen what is kept of the original."""
        sums = self._begin()
        for _, samples, kept in self._kept:
            for name, prepared in kept.items():
                sums[name].watch(prepared, samples)
        return sums

    def _begin(self, like: Mapping[str, LossSum] | None = None) -> dict[str, LossSum]:
        """Return sums that have seen nothing, which count as others do if they are given."""
        others = like or {}
        counted = {name: m for name, m in self._measures.items() if m.counts}
        return {name: LossSum(m, others.get(name)) for name, m in counted.items()}

    def _choose(self, reference: Model, data: Dataset, wanted: Wanted, outputs: Outputs) -> None:
        if not outputs:
            msg = "no output of the model is a tensor, so nothing can be measured"
            raise DataError(msg)
        found = choose_measures(reference, outputs, wanted)
        fit(wanted, found, choose_measures(reference, outputs))
        self._measures = corrected(reference, data, lambda _: found, self._threads) or found

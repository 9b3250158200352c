"""How much worse a candidate is than the original, on data, as one number with its interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from ocompress.errors import DataError
from ocompress.io.dataset import Dataset, Feeds, samples_in
from ocompress.ir import Model
from ocompress.runtime import Level
from ocompress.validation.choosing import choose_measures
from ocompress.validation.decisions import as_float, is_float
from ocompress.validation.intervals import mean_interval
from ocompress.validation.losses import LossSum
from ocompress.validation.measures import LossUnit, Measure
from ocompress.validation.metric import Metric
from ocompress.validation.naming import AUTO, Wanted, fit, wanted_by
from ocompress.validation.relation import Motion
from ocompress.validation.result import Interval
from ocompress.validation.scores import Accuracy, ScoreSum, class_ids, metric_scores
from ocompress.validation.sources import LiveSource, OutputShelf
from ocompress.validation.temperature import corrected
from ocompress.validation.unit_limits import DropLimit


@dataclass(frozen=True)
class Drop:
    """What a candidate lost.

    Attributes:
        value: The loss with its interval, whose upper end has the confidence asked for.
        noun: What was lost, for people.
        count: Samples.
        least: Upper end that a candidate without any loss would have on so many samples.
        unit: What it is counted in; None for a score.
    """

    value: Interval
    noun: str
    count: int
    least: float
    unit: LossUnit | None = None


class Meter(Protocol):
    """Measures candidates against the original, which was run once."""

    noun: str
    """What is measured, for people."""
    units: Sequence[LossUnit]
    """Units of outputs, each once; none where a score is measured."""
    reasons: Sequence[str]
    """How each output is counted and why, one sentence each; none where a score is."""

    def drop(self, candidate: Model, confidence: float, limit: DropLimit) -> Drop:
        """Run a candidate, and return what it lost most of for what the unit may lose.

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


def make_meter(reference: Model, data: Dataset, metric: str | Metric, *, threads: int = 1) -> Meter:
    """Make the meter of a metric; `auto` takes accuracy where every sample has a label.

    Asked for by name, accuracy is that of the samples that have one.

    Args:
        reference: The original; it runs once.
        data: What is judged on.
        metric: What `--metric` may say (`ocompress.validation.naming`), or the user's own.
        threads: Threads within an operator; 0 takes all cores.

    Raises:
        OptionError: If there is no metric of that name.
        DataError: If the data do not fit the reference, or the metric its outputs.
        RuntimeFailureError: If the reference cannot be loaded or run.
    """
    if isinstance(metric, Metric):
        return ScoreMeter(reference, data, metric, threads)
    wanted = wanted_by(metric)
    if wanted is None:
        return ScoreMeter(reference, data, "accuracy", threads)
    if metric == "auto" and _has_all_labels(data):
        try:
            return ScoreMeter(reference, data, "accuracy", threads)
        except DataError:
            pass  # labels of something else, nobody asked for them
    return LossMeter(reference, data, wanted, threads)


def _has_all_labels(data: Dataset) -> bool:
    labels = class_ids(data)
    if labels is None or len(labels) != data.samples:
        return False
    return not Accuracy(labels).unlabelled


class LossMeter:
    """Measures losses that need no labels, each output in its unit; the worst counts.

    What is kept of the original are the probabilities or outputs that candidates are compared
    with; beyond 64 MiB they go to a temporary file.
    """

    def __init__(
        self, reference: Model, data: Dataset, wanted: Wanted = AUTO, threads: int = 1
    ) -> None:
        """Run the reference over the data once; what is wanted may be left to the outputs."""
        self._data, self._threads = data, threads
        self._kept, self._motion = OutputShelf(), Motion()
        self._measures: dict[str, Measure] = {}
        source = LiveSource(reference, Level.ALL, threads)
        for feeds in data:
            outputs = source.outputs(feeds)
            self._motion.update(outputs, samples_in(data, feeds))
            if not self._measures:
                self._measures = self._choose(reference, outputs, wanted)
            found = {n: m.of(n, outputs) for n, m in self._measures.items() if m.counts}
            self._kept.put(
                {n: self._measures[n].prepare(a) for n, a in found.items() if a is not None}
            )
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

    def drop(self, candidate: Model, confidence: float, limit: DropLimit) -> Drop:
        """Return the worst loss of any output; see `Meter.drop`."""
        sums, motion = self._begin(), Motion()
        source = LiveSource(candidate, Level.ALL, self._threads)
        for feeds, kept in zip(self._data, self._kept, strict=True):
            outputs = source.outputs(feeds)
            samples = samples_in(self._data, feeds)
            motion.update(outputs, samples)
            for name, prepared in kept.items():
                sums[name].update(prepared, self._measures[name].of(name, outputs), samples)
        self._motion.check(motion)
        most = limit.worst(loss for total in sums.values() for loss in total.results(confidence))
        assert most is not None  # there is a measure, and there are data
        unit = LossUnit(most.unit)
        least = mean_interval(np.zeros(most.count), self.margins()[unit], confidence).high
        return Drop(most.drop, unit.noun, most.count, least, unit)

    def margins(self) -> Mapping[LossUnit | None, float]:
        """Return what the flip of a sample that is near to one costs, by unit."""
        found: dict[LossUnit | None, float] = dict.fromkeys(self.units, 0.0)
        for total in self._sums.values():
            if total.unit.is_share:
                found[total.unit] = max(found[total.unit], total.margin)
        return found

    def _begin(self) -> dict[str, LossSum]:
        return {name: LossSum(m) for name, m in self._measures.items() if m.counts}

    def _watched(self) -> dict[str, LossSum]:
        """Return what is known of the original's own outputs."""
        sums = self._begin()
        for feeds, kept in zip(self._data, self._kept, strict=True):
            for name, prepared in kept.items():
                sums[name].watch(prepared, samples_in(self._data, feeds))
        return sums

    def _choose(
        self, reference: Model, outputs: dict[str, np.ndarray], wanted: Wanted
    ) -> dict[str, Measure]:
        if not outputs:
            msg = "no output of the model is a tensor, so nothing can be measured"
            raise DataError(msg)
        found = choose_measures(reference, outputs, wanted)
        fit(wanted, found, choose_measures(reference, outputs))
        return corrected(reference, self._data, lambda _: found, self._threads) or found


class ScoreMeter:
    """Measures scores that go up: accuracy on labels, or the user's own metric."""

    def __init__(
        self, reference: Model, data: Dataset, metric: Literal["accuracy"] | Metric, threads: int
    ) -> None:
        """Run the reference over the data once."""
        self._data, self._metric, self._threads = data, metric, threads
        self.noun = metric.name if isinstance(metric, Metric) else metric
        self.units: Sequence[LossUnit] = ()
        self.reasons: Sequence[str] = ()
        self._accuracy = None if isinstance(metric, Metric) else self._labels()
        self._within_unit = True
        self._kept, self._motion = OutputShelf(), Motion()
        source = LiveSource(reference, Level.ALL, threads)
        first = 0
        for feeds in data:
            span = slice(first, first + samples_in(data, feeds))
            outputs = source.outputs(feeds)
            self._motion.update(outputs, span.stop - first)
            if first == 0 and self._accuracy is not None:
                self._choose(self._accuracy, outputs, span.stop)
            self._watch(outputs)
            self._kept.put(self._digest(outputs, feeds, span))
            first = span.stop

    @property
    def measures(self) -> Mapping[str, Measure]:
        """Nothing: a score is no loss of an output."""
        return {}

    def drop(self, candidate: Model, confidence: float, limit: DropLimit) -> Drop:
        """Return how much the score fell; see `Meter.drop`."""
        source = LiveSource(candidate, Level.ALL, self._threads)
        total, motion = ScoreSum(self.noun, confidence), Motion()
        key = "halved" if self._accuracy is not None and self._within_unit else "signed"
        first = 0
        for feeds, kept in zip(self._data, self._kept, strict=True):
            span = slice(first, first + samples_in(self._data, feeds))
            outputs = source.outputs(feeds)
            motion.update(outputs, span.stop - first)
            new = self._digest(outputs, feeds, span)
            counted = len(kept[key]) if self._accuracy is not None else span.stop - first
            total.add(kept[key], new[key], counted)
            first = span.stop
        self._motion.check(motion)
        found = total.result()
        return Drop(found.drop, self.noun, found.count, self._least(found.count, confidence))

    def margins(self) -> Mapping[LossUnit | None, float]:
        """Return 1: a sample is right or wrong; 0 where nothing is known of the score."""
        return {None: 1.0 if self._accuracy is not None else 0.0}

    def _least(self, count: int, confidence: float) -> float:
        if self._accuracy is None:
            return 0.0
        same = ScoreSum(self.noun, confidence)
        same.add(np.ones(count), np.ones(count), count)
        return same.result().drop.high

    def _labels(self) -> Accuracy:
        labels = class_ids(self._data)
        if labels is None or not (labels >= 0).any():
            what = "class ids as labels" if labels is None else "label that is not negative"
            msg = f"data {self._data.source!r} have no {what}; accuracy needs them"
            raise DataError(msg)
        return Accuracy(labels)

    def _choose(self, accuracy: Accuracy, outputs: dict[str, np.ndarray], samples: int) -> None:
        if not accuracy.choose(outputs, samples):
            shapes = ", ".join(f"{n} {list(a.shape)}" for n, a in outputs.items())
            labels = list(accuracy.labels[:samples].shape)
            msg = f"no output has a decision per label: labels {labels}, outputs {shapes}"
            raise DataError(msg)

    def _watch(self, outputs: Mapping[str, np.ndarray]) -> None:
        """Notice whether the output that is scored leaves [0, 1]."""
        name = self._accuracy.output if self._accuracy is not None else ""
        if name in outputs and is_float(outputs[name]):
            values = as_float(outputs[name])
            values = values[np.isfinite(values)]
            if values.size and (float(values.min()) < 0 or float(values.max()) > 1):
                self._within_unit = False

    def _digest(
        self, outputs: dict[str, np.ndarray], feeds: Feeds, span: slice
    ) -> dict[str, np.ndarray]:
        if isinstance(self._metric, Metric):
            return {"signed": metric_scores(self._metric, outputs, self._data, feeds, span)}
        assert self._accuracy is not None
        signed, halved = self._accuracy.score(outputs, span)
        return {"signed": signed, "halved": halved}

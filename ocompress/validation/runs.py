"""Running both models over the data, side by side or, when they are large, one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from ocompress.analysis.rows import row_count
from ocompress.errors import DataError, RuntimeFailureError
from ocompress.io.dataset import Dataset, Feeds, samples_in
from ocompress.ir import Model
from ocompress.runtime import Level
from ocompress.validation.choosing import choose_measures
from ocompress.validation.collapse import Collapse, collapse_check
from ocompress.validation.comparison import Comparer
from ocompress.validation.drops import MOST_FITTED
from ocompress.validation.measures import Measure
from ocompress.validation.metric import Metric
from ocompress.validation.naming import AUTO, Wanted, fit
from ocompress.validation.result import Check, LevelResult, OutputComparison
from ocompress.validation.scores import Accuracy, ScoreSum, class_ids, metric_scores
from ocompress.validation.sources import (
    LARGE,
    Source,
    SourceOpener,
    live_opener,
    shelf_opener,
)
from ocompress.validation.temperature import corrected
from ocompress.wording import counted

Outputs = dict[str, np.ndarray]


@dataclass(slots=True)
class LevelRun:
    """The candidate at one optimization level, while it is being compared."""

    level: Level
    source: Source | None = None
    failure: str = ""
    comparer: Comparer | None = None
    accuracy: tuple[ScoreSum, ScoreSum] | None = None
    metric: ScoreSum | None = None

    def open(self, model: Model, opener: SourceOpener) -> None:
        """Load the candidate, or run it at once if its outputs are to be put aside."""
        try:
            self.source = opener(model, self.level)
        except (RuntimeFailureError, DataError) as error:
            self.failure = str(error)

    def outputs(self, feeds: Feeds) -> Outputs | None:
        """Return the outputs for the next feed, None once it has failed."""
        if self.source is None or self.failure:
            return None
        try:
            return self.source.outputs(feeds)
        except (RuntimeFailureError, DataError) as error:
            self.failure = str(error)
            return None

    @property
    def check(self) -> Check:
        """Whether it loads and runs."""
        message = self.failure or "ONNX Runtime loads and runs the model"
        return Check(f"runs[{self.level}]", not self.failure, message=message)

    def result(self, accuracy: Accuracy | None) -> LevelResult:
        """Return the comparison with the reference."""
        assert self.comparer is not None  # it was run
        right = None
        if accuracy is not None and self.accuracy is not None:
            right = self.accuracy[self.comparer.within_unit(accuracy.output)].result()
            right = replace(right, unlabelled=accuracy.unlabelled)
        own = self.metric.result() if self.metric is not None else None
        return self.comparer.result(self.level, (right, own))


@dataclass(slots=True)
class Comparison:
    """Everything that running the models found."""

    checks: list[Check] = field(default_factory=list)
    levels: tuple[LevelResult, ...] = ()
    between: tuple[OutputComparison, ...] = ()
    samples: int = 0
    remarks: list[str] = field(default_factory=list)
    related: tuple[Check, ...] = ()


class Runner:
    """Runs the reference once and the candidate at every level, feed by feed."""

    def __init__(
        self,
        data: Dataset,
        metric: Metric | None,
        levels: Sequence[Level],
        measures: Mapping[str, Measure] | None = None,
        wanted: Wanted = AUTO,
    ) -> None:
        """Get ready; nothing is loaded yet."""
        self._wanted = wanted
        self._measures = dict(measures or {})
        self._data = data
        self._metric = metric
        self._runs = [LevelRun(level) for level in levels]
        self._between: Comparer | None = None
        self._accuracy: Accuracy | None = None
        self._remarks: list[str] = []
        self._watched: list[Collapse] = []
        self._labels = self._read_labels()

    def _read_labels(self) -> np.ndarray | None:
        labels = class_ids(self._data)
        if self._data.labels is None:
            return None
        if len(self._data.labels) != self._data.samples:
            given, wanted = len(self._data.labels), self._data.samples
            msg = f"there are {counted(given, 'label')} for {counted(wanted, 'sample')}"
            raise DataError(msg)
        if labels is None:
            self._remarks.append("the labels are not class ids, so accuracy was not computed")
        elif not (labels >= 0).any():
            self._remarks.append(
                "no sample has a label (all are negative), so there is no accuracy"
            )
            return None
        return labels

    def run(
        self,
        reference: Model,
        candidate: Model,
        threads: int,
        opener: SourceOpener | None = None,
        beside: Dataset | None = None,
    ) -> Comparison:
        """Compare over all the data.

        Args:
            reference: The original.
            candidate: What became of it.
            threads: Threads within an operator.
            opener: Where outputs come from, if not from sessions of this process.
            beside: More samples of the same kind, which the candidate was fitted to.

        Raises:
            DataError: If the data do not fit the reference, or the labels its outputs.
            RuntimeFailureError: If the reference cannot be loaded or run.
        """
        aside = max(reference.weight_bytes, candidate.weight_bytes) > LARGE
        level = self._runs[0].level
        measures = self._corrected(reference, threads)
        live = opener or live_opener(threads)
        shelf = shelf_opener(threads, self._data) if aside and opener is None else live
        source = shelf(reference, level)
        self._watched = [Collapse(reference) for _ in self._runs]
        self._remarks += self._watched[0].remarks()
        self._between = Comparer(reference, dict(measures), self._wanted)
        for run in self._runs:
            run.comparer = Comparer(reference, dict(measures), self._wanted)
            run.open(candidate, live if run is self._runs[-1] else shelf)
        first = 0
        for feeds in self._data:
            samples = samples_in(self._data, feeds)
            outputs = source.outputs(feeds)
            if first == 0:
                self._first(reference, outputs, samples)
            self._feed(outputs, feeds, slice(first, first + samples))
            first += samples
        if beside is not None and not aside:
            self._beside(source, beside.take(MOST_FITTED))
        return self._finish(first)

    def _beside(self, source: Source, data: Dataset) -> None:
        """Run more samples, the candidate as it is deployed: levels differ by rounding only."""
        comparers = [run.comparer for run in self._runs if run.comparer is not None]
        for feeds in data:
            outputs, made = source.outputs(feeds), self._runs[-1].outputs(feeds)
            for comparer in comparers:
                comparer.beside(outputs, made or {}, samples_in(data, feeds))

    def _corrected(self, reference: Model, threads: int) -> dict[str, Measure]:
        """Return what is known of measures; with labels, also what they say of probabilities."""
        given = self._measures

        def chosen(outputs: Outputs) -> dict[str, Measure]:
            return {**choose_measures(reference, outputs, self._wanted), **given}

        return corrected(reference, self._data, chosen, threads) or given

    def _first(self, reference: Model, outputs: Outputs, samples: int) -> None:
        if self._wanted != AUTO:
            found = choose_measures(reference, outputs, self._wanted)
            fit(self._wanted, found, choose_measures(reference, outputs))
        for value in reference.graph.outputs:
            if not any(n == value.name or n.startswith(f"{value.name}[") for n in outputs):
                self._remarks.append(f"output {value.name!r} is not a tensor and was not compared")
        single = [repr(n) for n, a in outputs.items() if row_count(a.shape, samples) < samples]
        if single:
            self._remarks.append(
                f"one result for all samples of a feed, which counts as one: {', '.join(single)}"
            )
        if self._labels is not None:
            accuracy = Accuracy(self._labels)
            if accuracy.choose(outputs, samples):
                self._accuracy = accuracy
            else:
                shape = list(self._labels.shape)
                told = f"no output has a decision per label, labels {shape}: no accuracy"
                self._remarks.append(f"{told}; classes are given by their numbers, not one-hot")
        for run in self._runs:
            if self._accuracy is not None:
                run.accuracy = ScoreSum("accuracy"), ScoreSum("accuracy")
            if self._metric is not None:
                run.metric = ScoreSum(self._metric.name)

    def _feed(self, reference: Outputs, feeds: Feeds, span: slice) -> None:
        samples = span.stop - span.start
        made = [run.outputs(feeds) for run in self._runs]
        right = self._accuracy.score(reference, span) if self._accuracy else None
        score = (
            metric_scores(self._metric, reference, self._data, feeds, span)
            if self._metric
            else None
        )
        for run, watched, outputs in zip(self._runs, self._watched, made, strict=True):
            if outputs is None or run.comparer is None:
                continue
            watched.update(reference, outputs, samples)
            run.comparer.update(reference, outputs, span.start, samples)
            if self._accuracy and run.accuracy and right:
                new = self._accuracy.score(outputs, span)
                for total, old_scores, new_scores in zip(run.accuracy, right, new, strict=True):
                    total.add(old_scores, new_scores, len(old_scores))
            if self._metric and run.metric and score is not None:
                try:
                    own = metric_scores(self._metric, outputs, self._data, feeds, span)
                except DataError as error:  # it coped with the reference, so this is a finding
                    run.failure = str(error)
                    continue
                run.metric.add(score, own, samples)
        first, last = made[0], made[-1]
        if self._between is not None and len(made) > 1 and first is not None and last is not None:
            known = {n: a for n, a in first.items() if n in reference}
            self._between.update(known, last, span.start, samples)

    def _finish(self, samples: int) -> Comparison:
        if self._data.labels is not None and samples != self._data.samples:
            msg = (
                f"the feeds hold {samples} samples and the data claim {self._data.samples}, so "
                "labels cannot be told apart"
            )
            raise DataError(msg)
        standing = [run for run in self._runs if not run.failure]
        levels = tuple(run.result(self._accuracy) for run in standing)
        checks = [run.check for run in self._runs]
        found = [o for r in levels for o in r.outputs]
        checks.append(_finite(found))
        empty = {o.name: o.why_empty for o in found if o.is_empty}
        self._remarks += [
            f"output {name!r} of the reference {why}: there is nothing to compare"
            for name, why in empty.items()
        ]
        between = self._between.outputs() if self._between is not None else ()
        related = (collapse_check(self._watched),)
        return Comparison(checks, levels, between, samples, self._remarks, related)


def _finite(outputs: Sequence[OutputComparison]) -> Check:
    """Check that NaN and infinities are where the reference has them, and nowhere else."""
    lost = max((o.new_nonfinite for o in outputs), default=0)
    changed = max((o.changed_nonfinite for o in outputs), default=0)
    said = [f"{lost} values became NaN or infinite"] if lost else []
    if changed:
        said.append(f"{changed} values that are NaN or infinite in the reference are not the same")
    message = "; ".join(said) or "no new NaN or infinity"
    return Check("finite", not said, 0, lost + changed, message)

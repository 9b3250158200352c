"""Scores that go up: accuracy on labels, or the user's own metric."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Literal

import numpy as np

from ocompress.errors import DataError
from ocompress.io.dataset import Dataset, Feeds, samples_in
from ocompress.ir import Model
from ocompress.runtime import Level
from ocompress.validation.decisions import as_float, is_float
from ocompress.validation.drops import MOST_FITTED, Drop
from ocompress.validation.measures import LossUnit, Measure
from ocompress.validation.metric import Metric
from ocompress.validation.relation import Motion
from ocompress.validation.scores import Accuracy, ScoreSum, class_ids, metric_scores
from ocompress.validation.sources import LiveSource, OutputShelf, Source
from ocompress.validation.unit_limits import DropLimit


class ScoreMeter:
    """Measures scores that go up: accuracy on labels, or the user's own metric."""

    def __init__(
        self,
        reference: Model,
        data: Dataset,
        metric: Literal["accuracy"] | Metric,
        threads: int,
        fitted: Dataset | None = None,
    ) -> None:
        """Run the reference over the data once, and over `fitted` once that is looked at."""
        self._reference, self._data, self._metric, self._threads = reference, data, metric, threads
        self.noun = metric.name if isinstance(metric, Metric) else metric
        self.units: Sequence[LossUnit] = ()
        self.reasons: Sequence[str] = ()
        self._fitted = fitted
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

    def drop(
        self, candidate: Model, confidence: float, limit: DropLimit, most: float = math.inf
    ) -> Drop:
        """Return how much the score fell; see `Meter.drop`."""
        source = LiveSource(candidate, Level.ALL, self._threads)
        motion = Motion()
        found = replace(self.fall(source, motion, confidence), finite=motion.finite)
        self._motion.check(motion)
        if self._fitted is not None and found.value.low > most:
            return replace(found, clear=True)
        if self._beside is None:
            return found
        return replace(found, fitted=self._beside.fall(source, Motion(), confidence))

    @cached_property
    def _beside(self) -> ScoreMeter | None:
        if self._fitted is None:
            return None
        try:
            data = self._fitted.take(MOST_FITTED)
            return ScoreMeter(self._reference, data, self._metric, self._threads)
        except DataError:  # only what is judged on has labels
            return None

    def fall(self, source: Source, motion: Motion, confidence: float) -> Drop:
        """Return how much the score of outputs fell, and tell `motion` of them."""
        total = ScoreSum(self.noun, confidence)
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

"""Scores per sample: right or wrong against labels, or the user's own metric."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from ocompress.errors import DataError
from ocompress.io.dataset import Dataset, Feeds
from ocompress.validation.decisions import DecisionRule, Kind
from ocompress.validation.intervals import bootstrap_mean, paired_drop, wilson
from ocompress.validation.metric import Metric
from ocompress.validation.result import ScoreComparison


def class_ids(data: Dataset) -> np.ndarray | None:
    """Return the labels of a dataset as integers, None where they are no class ids."""
    if data.labels is None:
        return None
    labels = np.asarray(data.labels)
    if labels.dtype.kind in "biu":
        return labels.astype(np.int64)
    whole = labels.dtype.kind == "f" and bool((labels == np.floor(labels)).all())
    return labels.astype(np.int64) if whole else None


@dataclass(slots=True)
class Accuracy:
    """Scores the decisions of one output against class ids.

    The output is the first whose largest class is a decision per label, else the first with as
    many decisions as labels. Negative labels are not known and do not count.

    Attributes:
        labels: Class ids, shape [all samples, ...].
        output: Name of the output, empty until the first feed.
    """

    labels: np.ndarray
    output: str = ""
    _rule: DecisionRule = field(default_factory=lambda: DecisionRule(Kind.EQUAL))

    @property
    def unlabelled(self) -> int:
        """Samples without any known label."""
        return int((self._known(slice(None)).sum(axis=1) == 0).sum())

    def choose(self, outputs: dict[str, np.ndarray], samples: int) -> bool:
        """Choose the output by the reference's first outputs; False if none fits.

        Raises:
            DataError: If a label is no class of that output.
        """
        wanted = self.labels[:samples].size
        fitting = []
        for name, array in outputs.items():
            rule = DecisionRule.for_output(array)
            if array.dtype.kind not in "OUS" and rule.decide(array).size == wanted:
                fitting.append((rule.kind is not Kind.TOP_1, name, rule))
        if not fitting:
            return False
        _, self.output, self._rule = min(fitting, key=lambda f: f[0])
        if self._rule.kind is Kind.TOP_1:
            classes = outputs[self.output].shape[self._rule.axis]
            top = int(self.labels.max(initial=0))
            if top >= classes:
                msg = (
                    f"the labels go up to {top}, but output {self.output!r} has {classes} classes "
                    "(0 is the first)"
                )
                raise DataError(msg)
        return True

    def score(self, outputs: dict[str, np.ndarray], span: slice) -> tuple[np.ndarray, np.ndarray]:
        """Score one feed.

        Returns:
            Shares of right decisions per labelled sample, shape [labelled], with the threshold at
            0 and at 0.5 (the same where there is no threshold).
        """
        labels, known = self.labels[span], self._known(span)
        counts = known.sum(axis=1)
        labelled = counts > 0
        none = np.zeros(int(labelled.sum()))
        if self.output not in outputs:
            return none, none
        decisions = self._rule.decide(outputs[self.output])
        if decisions.size != labels.size:
            return none, none
        both = (
            self._rule.labels_of(decisions, unit).reshape(labels.shape) == labels
            for unit in (False, True)
        )
        signed, halved = (
            (right.reshape(known.shape) & known).sum(axis=1)[labelled] / counts[labelled]
            for right in both
        )
        return signed, halved

    def _known(self, span: slice) -> np.ndarray:
        """Return which labels are known, [samples, labels of a sample]."""
        known = np.asarray(self.labels[span] >= 0)
        return known.reshape(len(known), math.prod(known.shape[1:]))


@dataclass(slots=True)
class ScoreSum:
    """Collects paired scores, a number per sample and model.

    Attributes:
        name: What is scored.
        confidence: One-sided confidence of the interval's ends; None gives the two-sided 95 %.
    """

    name: str
    confidence: float | None = None
    _reference: list[np.ndarray] = field(default_factory=list)
    _candidate: list[np.ndarray] = field(default_factory=list)
    _weights: list[np.ndarray] = field(default_factory=list)

    def add(self, reference: np.ndarray, candidate: np.ndarray, samples: int) -> None:
        """Take in one feed's scores, shape [samples] or [1]; of no samples there are none."""
        if not samples:
            return
        size = min(reference.size, candidate.size)
        weight = samples / max(size, 1)
        for kept, scores in ((self._reference, reference), (self._candidate, candidate)):
            kept.append(scores if scores.size == size else scores.mean(keepdims=True))
        self._weights.append(np.full(size, weight))

    def result(self) -> ScoreComparison:
        """Return the comparison."""
        if not self._weights:
            return ScoreComparison(self.name, math.nan, math.nan, wilson(math.nan, 0), 0)
        reference, candidate, weights = (
            np.concatenate(part) for part in (self._reference, self._candidate, self._weights)
        )
        if bool((weights == 1).all()):
            drop = paired_drop(reference, candidate, confidence=self.confidence)
        else:
            drop = bootstrap_mean(reference - candidate, weights, confidence=self.confidence)
        old = float(np.average(reference, weights=weights))
        new = float(np.average(candidate, weights=weights))
        share = bool(np.isin(np.concatenate([reference, candidate]), (0.0, 1.0)).all())
        own = (wilson(old, len(reference)), wilson(new, len(reference))) if share else (None, None)
        return ScoreComparison(self.name, old, new, drop, len(reference), *own)


def metric_scores(
    metric: Metric, outputs: dict[str, np.ndarray], data: Dataset, feeds: Feeds, span: slice
) -> np.ndarray:
    """Score one feed with the user's own metric, giving it the labels of that feed."""
    labels = None if data.labels is None else data.labels[span]
    return metric.score(outputs, labels, feeds, span.stop - span.start)

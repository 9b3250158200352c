"""The guard behind `--max-drop`."""

from __future__ import annotations

from typing import Literal, assert_never

import numpy as np

from ocompress.errors import DataError, RuntimeFailureError
from ocompress.io.dataset import Dataset, Feeds, samples_in
from ocompress.ir import Model
from ocompress.pipeline.guard import Verdict
from ocompress.runtime import Level
from ocompress.validation.decisions import Rule, agree, as_float, is_float
from ocompress.validation.intervals import wilson
from ocompress.validation.metric import Metric
from ocompress.validation.result import Interval
from ocompress.validation.scores import Accuracy, ScoreSum, class_ids, metric_scores
from ocompress.validation.sources import LiveSource, Shelf

Kind = Literal["agreement", "accuracy"]
_ROUNDING = 1e-9
"""Slack for differences of shares: 1 - 0.99 must be within 0.01."""


class AccuracyGuard:
    """Refuses candidates whose quality on the data fell by more than is allowed.

    The reference runs once, when the guard is made. What is kept of it are decisions or scores,
    never outputs; beyond 64 MiB they go to a temporary file.
    """

    kind = "max-drop"

    def __init__(
        self,
        reference: Model,
        data: Dataset,
        max_drop: float,
        *,
        metric: Kind | Metric = "agreement",
        threads: int = 1,
    ) -> None:
        """Run the reference over the data once.

        Args:
            reference: The original.
            data: Feeds, with labels where the metric needs them.
            max_drop: Largest loss allowed, in units of the metric: a share of the samples for
                agreement (1 - agreement) and accuracy.
            metric: `agreement` with the reference's decisions (of the output that agrees least),
                `accuracy` with labels, or the user's own.
            threads: Threads within an operator; 0 takes all cores.

        Raises:
            DataError: If the data do not fit the reference, or have no usable labels.
            RuntimeFailureError: If the reference cannot be loaded or run.
        """
        self.max_drop = max_drop
        self._data = data
        self._metric = metric
        self._threads = threads
        self._rules: dict[str, Rule] = {}
        self._low: dict[str, float] = {}
        self._high: dict[str, float] = {}
        self._accuracy = self._labels() if metric == "accuracy" else None
        self._kept = Shelf()
        self._observe(reference)

    @property
    def name(self) -> str:
        """What is measured."""
        return self._metric.name if isinstance(self._metric, Metric) else self._metric

    def judge(self, candidate: Model, best: Model) -> Verdict:
        """Compare `candidate` with the reference; `best` is not looked at."""
        try:
            drop, count = self._drop(candidate)
        except (RuntimeFailureError, DataError) as error:
            return Verdict(False, "max-drop", f"the model does not run any more: {error}")
        held = drop.value <= self.max_drop + _ROUNDING
        relation = "within" if held else "more than"
        message = (
            f"{self.name} fell by {drop.value:.4f} (95 % interval {drop.low:.4f} to "
            f"{drop.high:.4f}, {count} samples), {relation} the {self.max_drop:g} allowed"
        )
        figures = {
            "drop": drop.value,
            "low": drop.low,
            "high": drop.high,
            "limit": self.max_drop,
            "samples": float(count),
        }
        return Verdict(held, "max-drop", message, figures)

    def _labels(self) -> Accuracy:
        labels = class_ids(self._data)
        if labels is None:
            msg = f"data {self._data.source!r} have no class ids as labels; accuracy needs them"
            raise DataError(msg)
        return Accuracy(labels)

    # -- the reference ----------------------------------------------------------------------

    def _observe(self, reference: Model) -> None:
        source = LiveSource(reference, Level.ALL, self._threads)
        first = 0
        for feeds in self._data:
            span = slice(first, first + samples_in(self._data, feeds))
            outputs = source.outputs(feeds)
            if first == 0:
                self._choose(outputs, span.stop)
            for name, array in outputs.items():
                if not is_float(array):
                    continue
                values = as_float(array)
                values = values[np.isfinite(values)]
                if values.size:
                    low, high = float(values.min()), float(values.max())
                    self._low[name] = min(low, self._low.get(name, low))
                    self._high[name] = max(high, self._high.get(name, high))
            self._kept.put(self._digest(outputs, feeds, span))
            first = span.stop

    def _choose(self, outputs: dict[str, np.ndarray], samples: int) -> None:
        self._rules = {name: Rule.for_output(array) for name, array in outputs.items()}
        if self._accuracy is not None and not self._accuracy.choose(outputs, samples):
            shapes = ", ".join(f"{n} {list(a.shape)}" for n, a in outputs.items())
            labels = list(self._accuracy.labels[:samples].shape)
            msg = f"no output has a decision per label: labels {labels}, outputs {shapes}"
            raise DataError(msg)
        if self._metric == "agreement" and not self._rules:
            msg = "no output of the model is a tensor, so agreement cannot be measured"
            raise DataError(msg)

    def _unit(self, name: str) -> bool:
        return self._low.get(name, 0.0) >= 0.0 and self._high.get(name, 1.0) <= 1.0

    def _digest(
        self, outputs: dict[str, np.ndarray], feeds: Feeds, span: slice
    ) -> dict[str, np.ndarray]:
        """Return what is kept of one feed's outputs."""
        if isinstance(self._metric, Metric):
            return {"scores": metric_scores(self._metric, outputs, self._data, feeds, span)}
        if self._metric == "accuracy":
            assert self._accuracy is not None
            signed, halved = self._accuracy.score(outputs, span)
            return {"signed": signed, "halved": halved}
        if self._metric == "agreement":
            return {n: r.decide(outputs[n]) for n, r in self._rules.items() if n in outputs}
        assert_never(self._metric)

    # -- candidates -------------------------------------------------------------------------

    def _drop(self, candidate: Model) -> tuple[Interval, int]:
        source = LiveSource(candidate, Level.ALL, self._threads)
        total = ScoreSum(self.name)
        agreed: dict[str, list[np.ndarray]] = {n: [] for n in self._rules}
        first = 0
        for feeds, kept in zip(self._data, self._kept, strict=True):
            span = slice(first, first + samples_in(self._data, feeds))
            samples, first = span.stop - span.start, span.stop
            new = self._digest(source.outputs(feeds), feeds, span)
            if self._metric == "agreement":
                for name, rule in self._rules.items():
                    shares = self._shares(name, rule, kept, new, samples)
                    agreed[name].append(shares)
                continue
            key = "scores"
            if self._accuracy is not None:
                key = "halved" if self._unit(self._accuracy.output) else "signed"
            total.add(kept[key], new[key], samples)
        if self._metric == "agreement":
            return _least(agreed)
        result = total.result()
        return result.drop, result.count

    def _shares(
        self,
        name: str,
        rule: Rule,
        kept: dict[str, np.ndarray],
        new: dict[str, np.ndarray],
        samples: int,
    ) -> np.ndarray:
        if name not in new or name not in kept:
            return np.zeros(samples)
        unit = self._unit(name)
        return agree(rule.labels_of(kept[name], unit), rule.labels_of(new[name], unit), samples)


def _least(agreed: dict[str, list[np.ndarray]]) -> tuple[Interval, int]:
    """Return one minus the agreement of the output that agrees least, and its samples."""
    shares = {name: np.concatenate(parts) for name, parts in agreed.items()}
    worst = min(shares.values(), key=lambda s: float(s.mean()))
    interval = wilson(float(worst.mean()), len(worst))
    drop = Interval(1 - interval.value, 1 - interval.high, 1 - interval.low, interval.method)
    return drop, len(worst)

"""How much too sure of itself a model is, from samples whose labels are known."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import numpy as np

from ocompress.errors import DataError
from ocompress.io.dataset import Dataset, samples_in
from ocompress.ir import Model
from ocompress.runtime import Level
from ocompress.validation.decisions import Kind
from ocompress.validation.measures import LossUnit, Measure
from ocompress.validation.scores import Accuracy, class_ids
from ocompress.validation.sources import LiveSource

_RANGE = math.log(10.0)
"""Temperatures from a tenth to ten are looked at, on a logarithmic scale."""
_STEPS = 40
FEWEST = 10
"""Labels below which nothing is corrected: a temperature of two or three samples is noise."""


_MOST = 1 << 24
"""Probabilities that are kept to fit one number to."""

Choose = Callable[[dict[str, np.ndarray]], Mapping[str, Measure]]


def corrected(
    reference: Model, data: Dataset, choose: Choose, threads: int = 1
) -> dict[str, Measure]:
    """Choose how losses are counted, and correct an original that is too sure of itself.

    The original runs over the samples whose labels are known; the output that they are labels of
    gets a temperature. What only rarely decides otherwise keeps what is counted instead.

    Args:
        reference: The original.
        data: What is judged on.
        choose: Returns measures for the outputs of the first feed.
        threads: Threads within an operator; 0 takes all cores.

    Returns:
        What was chosen; nothing where labels say nothing, so that the original was not run.

    Raises:
        DataError: If the data do not fit the original.
        RuntimeFailureError: If it cannot be loaded or run.
    """
    labels = class_ids(data)
    if labels is None or len(labels) != data.samples or int((labels >= 0).sum()) < FEWEST:
        return {}
    accuracy = Accuracy(labels)
    measures: dict[str, Measure] = {}
    rows: list[tuple[np.ndarray, np.ndarray]] = []
    for span, outputs in _labelled(reference, data, labels, threads):
        if not measures:
            measures = dict(choose(outputs))
            if not _fits(accuracy, measures, outputs, span.stop):
                return measures
        p = measures[accuracy.output].prepare(outputs[accuracy.output])
        if p[..., 0].size != labels[span].size:
            return measures
        known = (labels[span] >= 0).ravel()
        rows.append((p.reshape(-1, p.shape[-1])[known], labels[span].ravel()[known]))
        if sum(taken.size for taken, _ in rows) > _MOST:
            break
    t = fit_temperature(*(np.concatenate(part) for part in zip(*rows, strict=True)))
    if t != 1.0:
        measure = measures[accuracy.output]
        is_pair = measure.rule is not None and measure.rule.kind is Kind.THRESHOLD
        instead = measure.instead if is_pair else None
        measures[accuracy.output] = replace(measure, temperature=t, instead=instead)
    return measures


def _labelled(
    reference: Model, data: Dataset, labels: np.ndarray, threads: int
) -> Iterator[tuple[slice, dict[str, np.ndarray]]]:
    """Yield the first feed's outputs, and those of each feed in which labels are known."""
    source = LiveSource(reference, Level.ALL, threads)
    first = 0
    for feeds in data:
        span = slice(first, first + samples_in(data, feeds))
        if first == 0 or (labels[span] >= 0).any():
            yield span, source.outputs(feeds)
        first = span.stop


def _fits(
    accuracy: Accuracy,
    measures: Mapping[str, Measure],
    outputs: dict[str, np.ndarray],
    samples: int,
) -> bool:
    """Whether labels are of an output whose expected accuracy is counted, not corrected yet."""
    try:
        chosen = accuracy.choose(outputs, samples)
    except DataError:
        return False  # labels of something else
    measure = measures.get(accuracy.output) if chosen else None
    if measure is None or measure.unit is not LossUnit.EXPECTED or measure.temperature != 1:
        return False
    classes = measure.prepare(outputs[accuracy.output]).shape[-1]
    return bool(accuracy.labels.max() < classes)


def fit_temperature(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Return the temperature at which labels are most likely (Guo et al., 2017).

    The likelihood has one maximum over the temperature's logarithm; it is found by golden
    section.

    Args:
        probabilities: What the model says, [samples, classes].
        labels: Class ids [samples]; negative ones are not known and do not count.

    Returns:
        1.0 where fewer than 10 labels are known, or they have nothing to do with what the model
        says: then every temperature is the better the higher it is.
    """
    known = (labels >= 0) & np.isfinite(probabilities).all(axis=-1)
    if int(known.sum()) < FEWEST:
        return 1.0
    scores = np.log(np.maximum(np.asarray(probabilities[known], np.float64), 1e-12))
    right = labels[known]

    def surprise(log_t: float) -> float:
        scaled = scores / math.exp(log_t)
        scaled = scaled - scaled.max(-1, keepdims=True)
        norms = np.log(np.exp(scaled).sum(-1))
        return float((norms - scaled[np.arange(len(right)), right]).mean())

    ratio = (math.sqrt(5) - 1) / 2
    low, high = -_RANGE, _RANGE
    for _ in range(_STEPS):
        left, right_end = high - ratio * (high - low), low + ratio * (high - low)
        if surprise(left) < surprise(right_end):
            high = right_end
        else:
            low = left
    found = (low + high) / 2
    return 1.0 if found > 0.99 * _RANGE else math.exp(found)

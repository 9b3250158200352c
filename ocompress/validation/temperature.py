"""How much too sure of itself a model is, from samples whose labels are known."""

from __future__ import annotations

import math

import numpy as np

_RANGE = math.log(10.0)
"""Temperatures from a tenth to ten are looked at, on a logarithmic scale."""
_STEPS = 40
FEWEST = 10
"""Labels below which nothing is corrected: a temperature of two or three samples is noise."""


def fit_temperature(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Return the temperature at which labels are most likely (Guo et al., 2017).

    The likelihood has one maximum over the temperature's logarithm; it is found by golden
    section.

    Args:
        probabilities: What the model says, [samples, classes].
        labels: Class ids [samples]; negative ones are not known and do not count.

    Returns:
        1.0 where fewer than 10 labels are known.
    """
    known = labels >= 0
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
    return math.exp((low + high) / 2)

"""Random numbers that seeds are made of."""

from __future__ import annotations

import numpy as np

from ocompress.analysis.rows import row_count

TINY = 1e-6
"""Least probability, and least size that noise is relative to."""


def softmax(values: np.ndarray, axis: int) -> np.ndarray:
    """Return probabilities along an axis of logits of any shape."""
    powers = np.exp(values - values.max(axis=axis, keepdims=True))
    return np.asarray(powers / powers.sum(axis=axis, keepdims=True))


def signs(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Return -1 or 1 at random, float64."""
    found: np.ndarray = rng.integers(0, 2, shape) * 2.0 - 1
    return found


def squares(values: np.ndarray, samples: int, rng: np.random.Generator) -> np.ndarray:
    """Return noise of the values' shape, float32, relative to their size and that of a sample."""
    rows = row_count(values.shape, samples)
    size = max(1, values.size // max(1, rows))
    rms = np.sqrt(np.mean(np.square(values))) if values.size else 0.0
    noise = rng.standard_normal(values.shape) / (max(float(rms), TINY) * np.sqrt(size))
    return np.asarray(noise, np.float32)

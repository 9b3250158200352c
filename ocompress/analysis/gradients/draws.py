"""Random numbers that seeds are made of."""

from __future__ import annotations

import numpy as np

from ocompress.analysis.rows import row_count

TINY = 1e-6
"""Least probability, and least root mean square that noise is relative to."""


def softmax(values: np.ndarray, axis: int) -> np.ndarray:
    """Return probabilities along an axis of logits of any shape."""
    powers = np.exp(values - values.max(axis=axis, keepdims=True))
    return np.asarray(powers / powers.sum(axis=axis, keepdims=True))


def signs(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Return -1 or 1 at random, float64."""
    found: np.ndarray = rng.integers(0, 2, shape) * 2.0 - 1
    return found


def squares(
    values: np.ndarray, samples: int, rng: np.random.Generator, size: float | None = None
) -> np.ndarray:
    """Return noise of the values' shape, float32, relative to their size and that of a sample.

    Args:
        values: What the model made.
        samples: Samples of the feed.
        rng: Source of randomness.
        size: What errors of an element are relative to, in the values' unit, above 0; None takes
            the root mean square of the values.
    """
    rows = row_count(values.shape, samples)
    elements = max(1, values.size // max(1, rows))
    if size is None:
        rms = float(np.sqrt(np.mean(np.square(values)))) if values.size else 0.0
        size = max(rms, TINY)
    noise = rng.standard_normal(values.shape) / (size * np.sqrt(elements))
    return np.asarray(noise, np.float32)

"""What an output's divergence is counted in, and how its seeds are drawn; see `seeds`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from ocompress.analysis.gradients.draws import TINY, signs, softmax, squares


class Currency(StrEnum):
    """What an output's divergence is counted in.

    Attributes:
        LOGITS: Kullback-Leibler divergence of the softmax along the class axis, summed over
            positions.
        PROBABILITIES: The same for an output that is that softmax already.
        BERNOULLI: Kullback-Leibler divergence of independent probabilities, summed.
        SQUARES: Half the squared error of a sample relative to how far the output spreads around
            the means of its channels, see `sized`.
    """

    LOGITS = "logits"
    PROBABILITIES = "probabilities"
    BERNOULLI = "bernoulli"
    SQUARES = "squares"


@dataclass(frozen=True)
class Seeding:
    """How seeds of one output are drawn.

    Attributes:
        currency: What the divergence is counted in.
        axis: Axis of the classes or channels, of no meaning for the currencies without one.
        size: What errors of squares are relative to, above 0; None takes the root mean square of
            what is at hand.
    """

    currency: Currency
    axis: int = -1
    size: float | None = None

    def draw(self, output: np.ndarray, samples: int, rng: np.random.Generator) -> np.ndarray:
        """Draw the gradient at an output.

        Args:
            output: What the model made, any float type.
            samples: Samples of the feed; the first axis of the output counts them, or the output
                is one sample.
            rng: Source of randomness.

        Returns:
            A seed of the output's shape, float32.
        """
        values = np.asarray(output, np.float64)
        if self.currency is Currency.SQUARES:
            return squares(values, samples, rng, self.size)
        if self.currency is Currency.BERNOULLI:
            p = np.clip(values, TINY, 1 - TINY)
            return np.asarray(signs(p.shape, rng) / np.sqrt(p * (1 - p)), np.float32)
        if self.currency is Currency.PROBABILITIES:
            root = np.sqrt(np.maximum(values, TINY))
            drawn = signs(root.shape, rng) / root
            return np.asarray(np.where(values > TINY, drawn, 0), np.float32)
        p = softmax(values, self.axis)
        drawn = signs(p.shape, rng) * np.sqrt(p)
        return np.asarray(drawn - p * drawn.sum(self.axis, keepdims=True), np.float32)


@dataclass(frozen=True)
class Joined:
    """How seeds of an output are drawn whose parts are of different kinds, as boxes and scores.

    Attributes:
        axis: Axis along which the parts lie.
        channels: Indices along it of each part; together they are all there are.
        parts: How seeds of each are drawn.
    """

    axis: int
    channels: Sequence[np.ndarray]
    parts: Sequence[Seeding | Joined]

    def draw(self, output: np.ndarray, samples: int, rng: np.random.Generator) -> np.ndarray:
        """Draw the gradient at an output, in its shape, as `Seeding.draw` does."""
        pieces = [np.take(np.asarray(output), there, self.axis) for there in self.channels]
        drawn = [s.draw(a, samples, rng) for s, a in zip(self.parts, pieces, strict=True)]
        back = np.argsort(np.concatenate(self.channels), kind="stable")
        return np.asarray(np.take(np.concatenate(drawn, self.axis), back, self.axis))


def class_axis(shape: tuple[int, ...]) -> int | None:
    """Return the axis that holds classes by convention, None where there is no second class."""
    axis = {0: None, 1: None, 2: -1, 3: -1}.get(len(shape), 1)
    return axis if axis is not None and shape[axis] > 1 else None

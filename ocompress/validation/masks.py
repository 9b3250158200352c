"""Masks: which pixels belong to something, and to what."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ocompress.analysis.rows import by_sample
from ocompress.validation.decisions import DecisionRule, Kind, as_float
from ocompress.validation.tally import Tally


@dataclass(frozen=True)
class Masks:
    """Compares masks of probabilities, each channel one, by intersection over union.

    Attributes:
        channels: Extent of axis 1 where each channel is a mask of its own; 1 for one mask.
        inside: What pixels of a mask are above of: 0.5 for probabilities, 0 for logits.
    """

    channels: int = 1
    inside: float = 0.5
    is_bounded = True

    def prepare(self, output: np.ndarray) -> np.ndarray:
        """Return the probabilities as they are, [samples, ...]."""
        return as_float(output)

    def own(self, reference: np.ndarray, samples: int) -> np.ndarray:
        """Return the pixels of each mask, [channels, rows]."""
        return np.asarray(self._rows(reference, samples).sum(-1, dtype=np.float64))

    def compare(self, reference: np.ndarray, candidate: np.ndarray, samples: int) -> Tally:
        """Count the pixels that are in one mask only, and those in either."""
        if reference.shape != candidate.shape:
            return Tally.of_nothing(self.own(reference, samples))
        old, new = self._rows(reference, samples), self._rows(candidate, samples)
        lost = (old ^ new).sum(-1, dtype=np.float64)
        return Tally(lost, (old | new).sum(-1, dtype=np.float64), old.sum(-1, dtype=np.float64))

    def _rows(self, output: np.ndarray, samples: int) -> np.ndarray:
        """Return which pixels are inside, [channels, rows, pixels]."""
        inside = output > self.inside
        if self.channels > 1 and output.ndim > 2 and output.shape[1] == self.channels:
            flat = inside.reshape(inside.shape[0], self.channels, -1)
            return np.asarray(np.moveaxis(flat, 1, 0))
        return by_sample(inside, samples)[None]


@dataclass(frozen=True)
class ClassMasks:
    """Compares maps of classes by intersection over union, the mean over classes.

    Attributes:
        classes: How many there are.
        axis: Their axis in the output.
    """

    classes: int
    axis: int = 1
    is_bounded = True

    def prepare(self, output: np.ndarray) -> np.ndarray:
        """Return the likeliest class of each pixel, int32 [samples, ...] without the classes."""
        return np.asarray(DecisionRule(Kind.TOP_1, self.axis).decide(output), np.int32)

    def own(self, reference: np.ndarray, samples: int) -> np.ndarray:
        """Return the pixels of each class, [classes, rows]."""
        return self._counts(by_sample(reference, samples))

    def compare(self, reference: np.ndarray, candidate: np.ndarray, samples: int) -> Tally:
        """Count for each class the pixels that one output alone gives it, and those of either."""
        own = self.own(reference, samples)
        if reference.shape != candidate.shape:
            return Tally.of_nothing(own)
        old, new = by_sample(reference, samples), by_sample(candidate, samples)
        common = self._counts(np.where(old == new, old, -1))
        union = own + self._counts(new) - common
        return Tally(union - common, union, own)

    def _counts(self, rows: np.ndarray) -> np.ndarray:
        """Return how often each class is there, [classes, rows]; -1 is none."""
        found = [np.bincount(row + 1, minlength=self.classes + 1)[1:] for row in rows]
        return np.array(found, np.float64).reshape(len(rows), self.classes).T

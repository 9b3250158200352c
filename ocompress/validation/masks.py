"""Masks: which pixels belong to something, and to what."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ocompress.analysis.rows import by_sample
from ocompress.validation.decisions import DecisionRule, Kind, as_float
from ocompress.validation.tally import Tally

_PLANE = 16
"""Extents of two axes from which on they are a picture, whose regions have outlines."""
_THIN = 0.5
"""Part of a mask that lies inside its outline at least; the outline of thinner ones counts."""


@dataclass(frozen=True)
class Masks:
    """Compares masks of probabilities, each channel one, by intersection over union.

    The pixels on both sides of the original's outlines are left out, as in Pascal VOC (Everingham
    et al., The Pascal Visual Object Classes Challenge, 2010): there the least noise decides. Masks
    that are hardly more than outlines count whole.

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
        counted = self._counted(reference, samples)
        return np.asarray((self._rows(reference, samples) & counted).sum(-1, dtype=np.float64))

    def compare(self, reference: np.ndarray, candidate: np.ndarray, samples: int) -> Tally:
        """Count pixels in one mask only, and in either, of [samples, channels, ...]."""
        if reference.shape != candidate.shape:
            return Tally.of_nothing(self.own(reference, samples))
        counted = self._counted(reference, samples)
        old, new = (self._rows(a, samples) & counted for a in (reference, candidate))
        lost = (old ^ new).sum(-1, dtype=np.float64)
        return Tally(lost, (old | new).sum(-1, dtype=np.float64), old.sum(-1, dtype=np.float64))

    def _counted(self, output: np.ndarray, samples: int) -> np.ndarray:
        """Return which pixels of the original's masks count, [channels, rows, pixels]."""
        inside, edges = (
            self._rows(output, samples),
            self._shaped(outlines(output > self.inside), samples),
        )
        thin = (inside & ~edges).sum(-1) < _THIN * inside.sum(-1)
        return np.asarray(~edges | thin[..., None])

    def _rows(self, output: np.ndarray, samples: int) -> np.ndarray:
        """Return which pixels are inside, [channels, rows, pixels]."""
        return self._shaped(output > self.inside, samples)

    def _shaped(self, inside: np.ndarray, samples: int) -> np.ndarray:
        if self.channels > 1 and inside.ndim > 2 and inside.shape[1] == self.channels:
            flat = inside.reshape(inside.shape[0], self.channels, -1)
            return np.asarray(np.moveaxis(flat, 1, 0))
        return by_sample(inside, samples)[None]


@dataclass(frozen=True)
class ClassMasks:
    """Compares maps of classes by intersection over union, the mean over classes.

    Outlines are left out as those of `Masks` are.

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
        return self._counts(self._kept(reference, reference, samples))

    def compare(self, reference: np.ndarray, candidate: np.ndarray, samples: int) -> Tally:
        """Count for each class the pixels of one output alone and of either, [samples, ...]."""
        own = self.own(reference, samples)
        if reference.shape != candidate.shape:
            return Tally.of_nothing(own)
        old, new = (self._kept(a, reference, samples) for a in (reference, candidate))
        common = self._counts(np.where(old == new, old, -1))
        union = own + self._counts(new) - common
        return Tally(union - common, union, own)

    def _kept(self, output: np.ndarray, reference: np.ndarray, samples: int) -> np.ndarray:
        """Return the class of each pixel that counts, [rows, pixels]; -1 of the others."""
        edges = by_sample(outlines(reference), samples)
        rows = by_sample(reference, samples)
        inner = self._counts(np.where(edges, -1, rows))
        thin = (inner < _THIN * self._counts(rows)).T  # [rows, classes]
        edges &= ~np.take_along_axis(thin, rows, axis=1)
        return np.asarray(np.where(edges, -1, by_sample(output, samples)))

    def _counts(self, rows: np.ndarray) -> np.ndarray:
        """Return how often each class is there, [classes, rows]; -1 is none."""
        found = [np.bincount(row + 1, minlength=self.classes + 1)[1:] for row in rows]
        return np.array(found, np.float64).reshape(len(rows), self.classes).T


def outlines(regions: np.ndarray) -> np.ndarray:
    """Return which pixels have a neighbour in another region, bool of the same shape.

    Args:
        regions: What each pixel belongs to, [..., height, width]; what is no picture has none.
    """
    if regions.ndim < 3 or min(regions.shape[-2:]) < _PLANE:
        return np.zeros(regions.shape, bool)
    low = high = regions
    for axis in (-2, -1):
        low, high = _around(low, np.minimum, axis), _around(high, np.maximum, axis)
    return np.asarray(low != high)


def _around(array: np.ndarray, extreme: np.ufunc, axis: int) -> np.ndarray:
    """Return an extreme of each element and its two neighbours along an axis."""
    found = array.copy()
    after, before = np.moveaxis(found, axis, 0), np.moveaxis(array, axis, 0)
    after[1:] = extreme(after[1:], before[:-1])
    after[:-1] = extreme(after[:-1], before[1:])
    return found

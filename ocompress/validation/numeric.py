"""How far one output is from another, summed up feed by feed."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from ocompress.analysis.nonfinite import kinds_differ
from ocompress.analysis.rows import by_sample, row_count
from ocompress.analysis.running import sqnr_db
from ocompress.validation.decisions import as_float


@dataclass(slots=True)
class NumericSum:
    """Running sums over the elements of one output; memory does not grow with the data.

    Elements that are NaN or infinite in the reference are equal where the candidate has the same
    kind in the same place; they add nothing to signal or noise. Where one of the two models has
    NaN or an infinity and the other has not, or another kind, the error is infinite, and so is
    that of every element of a feed whose shape differs.

    Attributes:
        elements: Elements seen in the reference.
        compared: Elements that are finite in the reference, so that there is an error to measure.
        different: Elements that are not equal.
        new_nonfinite: Elements that became NaN or infinite.
        changed_nonfinite: Elements that are NaN or infinite in the reference, and something else
            in the candidate.
        shape_changes: Feeds whose shape differs.
        low: Smallest finite element of the reference.
        high: Largest finite element of the reference.
        worst: Sample with the lowest ratio of signal to noise and that ratio in decibels.
    """

    elements: int = 0
    compared: int = 0
    different: int = 0
    new_nonfinite: int = 0
    changed_nonfinite: int = 0
    shape_changes: int = 0
    low: float = math.inf
    high: float = -math.inf
    worst: tuple[int | None, float] = (None, math.inf)
    _signal: float = 0.0
    _power: float = 0.0
    _dot: float = 0.0
    _noise: float = 0.0
    _error: float = 0.0
    _size: float = 0.0
    _largest: float = field(default=0.0)

    def update(
        self, reference: np.ndarray, candidate: np.ndarray, first: int, samples: int
    ) -> np.ndarray:
        """Take in one feed's output.

        Args:
            reference: Shape [samples, ...] or anything else.
            candidate: The same of the candidate.
            first: Index of the feed's first sample.
            samples: Samples of the feed.

        Returns:
            Decibels per sample, shape [samples], or [1] where the output is one result.
        """
        self.elements += reference.size
        rows = row_count(reference.shape, samples)
        if reference.shape != candidate.shape:
            self.shape_changes += 1
            self.compared += reference.size
            self.different += reference.size
            self._noise = self._error = self._largest = math.inf
            ratios = np.full(rows, -math.inf)
        elif reference.dtype.kind in "OUS" or candidate.dtype.kind in "OUS":
            ratios = self._update_text(reference, candidate, samples)
        else:
            with np.errstate(over="ignore"):  # an error too large to be squared is infinite
                ratios = self._update_numbers(_real(reference), _real(candidate), samples)
        if ratios.size and ratios.min() < self.worst[1]:
            self.worst = first + int(ratios.argmin()), float(ratios.min())
        return ratios

    def _update_text(
        self, reference: np.ndarray, candidate: np.ndarray, samples: int
    ) -> np.ndarray:
        self.compared += reference.size
        wrong = np.asarray(reference != candidate)
        if wrong.any():
            self.different += int(wrong.sum())
            self._noise = self._error = self._largest = math.inf
        if not reference.size:
            return np.full(row_count(reference.shape, samples), math.inf)
        return np.where(by_sample(wrong, samples).any(axis=1), -math.inf, math.inf)

    def _update_numbers(self, left: np.ndarray, right: np.ndarray, samples: int) -> np.ndarray:
        if left.size == 0:
            return np.full(row_count(left.shape, samples), math.inf)
        finite, unlike = np.isfinite(left), kinds_differ(left, right)
        both = finite & ~unlike
        self.new_nonfinite += int((finite & unlike).sum())
        self.changed_nonfinite += int((~finite & unlike).sum())
        self.different += int(((left != right) & both | unlike).sum())
        x, y = np.where(both, left, 0.0), np.where(both, right, 0.0)
        if both.any():
            self.low = min(self.low, float(left[both].min()))
            self.high = max(self.high, float(left[both].max()))
        error = np.where(unlike, math.inf, np.abs(x - y))
        self.compared += int(finite.sum())
        self._size += float(np.abs(x).sum())
        self._power += float(np.vdot(y, y))
        self._dot += float(np.vdot(x, y))
        self._error += float(error.sum())
        self._largest = max(self._largest, float(error.max()))
        noise = by_sample(np.square(error), samples).sum(axis=1)
        signal = by_sample(np.square(x), samples).sum(axis=1)
        self._noise += float(noise.sum())
        self._signal += float(signal.sum())
        return np.array([sqnr_db(s, n) for s, n in zip(signal, noise, strict=True)])

    @property
    def exact(self) -> bool:
        """Whether every element is equal."""
        return self.different == 0 and self.shape_changes == 0

    @property
    def within_unit(self) -> bool:
        """Whether the reference stays within [0, 1]."""
        return self.low >= 0.0 and self.high <= 1.0

    def figures(self) -> dict[str, float]:
        """Return the figures of `OutputComparison` by name."""
        count = max(self.compared, 1)
        mean = self._error / count
        size = self._size / count
        return {
            "sqnr_db": sqnr_db(self._signal, self._noise),
            "max_abs_error": self._largest,
            "mean_abs_error": mean,
            "relative_error": mean / size if size else (0.0 if mean == 0 else math.inf),
            "cosine": self._cosine(),
        }

    def _cosine(self) -> float:
        if math.isinf(self._noise):
            return 0.0
        norms = math.sqrt(self._signal) * math.sqrt(self._power)
        if norms == 0:
            return 1.0 if self._signal == self._power else 0.0
        return max(-1.0, min(1.0, self._dot / norms))


def _real(array: np.ndarray) -> np.ndarray:
    if array.dtype.kind == "c":
        parts = np.stack([array.real, array.imag], axis=-1)
        return np.asarray(parts, np.float64)
    if array.dtype.kind in "biu":
        return array.astype(np.float64)
    return as_float(array).astype(np.float64)

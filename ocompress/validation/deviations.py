"""Numbers that are a little off, relative to their size."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ocompress.analysis.output_parts import OutputPart
from ocompress.analysis.rows import by_sample
from ocompress.validation.decisions import as_float
from ocompress.validation.tally import Tally


@dataclass(frozen=True)
class Deviations:
    """Compares numbers by mean absolute error over mean absolute value, part by part.

    Attributes:
        parts: Channels that are in one unit.
    """

    parts: tuple[OutputPart, ...]
    is_bounded = False

    def prepare(self, output: np.ndarray) -> np.ndarray:
        """Return the numbers as they are, [samples, ...]."""
        return as_float(output)

    def own(self, reference: np.ndarray, samples: int) -> np.ndarray:
        """Return the sum of absolute values, [parts, rows]; what is not finite does not count."""
        return np.stack([_sums(np.abs(part.of(reference)), samples) for part in self.parts])

    def compare(self, reference: np.ndarray, candidate: np.ndarray, samples: int) -> Tally:
        """Sum up absolute errors and absolute values of [samples, ...]."""
        own = self.own(reference, samples)
        if reference.shape != candidate.shape:
            return Tally(np.full(own.shape, np.inf), own, own)
        lost = [_errors(p.of(reference), p.of(candidate), samples) for p in self.parts]
        return Tally(np.stack(lost), own, own)


def _errors(reference: np.ndarray, candidate: np.ndarray, samples: int) -> np.ndarray:
    """Return absolute errors, [rows]; a number that is no longer finite is infinitely far off."""
    with np.errstate(invalid="ignore", over="ignore"):
        error = np.abs(np.asarray(reference, np.float64) - np.asarray(candidate, np.float64))
    error = np.where(np.isfinite(error), error, np.inf)
    known = np.where(np.isfinite(reference), error, 0.0)
    return np.asarray(by_sample(known, samples).sum(-1))


def _sums(values: np.ndarray, samples: int) -> np.ndarray:
    rows = by_sample(values, samples)
    return np.asarray(np.where(np.isfinite(rows), rows, 0.0).sum(-1, dtype=np.float64))

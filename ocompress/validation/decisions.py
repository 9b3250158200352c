"""What a model decides: the part of an output that its user acts on.

| output | decision |
|---|---|
| integers, booleans, text | the value itself |
| float, rank 2 `[N, C]`, C > 1 | the largest along the last axis |
| float, rank 3 `[N, T, C]`, C > 1 | the largest along the last axis, per step |
| float, rank >= 4 `[N, C, ...]`, C > 1 | the largest along axis 1, per position |
| float, everything else | above 0.5 where the reference stays within [0, 1], else above 0 |

Ties go to the lower index, as in numpy. A row with NaN in it decides nothing, which agrees
only with another row that decides nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from ocompress.analysis.rows import by_sample, row_count

_NOTHING = -1
_POSITIVE, _ABOVE_HALF, _UNDEFINED = 1, 2, 4


class Kind(StrEnum):
    """How a decision is read off an output."""

    EQUAL = "equal"
    TOP_1 = "top-1"
    THRESHOLD = "threshold"


@dataclass(frozen=True, slots=True)
class DecisionRule:
    """How decisions are read off one output.

    Attributes:
        kind: The way.
        axis: Class axis of `TOP_1`.
    """

    kind: Kind
    axis: int = 0

    @classmethod
    def for_output(cls, array: np.ndarray) -> DecisionRule:
        """Choose by element type and shape of one output of the reference."""
        if not is_float(array):
            return cls(Kind.EQUAL)
        axis = {0: None, 1: None, 2: -1, 3: -1}.get(array.ndim, 1)
        if axis is None or array.shape[axis] <= 1:
            return cls(Kind.THRESHOLD)
        return cls(Kind.TOP_1, axis)

    def decide(self, array: np.ndarray) -> np.ndarray:
        """Return the decisions of [samples, ...] in the form that `agree` and `labels_of` know."""
        if self.kind is Kind.EQUAL:
            return array
        values = as_float(array)
        if self.kind is Kind.TOP_1:
            if values.ndim == 0 or self.axis >= values.ndim or values.shape[self.axis] == 0:
                return np.full(values.shape, _NOTHING, np.int32)
            winners = np.asarray(values.argmax(axis=self.axis), np.int32)
            undecided = np.isnan(values).any(axis=self.axis)
            return np.where(undecided, np.int32(_NOTHING), winners)
        code = (values > 0) * np.uint8(_POSITIVE) + (values > 0.5) * np.uint8(_ABOVE_HALF)
        return np.asarray(np.where(np.isnan(values), np.uint8(_UNDEFINED), code), np.uint8)

    def describe(self, within_unit: bool) -> str:
        """Say it in a few characters; `within_unit` says if the reference stays in [0, 1]."""
        if self.kind is Kind.TOP_1:
            return f"top-1 axis {self.axis}"
        if self.kind is Kind.THRESHOLD:
            return "x > 0.5" if within_unit else "x > 0"
        return "equal"

    def labels_of(self, decisions: np.ndarray, within_unit: bool) -> np.ndarray:
        """Turn what `decide` returned into class ids, in its shape."""
        if self.kind is not Kind.THRESHOLD:
            return decisions
        bit = _ABOVE_HALF if within_unit else _POSITIVE
        return np.where(decisions == _UNDEFINED, _NOTHING, (decisions & bit) != 0)


def agree(reference: np.ndarray, candidate: np.ndarray, samples: int) -> np.ndarray:
    """Return each sample's share of equal decisions.

    Args:
        reference: Decisions or class ids, shape [samples, ...] or anything else.
        candidate: The same of the candidate.
        samples: Samples of the feed.

    Returns:
        Shares 0 to 1, shape [samples]; shape [1] where samples cannot be told apart. All 0 where
        the shapes differ, 1 where there is nothing to decide.
    """
    count = row_count(reference.shape, samples)
    if reference.shape != candidate.shape:
        return np.zeros(count)
    if reference.size == 0:
        return np.ones(count)
    equal = by_sample(np.asarray(reference == candidate), samples)
    return np.asarray(equal.mean(axis=1), np.float64)


def is_float(array: np.ndarray) -> bool:
    """Whether the elements, in any shape, are real numbers, those of ml_dtypes included."""
    return array.dtype.kind == "f" or (array.dtype.kind == "V" and array.dtype.fields is None)


def as_float(array: np.ndarray) -> np.ndarray:
    """Return the array as float32 at least, its shape kept; complex numbers as their magnitude."""
    if array.dtype.kind == "c":
        return np.asarray(np.abs(array))
    return array if array.dtype in (np.float32, np.float64) else array.astype(np.float32)

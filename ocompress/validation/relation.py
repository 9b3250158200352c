"""What tells how much of one output is left in another, summed up feed by feed."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ocompress.analysis.output_parts import OutputPart
from ocompress.analysis.rows import by_sample
from ocompress.analysis.running import Running, sqnr_db
from ocompress.validation.decisions import DecisionRule, as_float, is_float

_STILL = 1e-4
"""What values differ by, over their size, where an output counts as constant."""
_STOPPED = 1e-3
"""Share of the reference's movement below which an output has stopped: one of 1013 +- 8 moves by
less than a hundredth of its size, and yet that is all it says."""
_ONE_SIDED = 0.95
"""Share of the most frequent decision from which on the reference decides nothing to speak of."""
_MOST_KINDS = 1 << 16
"""Different decisions that are told apart; beyond, agreement by chance is taken for nothing."""


@dataclass(slots=True)
class PartSum:
    """Signal, error and variance of one part of an output.

    Attributes:
        part: Which.
    """

    part: OutputPart
    largest: float = 0.0
    _reference: Running = field(default_factory=Running)
    _candidate: Running = field(default_factory=Running)
    _error: Running = field(default_factory=Running)

    def update(self, reference: np.ndarray, candidate: np.ndarray) -> None:
        """Take in one feed; both float64, of one shape."""
        x, y = self.part.of(reference), self.part.of(candidate)
        both = np.isfinite(x) & np.isfinite(y)
        x, y = x[both], y[both]
        self._reference.update(x)
        self._candidate.update(y)
        self._error.update(x - y)
        self.largest = max(self.largest, float(np.abs(x).max(initial=0.0)))

    @property
    def size(self) -> float:
        """Root mean square of the reference."""
        return math.sqrt(self._reference.mean_square)

    @property
    def signal_db(self) -> float:
        """Signal over error, decibels."""
        return sqnr_db(self._reference.squares, self._error.squares)

    @property
    def variance_db(self) -> float:
        """What the reference varies by, over the error, decibels."""
        return sqnr_db(self._reference.variance * self._reference.count, self._error.squares)

    @property
    def is_still(self) -> bool:
        """Whether the candidate is constant and the reference is not."""
        own, old = (math.sqrt(m.variance) for m in (self._candidate, self._reference))
        return own <= _STILL * old and old > _STILL * self.size


@dataclass(slots=True)
class Movement:
    """How far samples are from the first one."""

    _first: np.ndarray | None = None
    _size: float = 0.0
    _moved: float = 0.0

    def update(self, values: np.ndarray, samples: int) -> None:
        """Take in one feed, float64 [samples, ...] or anything else."""
        rows = by_sample(values, samples)
        rows = np.where(np.isfinite(rows), rows, 0.0)
        if self._first is None:
            self._first = rows[0]
        if self._first.shape == rows[0].shape:
            self._size += float(np.square(rows).sum())
            self._moved += float(np.square(rows - self._first).sum())

    @property
    def share(self) -> float:
        """Root mean square of the differences over that of the values."""
        return math.sqrt(self._moved / self._size) if self._size else 0.0

    def stops(self, candidate: Movement) -> bool:
        """Whether this one moves and a candidate does not."""
        return self.share > _STILL and candidate.share < min(_STILL, _STOPPED * self.share)


class CollapsedError(Exception):
    """An output became the same for every input."""


class Motion:
    """How far outputs of a model are from sample to sample.

    A constant decides as a model does that nearly always decides alike, so decisions do not tell
    that an output is lost.

    Attributes:
        finite: Whether no number of any output was NaN or infinite.
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        self._each: dict[str, Movement] = defaultdict(Movement)
        self.finite = True

    def update(self, outputs: Mapping[str, np.ndarray], samples: int) -> None:
        """Take in one feed's outputs, of so many samples."""
        for name, array in outputs.items():
            if array.dtype.kind not in "OUS" and array.size:
                values = real(array)
                self.finite = self.finite and bool(np.isfinite(values).all())
                self._each[name].update(values, samples)

    def check(self, candidate: Motion) -> None:
        """Check that what moves here moves in a candidate, too.

        Raises:
            CollapsedError: If an output does not, one sentence.
        """
        for name, own in self._each.items():
            if own.stops(candidate._each[name]):
                msg = f"output {name!r} became the same for every input"
                raise CollapsedError(msg)


def real(array: np.ndarray) -> np.ndarray:
    """Return numbers of any type as float64, complex ones by their magnitude."""
    if array.dtype.kind == "c":
        return np.asarray(np.abs(array), np.float64)
    return np.asarray(as_float(array) if is_float(array) else array, np.float64)


@dataclass(slots=True)
class Chance:
    """How often two models decide the same, and how often they would by chance."""

    rule: DecisionRule
    _same: int = 0
    _count: int = 0
    _kinds: tuple[Counter[object], Counter[object]] = field(
        default_factory=lambda: (Counter(), Counter())
    )

    def update(self, reference: np.ndarray, candidate: np.ndarray, *, within_unit: bool) -> None:
        """Take in one feed, both of one shape."""
        labels = [
            np.asarray(self.rule.labels_of(self.rule.decide(a), within_unit)).ravel()
            for a in (reference, candidate)
        ]
        self._same += int((labels[0] == labels[1]).sum())
        self._count += labels[0].size
        for counts, found in zip(self._kinds, labels, strict=True):
            if len(counts) <= _MOST_KINDS:
                kinds, numbers = np.unique(found, return_counts=True)
                counts.update(dict(zip(kinds.tolist(), numbers.tolist(), strict=True)))

    @property
    def agreement(self) -> float:
        """Share of equal decisions."""
        return self._same / max(self._count, 1)

    @property
    def by_chance(self) -> float:
        """Share of equal decisions of two models that know nothing of each other."""
        old, new = self._kinds
        if max(len(old), len(new)) > _MOST_KINDS:
            return 0.0
        return sum(n * new[kind] for kind, n in old.items()) / max(self._count, 1) ** 2

    @property
    def kappa(self) -> float:
        """Agreement beyond chance, 1 for equality; 0 where there is none to be had."""
        left = 1.0 - self.by_chance
        return (self.agreement - self.by_chance) / left if left > 0 else 0.0

    @property
    def varies(self) -> bool:
        """Whether the reference decides now this and now that."""
        most = max(self._kinds[0].values(), default=0)
        return self._count > 1 and most <= _ONE_SIDED * self._count

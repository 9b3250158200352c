"""Scores of an original and of a candidate by the rank of classes in the original."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_RANKS = 8
"""Classes that may win in place of the original's choice, likeliest first, one by one."""
_NAMES = ("worth", "scores", "others")
_TINY, _IMPOSSIBLE = 1e-30, 1e-6


@dataclass(frozen=True)
class RankedScores:
    """Samples by the rank of classes in the original, likeliest first.

    Attributes:
        worth: Probabilities of the original, [samples, ranks].
        scores: The original's scores, in the same shape.
        others: The candidate's, not numbers where it did not run.
    """

    worth: np.ndarray
    scores: np.ndarray
    others: np.ndarray

    @classmethod
    def of(cls, p: np.ndarray, scores: np.ndarray | None, temperature: float) -> RankedScores:
        """Rank the classes of [samples, classes]; of many the best of all others is the last."""
        order = np.argsort(-p, axis=1, kind="stable")
        worth = np.take_along_axis(p, order, 1)[:, : _RANKS + 1]
        own = temperature * np.log(np.maximum(worth.astype(np.float64), _TINY))
        if scores is None:
            return cls(worth, own.astype(np.float32), np.full(own.shape, np.nan, np.float32))
        others = np.take_along_axis(scores, order, 1).astype(np.float64)
        if others.shape[1] > _RANKS:
            others = np.hstack([others[:, :_RANKS], others[:, _RANKS:].max(1, keepdims=True)])
        return cls(worth, own.astype(np.float32), others.astype(np.float32))

    @classmethod
    def joined(cls, parts: Sequence[RankedScores]) -> RankedScores:
        """Return the samples of all parts."""
        return cls(*(np.concatenate([getattr(r, n) for r in parts]) for n in _NAMES))

    def goes_with(self, parts: Sequence[RankedScores]) -> bool:
        """Whether there are as many ranks as in other parts; classes may be places of a text."""
        return not parts or self.worth.shape[1] == parts[0].worth.shape[1]

    @property
    def gaps(self) -> np.ndarray:
        """How far the first class is before the second, [samples]."""
        return np.asarray(self.scores[:, 0] - self.scores[:, 1])

    @property
    def likely(self) -> np.ndarray:
        """What is not next to impossible, whose probabilities have kept their logarithms."""
        return np.asarray(self.worth > _IMPOSSIBLE)

    def errors(self) -> np.ndarray | None:
        """Return what a candidate's scores are off by, [samples, ranks], but for a common factor.

        What is next to impossible says nothing of the factor. None where nothing else is there, or
        no factor makes the scores alike.
        """
        own, other = (self._centred(each) for each in (self.scores, self.others))
        likely = self.likely
        common, power = float((own * other)[likely].sum()), float(np.square(other[likely]).sum())
        return np.asarray(other * (common / power) - own) if common > 0 else None

    def sizes(self, errors: np.ndarray) -> np.ndarray:
        """Return what errors [samples, ranks] may cost, [samples].

        Of what each other class gains on the first the square counts, times the probabilities of
        both: those that the original is unsure of count most, as fits do best on them.
        """
        gains = np.square(errors - errors[:, :1])
        return np.asarray((self.worth[:, :1] * self.worth * gains).sum(1))

    def _centred(self, each: np.ndarray) -> np.ndarray:
        likely = self.likely
        count = np.maximum(likely.sum(1, keepdims=True), 1)
        return np.asarray(each - np.where(likely, each, 0.0).sum(1, keepdims=True) / count)

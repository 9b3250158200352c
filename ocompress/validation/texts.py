"""Texts that a model spells step by step, as networks trained with CTC do.

The likeliest class of each step is taken, repetitions are merged and blanks dropped (best path
decoding: Graves et al., Connectionist temporal classification, 2006). Two texts differ by their
edit distance (Levenshtein) over the length of the longer one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ocompress.analysis.rows import by_sample
from ocompress.validation.decisions import DecisionRule, Kind
from ocompress.validation.tally import Tally


@dataclass(frozen=True)
class Texts:
    """Compares texts character by character.

    Attributes:
        blank: The class that stands for no character.
    """

    blank: int
    is_bounded = True

    def prepare(self, output: np.ndarray) -> np.ndarray:
        """Return the likeliest class of each step, int32 [samples, steps] of [..., classes]."""
        return np.asarray(DecisionRule(Kind.TOP_1, -1).decide(output), np.int32)

    def own(self, reference: np.ndarray, samples: int) -> np.ndarray:
        """Return the characters of each text, [1, rows]."""
        texts = self.spelled(reference, samples)
        return np.array([[len(text) for text in texts]], np.float64)

    def compare(self, reference: np.ndarray, candidate: np.ndarray, samples: int) -> Tally:
        """Count the characters to be changed, inserted or removed, of [samples, steps]."""
        old, new = self.spelled(reference, samples), self.spelled(candidate, samples)
        own = np.array([[len(text) for text in old]], np.float64)
        if len(old) != len(new):
            return Tally.of_nothing(own)
        lost = [edit_distance(a, b) for a, b in zip(old, new, strict=True)]
        whole = [max(len(a), len(b)) for a, b in zip(old, new, strict=True)]
        return Tally(np.array([lost], np.float64), np.array([whole], np.float64), own)

    def spelled(self, steps: np.ndarray, samples: int) -> list[np.ndarray]:
        """Return the text of each row as classes: no repetitions, no blanks.

        Args:
            steps: Likeliest classes [samples, steps] or [steps, samples].
            samples: Samples of the feed.
        """
        rows = by_sample(steps, samples)
        new = np.ones(rows.shape, bool)
        new[:, 1:] = rows[:, 1:] != rows[:, :-1]
        return [row[keep] for row, keep in zip(rows, new & (rows != self.blank), strict=True)]


def edit_distance(left: np.ndarray, right: np.ndarray) -> int:
    """Return how many items have to be changed, inserted or removed to turn one into the other.

    Args:
        left: Items, [n].
        right: Items, [m].
    """
    if len(left) == len(right) and bool((left == right).all()):
        return 0
    places = np.arange(len(right) + 1)
    row = places
    for count, item in enumerate(left, start=1):
        best = np.minimum(row[1:] + 1, row[:-1] + (right != item))
        best = np.concatenate([[count], best])
        row = np.minimum.accumulate(best - places) + places  # insertions, all at once
    return int(row[-1])

"""Objects that a detector finds: boxes with a score and a class.

An object of the candidate is one of the original's where both are of one class and their boxes
overlap by half (intersection over union), each used once, those with high scores first (Everingham
et al., The Pascal visual object classes challenge, 2010). What is lost is one minus F1, twice the
pairs over the objects of both. Rows that come before non-maximum suppression go through it first.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from ocompress.validation.decisions import as_float
from ocompress.validation.tally import Tally

SCORE = 0.25
"""Score from which on a row is an object."""
_OVERLAP = 0.5
"""Intersection over union from which on two boxes are of one object."""
_MOST_ROWS, _MOST_OBJECTS = 1000, 100
"""Rows of an image that are looked at, and objects that are left of them, the highest first."""


class Objects(NamedTuple):
    """Objects of one image, the highest score first.

    Attributes:
        boxes: Corners [n, 4].
        scores: Scores [n].
        classes: Classes [n].
    """

    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray


class Scoring(StrEnum):
    """What has to be done to scores of classes to make them probabilities."""

    PROBABILITIES = "probabilities"
    SIGMOID = "sigmoid"
    SOFTMAX = "softmax"


@dataclass(frozen=True)
class Boxes:
    """Reads the rows of a detector and compares objects.

    Attributes:
        scores: Columns of the scores of classes, first and last plus one.
        box: First column of the box, which has four.
        axis: Axis of the columns, from the end: -1, or -2 for [samples, columns, rows].
        corners: Whether boxes are two corners, or else centre and size.
        scoring: What scores are.
        background: Class that stands for no object, counted from `scores[0]`.
        objectness: Column of a probability that there is an object at all.
        label: Column of the class, where rows have one score.
        image: Column of the sample that a row belongs to.
        is_final: Whether rows come after non-maximum suppression.
    """

    scores: tuple[int, int]
    box: int = 0
    axis: int = -1
    corners: bool = True
    scoring: Scoring = Scoring.PROBABILITIES
    background: int | None = None
    objectness: int | None = None
    label: int | None = None
    image: int | None = None
    is_final: bool = False
    is_bounded = True

    def prepare(self, output: np.ndarray) -> np.ndarray:
        """Return the rows as they are, [samples, ...]."""
        return as_float(output)

    def own(self, reference: np.ndarray, samples: int) -> np.ndarray:
        """Return how many objects there are, [1, rows]."""
        return np.array([[len(o.scores) for o in self.objects(reference, samples)]], np.float64)

    def compare(self, reference: np.ndarray, candidate: np.ndarray, samples: int) -> Tally:
        """Count objects without a partner, and all of both, of rows [samples, ...]."""
        old, new = self.objects(reference, samples), self.objects(candidate, samples)
        own = np.array([[len(o.scores) for o in old]], np.float64)
        if len(old) != len(new):
            return Tally.of_nothing(own)
        whole = own + np.array([[len(o.scores) for o in new]], np.float64)
        pairs = np.array([[matched(a, b) for a, b in zip(old, new, strict=True)]], np.float64)
        return Tally(whole - 2 * pairs, whole, own)

    def objects(self, rows: np.ndarray, samples: int) -> list[Objects]:
        """Return the objects of each image, of rows [samples, ...]."""
        return [self._objects(image) for image in self._images(rows, samples)]

    def _images(self, rows: np.ndarray, samples: int) -> list[np.ndarray]:
        """Return rows by image, each [rows, columns]."""
        turned = np.swapaxes(rows, -1, self.axis) if self.axis != -1 else rows
        if self.image is not None:
            flat = turned.reshape(-1, turned.shape[-1])
            return [flat[flat[:, self.image] == index] for index in range(samples)]
        return list(turned) if turned.ndim > 2 else [turned]

    def _objects(self, rows: np.ndarray) -> Objects:
        if rows.ndim != 2 or rows.shape[-1] < max(self.scores[1], self.box + 4):
            return Objects(np.zeros((0, 4)), np.zeros(0), np.zeros(0))
        values = self._probabilities(rows[:, slice(*self.scores)])
        if self.objectness is not None:
            values = values * rows[:, self.objectness, None]
        best = values.max(-1)
        classes = values.argmax(-1) if self.label is None else np.rint(rows[:, self.label])
        with np.errstate(invalid="ignore"):
            there = np.flatnonzero(best >= SCORE)
        there = there[np.argsort(-best[there], kind="stable")][:_MOST_ROWS]
        boxes = np.asarray(rows[there, self.box : self.box + 4], np.float64)
        if not self.corners:
            boxes = np.hstack([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2])
        found = Objects(boxes, best[there], classes[there])
        kept = np.arange(len(there)) if self.is_final else _suppressed(found)
        kept = kept[:_MOST_OBJECTS]
        return Objects(*(part[kept] for part in found))

    def _probabilities(self, scores: np.ndarray) -> np.ndarray:
        """Return probabilities [rows, classes], of the background 0."""
        values = np.asarray(scores, np.float64)
        if self.scoring is Scoring.SIGMOID:
            values = 1 / (1 + np.exp(-np.clip(values, -60, 60)))
        elif self.scoring is Scoring.SOFTMAX:
            values = np.exp(values - values.max(-1, keepdims=True))
            values = values / values.sum(-1, keepdims=True)
        if self.background is not None:
            values = values.copy()
            values[:, self.background] = 0.0
        return values


def overlaps(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return intersections over unions, [n, m].

    Args:
        left: Corners [n, 4].
        right: Corners [m, 4].
    """
    low = np.maximum(left[:, None, :2], right[None, :, :2])
    high = np.minimum(left[:, None, 2:], right[None, :, 2:])
    common = np.prod(np.clip(high - low, 0, None), -1)
    areas = [np.prod(np.clip(b[:, 2:] - b[:, :2], 0, None), -1) for b in (left, right)]
    union = areas[0][:, None] + areas[1][None] - common
    return np.where(union > 0, common / np.where(union > 0, union, 1.0), 0.0)


def matched(left: Objects, right: Objects) -> int:
    """Return how many objects of two lists are the same ones."""
    if not len(left.scores) or not len(right.scores):
        return 0
    near = overlaps(left.boxes, right.boxes)
    near = np.where(left.classes[:, None] == right.classes[None], near, 0.0)
    count = 0
    for column in range(near.shape[1]):
        best = int(near[:, column].argmax())
        if near[best, column] >= _OVERLAP:
            near[best] = 0.0
            count += 1
    return count


def _suppressed(found: Objects) -> np.ndarray:
    """Return the rows that no better one of their class overlaps, the best first."""
    sizes = np.clip(found.boxes[:, 2:] - found.boxes[:, :2], 0, None).prod(-1)
    left = np.vstack([found.boxes.T, sizes, found.classes, np.arange(len(sizes))])
    kept: list[int] = []
    while left.shape[1] and len(kept) < _MOST_OBJECTS:  # only rows that are kept are compared
        best = left[:, :1]
        kept.append(int(best[6, 0]))
        sides = np.minimum(left[2:4], best[2:4]) - np.maximum(left[:2], best[:2])
        common = np.maximum(sides[0], 0) * np.maximum(sides[1], 0)
        union = left[4] + best[4] - common
        near = (union > 0) & (common / np.where(union > 0, union, 1.0) > _OVERLAP)
        near &= left[5] == best[5]
        near[0] = True
        left = left[:, ~near]
    return np.array(kept, np.int64)

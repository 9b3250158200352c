"""Texts, masks, boxes and numbers: what of one output is found again in another."""

from __future__ import annotations

import numpy as np
import pytest

from ocompress.analysis.output_parts import OutputPart
from ocompress.validation.boxes import Boxes, Scoring, overlaps
from ocompress.validation.deviations import Deviations
from ocompress.validation.losses import LossSum
from ocompress.validation.masks import ClassMasks, Masks
from ocompress.validation.measures import LossUnit, Measure
from ocompress.validation.tally import Matching
from ocompress.validation.texts import Texts, edit_distance

RNG = np.random.default_rng(0)


def spelled(text: list[int], classes: int = 5) -> np.ndarray:
    """Return scores of steps [1, steps, classes]."""
    return np.eye(classes, dtype=np.float32)[text][None]


def lost(matching: Matching, unit: LossUnit, *pairs: tuple[np.ndarray, np.ndarray]) -> float:
    """Return the loss over feeds of one sample each."""
    total = LossSum(Measure(unit, matching=matching))
    for reference, candidate in pairs:
        total.update(matching.prepare(reference), candidate, 1)
    (found,) = total.results()
    return found.drop.value


def levenshtein(a: list[int], b: list[int]) -> int:
    if not a or not b:
        return len(a) + len(b)
    same = levenshtein(a[1:], b[1:])
    if a[0] == b[0]:
        return same
    return 1 + min(same, levenshtein(a[1:], b), levenshtein(a, b[1:]))


def test_edit_distance_is_that_of_the_definition() -> None:
    for _ in range(60):
        a, b = (RNG.integers(0, 3, RNG.integers(0, 6)) for _ in range(2))
        assert edit_distance(a, b) == levenshtein(a.tolist(), b.tolist())


def test_texts_merge_repetitions_and_drop_blanks() -> None:
    texts = Texts(0)
    steps = texts.prepare(spelled([0, 1, 1, 0, 1, 2, 2, 3, 0]))
    assert texts.spelled(steps, 1)[0].tolist() == [1, 1, 2, 3]
    last = Texts(4)
    assert last.spelled(last.prepare(spelled([0, 0, 4, 0, 4])), 1)[0].tolist() == [0, 0]


def test_lost_characters_count_over_all_texts() -> None:
    long, short = spelled([1, 2, 3, 1, 2, 3, 1, 2]), spelled([1, 0, 2])
    wrong = spelled([1, 0, 3])
    # 1 of 10 characters, where the mean over texts would say 1 of 4
    assert lost(Texts(0), LossUnit.CTC, (long, long), (short, wrong)) == pytest.approx(0.1)
    other_length = spelled([1, 0, 2, 0, 0])
    assert lost(Texts(0), LossUnit.CTC, (short, other_length)) == 0.0


def test_steps_may_come_before_samples() -> None:
    batch = np.concatenate([spelled([1, 0, 2, 3]), spelled([1, 1, 1, 0])]).transpose(1, 0, 2)
    texts = Texts(0)
    found = texts.spelled(texts.prepare(batch), 2)
    assert [t.tolist() for t in found] == [[1, 2, 3], [1]]


def test_masks_are_compared_over_all_samples() -> None:
    big, dot = np.zeros((1, 1, 10, 10), np.float32), np.zeros((1, 1, 10, 10), np.float32)
    big[..., :5, :] = 0.9
    dot[..., 0, 0] = 0.9
    none = np.zeros_like(dot)
    found = lost(Masks(), LossUnit.IOU, (big, big), (dot, none))
    assert found == pytest.approx(1 / 51)
    half = big.copy()
    half[..., :2, :] = 0.2
    assert lost(Masks(), LossUnit.IOU, (big, half)) == pytest.approx(0.4)


def picture(*regions: tuple[int, int, int, int]) -> np.ndarray:
    """Return a probability map with rectangles (top, left, bottom, right), [1, 1, 32, 32]."""
    found = np.full((1, 1, 32, 32), 0.1, np.float32)
    for top, left, bottom, right in regions:
        found[..., top:bottom, left:right] = 0.9
    return found


def test_outlines_of_regions_are_left_out() -> None:
    whole, other = (4, 4, 14, 24), (20, 4, 28, 24)
    reference = picture(whole, other)
    grown = picture((3, 3, 15, 25), (21, 5, 27, 23))
    assert lost(Masks(), LossUnit.IOU, (reference, grown)) == 0.0
    # of 18 x 8 and 18 x 6 pixels inside of the outlines, the second region is gone
    found = lost(Masks(), LossUnit.IOU, (reference, picture(whole)))
    assert found == pytest.approx(18 * 6 / (18 * 8 + 18 * 6))
    line = picture((5, 4, 7, 28))
    assert lost(Masks(), LossUnit.IOU, (line, picture((6, 4, 7, 28)))) == pytest.approx(0.5)


def test_outlines_of_classes_are_left_out() -> None:
    scores = np.zeros((1, 2, 32, 32), np.float32)
    scores[:, 0] = 1
    scores[:, 1, 8:24, 8:24] = 2
    moved = scores.copy()
    moved[:, 1, 8:24, 8] = 0
    assert lost(ClassMasks(2), LossUnit.IOU, (scores, moved)) == 0.0
    moved[:, 1, 8:24, 9] = 0  # inside of the outline: 14 of 14 x 14 pixels
    within, around = 14 * 14, 32 * 32 - 18 * 18
    expected = (14 / within + 14 / (around + 14)) / 2
    assert lost(ClassMasks(2), LossUnit.IOU, (scores, moved)) == pytest.approx(expected)


def test_each_class_of_a_map_counts_alike() -> None:
    reference = np.zeros((1, 3, 10, 10), np.float32)
    reference[:, 0] = 1
    reference[:, 1, 0, :4] = 2
    gone = reference.copy()
    gone[:, 1] = 0
    # class 2 is nowhere; class 0 keeps 96 of 100 pixels, class 1 none
    found = lost(ClassMasks(3), LossUnit.IOU, (reference, gone))
    assert found == pytest.approx((1 - 96 / 100 + 1) / 2)
    assert lost(ClassMasks(3), LossUnit.IOU, (reference, reference)) == 0.0


def test_relative_errors_count_part_by_part() -> None:
    parts = (OutputPart("0", -1, np.array([0])), OutputPart("1", -1, np.array([1])))
    numbers = np.array([[100.0, 0.1], [300.0, 0.3]])
    matching = Deviations(parts)
    total = LossSum(Measure(LossUnit.RELATIVE, parts=parts, matching=matching))
    total.update(numbers, numbers + np.array([[2.0, 0.0], [2.0, 0.1]]), 2)
    assert [f.drop.value for f in total.results()] == pytest.approx([0.01, 0.25])
    bad = LossSum(Measure(LossUnit.RELATIVE, parts=parts, matching=matching))
    bad.update(numbers, np.full_like(numbers, np.nan), 2)
    assert all(np.isinf(f.drop.value) for f in bad.results())


def rows(*objects: tuple[float, ...]) -> np.ndarray:
    """Return rows of a box, a score and a class, [1, n, 6]."""
    return np.array([objects], np.float32)


FINAL = Boxes((4, 5), label=5, is_final=True)
A, B = (0, 0, 10, 10, 0.9, 1), (20, 20, 30, 40, 0.6, 0)


@pytest.mark.parametrize(
    ("candidate", "f1"),
    [
        ([A, B], 1.0),
        ([B, A], 1.0),
        ([A], 2 / 3),
        ([A, (*B[:5], 1)], 1 / 2),  # of another class
        ([A, (*B[:4], 0.2, 0)], 2 / 3),  # no longer an object
        ([A, B, (50, 50, 60, 60, 0.5, 0)], 4 / 5),
        ([A, A, B], 4 / 5),  # an object has one partner
        ([A, (20, 20, 30, 31, 0.6, 0)], 1.0),  # overlaps by 11 of 20
        ([A, (20, 20, 30, 29, 0.6, 0)], 1 / 2),  # by 9 of 20
    ],
)
def test_objects_are_matched(candidate: list[tuple[float, ...]], f1: float) -> None:
    found = lost(FINAL, LossUnit.BOXES, (rows(A, B), rows(*candidate)))
    assert found == pytest.approx(1 - f1)


def test_lists_of_other_lengths_are_compared() -> None:
    assert lost(FINAL, LossUnit.BOXES, (rows(A, B), np.zeros((1, 0, 6), np.float32))) == 1.0


def test_overlaps_are_intersections_over_unions() -> None:
    found = overlaps(np.array([[0, 0, 2, 2], [5, 5, 5, 5]]), np.array([[1, 0, 3, 2], [0, 0, 2, 2]]))
    assert found == pytest.approx(np.array([[1 / 3, 1], [0, 0]]))


def test_rows_before_suppression_go_through_it() -> None:
    centre = np.array([[5, 5, 10, 10], [5.5, 5, 10, 10], [25, 30, 10, 20], [5, 5, 10, 10]])
    scores = np.array([[0.9, 0.1], [0.8, 0.1], [0.1, 0.7], [0.1, 0.6]])
    raw = np.hstack([centre, scores])[None].astype(np.float32)
    layout = Boxes((4, 6), corners=False)
    (found,) = layout.objects(raw, 1)
    assert found.classes.tolist() == [0, 1, 1]
    assert found.boxes[0].tolist() == [0, 0, 10, 10]
    (turned,) = Boxes((4, 6), corners=False, axis=-2).objects(raw.transpose(0, 2, 1), 1)
    assert np.array_equal(turned.boxes, found.boxes)


@pytest.mark.parametrize("width", [3.0, 12.0])
def test_suppression_keeps_what_no_better_box_of_its_class_overlaps(width: float) -> None:
    """Many boxes, flat ones among them; no more than a hundred are kept."""
    corner = RNG.random((400, 2)) * width
    boxes = np.hstack([corner, corner + RNG.random((400, 2)) * 4])
    boxes[:40, 3] = boxes[:40, 1]
    scores = np.where(np.arange(3) == RNG.integers(0, 3, 400)[:, None], RNG.random((400, 1)), 0.0)
    rows = np.hstack([boxes, 0.25 + 0.7 * scores])
    (found,) = Boxes((4, 7)).objects(rows[None], 1)
    rows = rows[np.argsort(-rows[:, 4:].max(1), kind="stable")]
    kept: list[np.ndarray] = []
    for row in rows:
        rivals = [k for k in kept if k[4:].argmax() == row[4:].argmax()]
        near = overlaps(row[None, :4], np.reshape(rivals, (-1, 7))[:, :4])
        if not (near > 0.5).any():
            kept.append(row)
    assert len(kept) > 60
    assert np.array_equal(found.boxes, np.array(kept)[:100, :4])


def test_objectness_background_and_logits_make_scores() -> None:
    box = [[0, 0, 4, 4]]
    gated = np.hstack([box, [[0.5, 0.9]]])[None]
    (found,) = Boxes((5, 6), objectness=4).objects(gated, 1)
    assert found.scores.tolist() == pytest.approx([0.45])
    logits = np.hstack([box, [[9.0, 0.0, -9.0]]])[None]
    soft = Boxes((4, 7), scoring=Scoring.SOFTMAX, background=0)
    assert len(soft.objects(logits, 1)[0].scores) == 0
    (found,) = Boxes((4, 7), scoring=Scoring.SIGMOID).objects(logits, 1)
    assert (found.classes.tolist(), found.scores[0] > 0.99) == ([0], True)


def test_rows_of_several_images_are_told_apart() -> None:
    layout = Boxes((6, 7), box=1, label=5, image=0, is_final=True)
    flat = np.array([[1, 0, 0, 2, 2, 3, 0.9], [0, 0, 0, 2, 2, 4, 0.9], [1, 5, 5, 9, 9, 3, 0.8]])
    found = layout.objects(flat, 3)
    assert [o.classes.tolist() for o in found] == [[4], [3, 3], []]

"""What counts as a decision, and when two agree."""

from __future__ import annotations

import numpy as np
import pytest

from ocompress.validation.decisions import DecisionRule, Kind, agree

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("shape", "rule"),
    [
        ((8, 10), DecisionRule(Kind.TOP_1, -1)),
        ((8, 5, 10), DecisionRule(Kind.TOP_1, -1)),
        ((2, 4, 6, 6), DecisionRule(Kind.TOP_1, 1)),
        ((2, 4, 6, 6, 6), DecisionRule(Kind.TOP_1, 1)),
        ((2, 1, 6, 6), DecisionRule(Kind.THRESHOLD)),
        ((8, 1), DecisionRule(Kind.THRESHOLD)),
        ((8,), DecisionRule(Kind.THRESHOLD)),
        ((), DecisionRule(Kind.THRESHOLD)),
    ],
)
def test_rule_follows_the_shape(shape: tuple[int, ...], rule: DecisionRule) -> None:
    assert DecisionRule.for_output(np.zeros(shape, np.float32)) == rule
    assert DecisionRule.for_output(np.zeros(shape, np.int64)) == DecisionRule(Kind.EQUAL)


def test_classes_lie_along_axis_one_of_maps() -> None:
    array = RNG.standard_normal((2, 4, 3, 5)).astype(np.float32)
    rule = DecisionRule.for_output(array)
    assert np.array_equal(rule.decide(array), array.argmax(1))


@pytest.mark.parametrize(("unit", "expected"), [(True, [0, 0, 1]), (False, [0, 1, 1])])
def test_threshold_depends_on_the_range(unit: bool, expected: list[int]) -> None:
    rule = DecisionRule(Kind.THRESHOLD)
    decisions = rule.decide(np.array([-1.0, 0.25, 0.75], np.float32))
    assert rule.labels_of(decisions, unit).astype(int).tolist() == expected


def test_nan_decides_nothing() -> None:
    rule = DecisionRule(Kind.TOP_1, -1)
    array = np.array([[1, 2, 3], [1, np.nan, 3]], np.float32)
    decisions = rule.decide(array)
    assert decisions.tolist() == [2, -1]
    clean = rule.decide(np.array([[1, 2, 3], [1, 2, 3]], np.float32))
    assert agree(clean, decisions, 2).tolist() == [1.0, 0.0]
    assert agree(decisions, decisions, 2).tolist() == [1.0, 1.0]


def test_agreement_is_a_share_per_sample() -> None:
    reference = np.zeros((2, 4), int)
    candidate = np.array([[0, 0, 0, 0], [0, 1, 1, 0]])
    assert agree(reference, candidate, 2).tolist() == [1.0, 0.5]
    assert agree(reference, candidate, 7).tolist() == [0.75]


def test_another_shape_never_agrees() -> None:
    assert agree(np.zeros((3, 2)), np.zeros((3, 1)), 3).tolist() == [0, 0, 0]
    assert agree(np.zeros((3, 0)), np.zeros((3, 0)), 3).tolist() == [1, 1, 1]
    rule = DecisionRule(Kind.TOP_1, 1)
    assert rule.decide(np.zeros((), np.float32)).shape == ()
    assert rule.decide(np.zeros((2, 0), np.float32)).size == 0


def test_text_is_compared_as_it_is() -> None:
    words = np.array(["a", "b"], object)
    rule = DecisionRule.for_output(words)
    other = np.array(["a", "c"])
    assert agree(rule.decide(words), rule.decide(other), 2).tolist() == [1.0, 0.0]

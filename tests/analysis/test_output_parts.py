"""Parts of outputs in units of their own."""

from __future__ import annotations

import numpy as np
import pytest

from ocompress.analysis.gradients.seeds import Currency, Joined, Seeding
from ocompress.analysis.output_parts import OutputPart, Spread, parts_of

RNG = np.random.default_rng(0)
SQUARES, SCORES = Seeding(Currency.SQUARES), Seeding(Currency.BERNOULLI)


def detections(last: bool) -> np.ndarray:
    boxes = RNG.uniform(0, 640, (2, 4, 50))
    scores = RNG.random((2, 6, 50)) ** 4
    found = np.concatenate([boxes, scores], 1).astype(np.float32)
    return found.transpose(0, 2, 1) if last else found


@pytest.mark.parametrize("last", [False, True])
def test_boxes_and_scores_are_parts_by_size(last: bool) -> None:
    found = parts_of(detections(last), SQUARES)
    assert [p.name for p in found] == ["0..3", "4..9"]
    assert [p.axis for p in found] == [-1 if last else -2] * 2
    assert [p.within_unit for p in found] == [False, True]


def test_boxes_and_scores_are_parts_by_kind() -> None:
    output = detections(False)
    output[:, :4] /= 640  # the sizes tell nothing any more
    found = parts_of(output, Joined(1, [np.arange(4), np.arange(4, 10)], [SQUARES, SCORES]))
    assert [p.name for p in found] == ["0..3", "4..9"]
    assert found[1].of(output).shape == (2, 6, 50)


def test_one_unit_is_one_part() -> None:
    assert parts_of(RNG.standard_normal((8, 16)), SQUARES) == (OutputPart(),)
    assert parts_of(np.array(3.0), SQUARES) == (OutputPart(),)
    assert parts_of(np.zeros((0, 4)), SQUARES) == (OutputPart(),)


def test_rare_probabilities_are_one_unit() -> None:
    rare = RNG.random((8, 20)) * np.logspace(0, -6, 20)
    assert parts_of(rare, SCORES) == (OutputPart(within_unit=True),)


def test_values_of_very_different_size_are_parts() -> None:
    output = RNG.standard_normal((32, 3)) * np.array([1e4, 1e-3, 1e4])
    assert [p.name for p in parts_of(output, SQUARES)] == ["0,2", "1"]


def test_how_rarely_a_channel_is_not_zero_is_no_unit() -> None:
    output = np.abs(RNG.standard_normal((400, 6)))
    output[:, 2] *= RNG.random(400) < 0.01
    assert output[:, 2].any()
    assert parts_of(output, SQUARES) == (OutputPart(),)


def test_spread_is_the_variance_of_the_part() -> None:
    output = detections(False)
    boxes = parts_of(output, SQUARES)[0]
    spread = Spread(boxes)
    for sample in output:
        spread.update(sample[None])
    assert spread.variance == pytest.approx(output[:, :4].var(), rel=1e-6)


def test_spread_of_constants_and_of_what_never_fires() -> None:
    constant = Spread(OutputPart())
    constant.update(np.full((4, 2), 100.0))
    assert constant.variance == pytest.approx(100.0**2 * 1e-6)
    silent = Spread(OutputPart(within_unit=True))
    silent.update(np.full((4, 2), 1e-5))
    assert silent.variance == 1e-4

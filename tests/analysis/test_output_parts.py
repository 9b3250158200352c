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
    within = output[:, :4].var(axis=(0, 2), ddof=1).mean()
    assert spread.variance == pytest.approx(within, rel=1e-6)


def test_columns_of_different_offsets_explain_nothing_by_them() -> None:
    columns = RNG.standard_normal((60, 3)) * np.array([4, 9, 6]) + np.array([293, 50, 1013])
    (part,) = parts_of(columns, SQUARES)
    spread = Spread(part)
    for rows in np.split(columns, 6):
        spread.update(rows)
    assert spread.variance == pytest.approx(columns.var(axis=0, ddof=1).mean(), rel=1e-6)


def test_columns_that_vary_by_very_different_amounts_are_parts() -> None:
    columns = RNG.standard_normal((60, 3)) * np.array([4, 0.01, 6]) + np.array([293, 300, 310])
    assert [p.name for p in parts_of(columns, SQUARES)] == ["0,2", "1"]


def test_spread_of_what_has_other_channels_each_time_is_that_of_all_values() -> None:
    spread = Spread(OutputPart())
    rows = [RNG.standard_normal((4, 5)) + 100, RNG.standard_normal((4, 6))]
    for row in rows:
        spread.update(row)
    whole = np.concatenate([row.ravel() for row in rows])
    assert spread.variance == pytest.approx(whole.var(), rel=1e-6)


def test_one_row_is_as_spread_as_its_values() -> None:
    row = RNG.standard_normal((1, 50))
    spread = Spread(OutputPart())
    spread.update(row)
    assert spread.variance == pytest.approx(row.var(), rel=1e-6)


@pytest.mark.parametrize("offset", [0.0, 3e2, 1e5])
def test_an_offset_is_no_spread(offset: float) -> None:
    values = np.random.default_rng(3).standard_normal((500, 1)) * 2 + offset
    spread = Spread(OutputPart())
    spread.update(values.astype(np.float32))
    assert spread.variance == pytest.approx(values.var(), rel=0.01)


def test_what_rounds_to_a_constant_is_one() -> None:
    noise = np.random.default_rng(3).standard_normal((500, 1))
    for values in (100 + 1e-5 * noise).astype(np.float32), (100 + 0.05 * noise).astype(np.float16):
        spread = Spread(OutputPart())
        spread.update(values)
        assert spread.variance == pytest.approx(100.0**2 * 1e-6, rel=0.01)


def test_spread_of_constants_and_of_what_never_fires() -> None:
    constant = Spread(OutputPart())
    constant.update(np.full((4, 2), 100.0))
    assert constant.variance == pytest.approx(100.0**2 * 1e-6)
    silent = Spread(OutputPart(within_unit=True))
    silent.update(np.full((4, 2), 1e-5))
    assert silent.variance == 1e-4

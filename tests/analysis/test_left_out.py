"""The samples that judge, and those that are fitted to."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from ocompress.analysis.left_out import Dealt, parts_of
from ocompress.analysis.second_moments import Dealer
from tests.build import InMemory


def numbers(data: Dealt) -> list[float]:
    return [float(x) for feed in data for x in np.asarray(feed["x"])[:, 0]]


def data(*sizes: int) -> InMemory:
    rows = np.arange(sum(sizes), dtype=np.float32)[:, None]
    return InMemory([{"x": part} for part in np.split(rows, np.cumsum(sizes)[:-1])])


def test_the_parts_are_those_that_sums_are_made_of() -> None:
    parts = parts_of(data(5, 1, 4))
    assert parts is not None
    fit, judge = parts
    assert numbers(judge) == [2, 5, 8] == list(np.flatnonzero(Dealer().judges(10)))
    assert numbers(fit) == [0, 1, 3, 4, 6, 7, 9]
    assert (fit.samples, judge.samples) == (7, 3)
    assert (len(fit), len(judge)) == (2, 3)
    assert numbers(judge.take(1)) == [2]
    assert set(numbers(fit.take(4))) <= {0, 1, 3, 4}


def test_two_samples_and_feeds_that_stay_whole_have_no_parts() -> None:
    class Whole(InMemory):
        cut_at = 0

    class Timed(InMemory):
        axes: ClassVar[dict[str, int]] = {"x": 1}

    assert parts_of(data(2)) is None
    assert parts_of(Whole(data(9).batches)) is None
    assert parts_of(Timed(data(9).batches)) is None

"""Data that are gone through again and again are read once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest

from ocompress.io.arrays import HeldArray
from ocompress.io.batches import ArrayDataset
from ocompress.io.feeds import ChainDataset, FeedDataset
from ocompress.io.inputs import InputSpec
from ocompress.io.kept import kept
from ocompress.ir import DType

SPECS = (InputSpec("x", DType.FLOAT, (None, 3), required=True),)


@dataclass
class Counted:
    """An array that counts the rows that were read."""

    array: np.ndarray
    read: list[int] = field(default_factory=list)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.array.shape)

    @property
    def dtype(self) -> np.dtype:
        return self.array.dtype

    def whole(self) -> np.ndarray:
        self.read.append(len(self.array))
        return self.array

    def rows(self, group: int, stop: int) -> Iterator[np.ndarray]:
        for piece in HeldArray(self.array).rows(group, stop):
            self.read.append(len(piece))
            yield piece


def _numbers(count: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((count, 3)).astype(np.float32)


def _joined(data: object) -> np.ndarray:
    return np.concatenate([feed["x"] for feed in data])  # type: ignore[attr-defined]


def _arrays(counted: Counted) -> ArrayDataset:
    return ArrayDataset("here", SPECS, {"x": counted}, most=4)


def test_arrays_are_read_once() -> None:
    counted = Counted(_numbers(10))
    data = kept(_arrays(counted))
    for _ in range(3):
        np.testing.assert_array_equal(_joined(data), counted.array)
    np.testing.assert_array_equal(_joined(data.take(6)), counted.array[:6])
    assert sum(counted.read) == 10


def test_what_was_read_of_a_part_is_not_taken_for_the_whole() -> None:
    counted = Counted(_numbers(10))
    data = kept(_arrays(counted))
    next(iter(data))
    np.testing.assert_array_equal(_joined(data.take(5)), counted.array[:5])
    np.testing.assert_array_equal(_joined(data), counted.array)
    np.testing.assert_array_equal(_joined(data.take(5)), counted.array[:5])
    assert sum(counted.read) == 4 + 5 + 10


def test_both_parts_of_a_split_share_what_was_read() -> None:
    counted = Counted(_numbers(10))
    data = kept(_arrays(counted))
    assert isinstance(data, ArrayDataset)
    keep = np.arange(10) % 3 == 0
    for _ in range(2):
        np.testing.assert_array_equal(_joined(data.pick(keep)), counted.array[keep])
        np.testing.assert_array_equal(_joined(data.pick(~keep)), counted.array[~keep])
    assert sum(counted.read) <= 20


def test_nobody_can_change_what_others_will_read() -> None:
    data = kept(_arrays(Counted(_numbers(10))))
    for _ in range(2):
        feed = next(iter(data))
        with pytest.raises(ValueError, match="read-only"):
            feed["x"][0] = 0


def test_large_data_are_not_kept() -> None:
    counted = Counted(_numbers(10))
    data = kept(_arrays(counted), most_bytes=10 * 3 * 4 - 1)
    for _ in range(2):
        _joined(data)
    assert sum(counted.read) == 20


@pytest.mark.parametrize(("most_bytes", "starts"), [(1000, 1), (50, 3)])
def test_feeds_of_a_function_are_kept_if_they_fit(most_bytes: int, starts: int) -> None:
    array, started = _numbers(10), []

    def start() -> Iterator[dict[str, np.ndarray]]:
        started.append(1)
        yield from ({"x": array[at : at + 2]} for at in range(0, 10, 2))

    data = kept(FeedDataset("here", SPECS, start), most_bytes)
    for _ in range(3):
        np.testing.assert_array_equal(_joined(data), array)
    assert len(started) == starts


def test_parts_of_a_chain_are_kept() -> None:
    counted = [Counted(_numbers(4)), Counted(_numbers(6))]
    data = kept(ChainDataset("here", [_arrays(c) for c in counted]))
    for _ in range(2):
        assert len(_joined(data)) == 10
    assert [sum(c.read) for c in counted] == [4, 6]


def test_all_of_an_array_is_read_where_only_a_part_was() -> None:
    counted = Counted(_numbers(10))
    data = kept(_arrays(counted))
    assert isinstance(data, ArrayDataset)
    _joined(data.take(5))
    for _ in range(2):
        np.testing.assert_array_equal(data.arrays["x"].whole(), counted.array)
    assert counted.read[-1] == 10
    assert counted.read.count(10) == 1


def test_parts_of_a_chain_are_no_larger_together_than_one_may_be() -> None:
    counted = [Counted(_numbers(6)), Counted(_numbers(6))]
    data = kept(ChainDataset("here", [_arrays(c) for c in counted]), most_bytes=6 * 3 * 4)
    for _ in range(2):
        _joined(data)
    assert [sum(c.read) for c in counted] == [12, 12]

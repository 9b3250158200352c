"""Sums of two products against the plain definition."""

from __future__ import annotations

import numpy as np
import pytest

from ocompress.analysis.pair_sums import PairSums, can_clip
from ocompress.analysis.windows import window_of

RNG = np.random.default_rng(0)


def test_two_large_weights_and_full_activations_clip() -> None:
    counter = PairSums(np.array([[127], [127]], np.int8))
    counter.update(np.array([[255, 255], [255, 3], [128, 130], [129, 130]], np.uint8))
    assert (counter.examined, counter.clipped) == (4, 2)  # 32766 and 32893 lie around the limit


def test_an_odd_last_weight_has_no_partner() -> None:
    counter = PairSums(np.array([[1], [1], [127]], np.int8))
    counter.update(np.full((2, 3), 255, np.uint8))
    assert (counter.examined, counter.clipped) == (2, 0)


def test_pairs_that_can_clip_are_those_that_do_for_some_activations() -> None:
    weights = np.arange(-128, 128, dtype=np.int8)
    first, second = (part.reshape(-1) for part in np.meshgrid(weights, weights))
    reached = [
        a * first.astype(np.int32) + b * second.astype(np.int32) for a in (0, 255) for b in (0, 255)
    ]
    wanted = (np.max(reached, axis=0) > 32767) | (np.min(reached, axis=0) < -32768)
    assert np.array_equal(can_clip(first, second), wanted)


@pytest.mark.parametrize(
    ("groups", "stride", "dilation", "pads"),
    [(1, 1, 1, (0, 0, 0, 0)), (1, 2, 1, (1, 0, 1, 2)), (2, 1, 2, (2, 2, 2, 2))],
)
def test_convolutions_walk_channels_last(
    groups: int, stride: int, dilation: int, pads: tuple[int, ...]
) -> None:
    zero = 200
    weight = RNG.integers(-128, 128, (4, 4 // groups, 3, 2)).astype(np.int8)
    codes = RNG.integers(0, 256, (2, 4, 6, 7)).astype(np.uint8)
    steps = {"strides": [stride] * 2, "dilations": [dilation] * 2, "pads": list(pads)}
    counter = PairSums(weight, zero, window_of((3, 2), groups, **steps))
    counter.update(codes)
    top, left, bottom, right = pads
    wide = np.pad(
        codes.astype(int), ((0, 0), (0, 0), (top, bottom), (left, right)), constant_values=zero
    )
    rows = range(0, wide.shape[2] - 2 * dilation, stride)
    columns = range(0, wide.shape[3] - dilation, stride)
    places = [(b, y, x) for b in range(2) for y in rows for x in columns]
    if len(places) > 64:
        places = [places[i] for i in np.linspace(0, len(places) - 1, 64).astype(int)]
    clipped = 0
    for b, y, x in places:
        for output in range(4):
            group = output // (4 // groups)
            channels = range(group * 4 // groups, (group + 1) * 4 // groups)
            line = [
                wide[b, c, y + i * dilation, x + j * dilation] * int(weight[output, k, i, j])
                for i in range(3)
                for j in range(2)
                for k, c in enumerate(channels)
            ]
            sums = [line[i] + line[i + 1] for i in range(0, len(line) - 1, 2)]
            clipped += sum(not -32768 <= s <= 32767 for s in sums)
    assert counter.examined == len(places) * 4 * (6 * 4 // groups // 2)
    assert counter.clipped == clipped > 0


def test_the_work_is_bounded() -> None:
    counter = PairSums(np.full((2, 1), 127, np.int8))
    for _ in range(20):
        counter.update(np.full((1000, 2), 255, np.uint8))
    assert counter.examined == counter.clipped == 512

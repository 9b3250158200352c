"""What a trial takes is looked at again where noise may have the say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ocompress.front import measuring
from ocompress.front.bench import Bench
from ocompress.front.request import Request
from ocompress.ir import Model
from ocompress.profiling import LatencyGuard, Ratio
from tests.build import Builder


def net() -> Model:
    b = Builder()
    b.output(b.op("Relu", b.op("MatMul", b.input("x", ["n", 4]), b.weight(4, 4))))
    return b.model()


@pytest.mark.parametrize(
    ("first", "expected", "looks"),
    [
        (Ratio(1.2, 0.97, 1.3), 1.01, 2),  # above the limit as it seems
        (Ratio(1.2, 1.15, 1.25), 1.2, 1),  # above it
        (Ratio(0.9, 0.87, 0.95), 0.9, 1),  # below it
        (Ratio(0.9, 0.8, 0.95), 1.01, 2),  # somewhere below it
    ],
)
def test_what_may_be_within_the_limit_or_is_hardly_known_is_looked_at_again(
    first: Ratio, expected: float, looks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[float] = []

    def look(_: LatencyGuard, *given: Any) -> tuple[Ratio, Ratio]:
        seen.append(given[-1])
        found = first if len(seen) == 1 else Ratio(1.01, 0.99, 1.02)
        return found, found

    monkeypatch.setattr(LatencyGuard, "_look", look)
    data = np.ones((4, 4), np.float32)
    bench = Bench(Request(data=data), net(), None, (), lossy=True)
    clock = measuring.clock(bench, 1.05)
    assert clock is not None
    assert clock(net()) == expected
    assert len(seen) == looks
    assert seen == sorted(seen)  # the second look is longer

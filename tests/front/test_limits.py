"""Limits as people write them."""

from __future__ import annotations

import pytest

from ocompress.errors import OptionError
from ocompress.front.limits import GivenLimit, latency_limit, size_limit


@pytest.mark.parametrize(
    ("given", "limit"),
    [
        (None, GivenLimit()),
        (0.5, GivenLimit(ratio=0.5)),
        ("0.5", GivenLimit(ratio=0.5)),
        (".5x", GivenLimit(ratio=0.5)),
        ("50%", GivenLimit(ratio=0.5)),
        (" 3 X ", GivenLimit(ratio=3.0)),
        ("5ms", GivenLimit(absolute=5.0)),
        ("2.5 ms", GivenLimit(absolute=2.5)),
        ("500us", GivenLimit(absolute=0.5)),
        ("0.5µs", GivenLimit(absolute=0.0005)),
        ("1e-1s", GivenLimit(absolute=100.0)),
    ],
)
def test_latency(given: float | str | None, limit: GivenLimit) -> None:
    assert latency_limit(given) == limit


@pytest.mark.parametrize(
    ("given", "limit"),
    [
        ("0.25x", GivenLimit(ratio=0.25)),
        ("2MB", GivenLimit(absolute=2e6)),
        ("2mb", GivenLimit(absolute=2e6)),
        ("1.5MiB", GivenLimit(absolute=1.5 * 2**20)),
        ("500 kB", GivenLimit(absolute=5e5)),
        ("90b", GivenLimit(absolute=90.0)),
    ],
)
def test_size(given: str, limit: GivenLimit) -> None:
    assert size_limit(given) == limit


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("5", "write 5x for 5 times the original's, or a unit as in 5ms"),
        (2.0, "has no unit"),
        ("0", "must be above 0; write"),
        ("-1x", "must be above 0"),
        ("1e400x", "must be above 0"),
        ("5MB", "neither a ratio such as 0.5x nor a figure with a unit such as 5ms"),
        ("1.2.3x", "neither"),
        ("x", "neither"),
        ("", "neither"),
        ("nan", "neither"),
        (True, "neither"),
    ],
)
def test_what_is_no_latency(given: float | str, says: str) -> None:
    with pytest.raises(OptionError, match="max latency") as caught:
        latency_limit(given)
    assert says in str(caught.value)

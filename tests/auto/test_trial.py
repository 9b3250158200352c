"""What trials lost, over what they may."""

from __future__ import annotations

import pytest

from ocompress.auto import excess


@pytest.mark.parametrize(
    ("drop", "high", "least", "expected"),
    [
        (0.0, 0.006, 0.006, 0.0),  # nothing was lost, and few samples show no more
        (0.001, 0.007, 0.006, 0.25),
        (0.004, 0.007, 0.006, 0.8),
        (0.004, 0.012, 0.006, 1.5),
        (0.004, 0.012, 0.012, 0.8),  # the bound says nothing
        (-0.002, 0.005, 0.006, 0.0),
    ],
)
def test_what_is_lost_counts_from_what_no_loss_would_look_like(
    drop: float, high: float, least: float, expected: float
) -> None:
    figures = {"drop": drop, "high": high, "least": least, "limit": 0.005, "bound": 0.01}
    assert excess(figures) == pytest.approx(expected)
    assert excess({"drop": drop}) == 0.0

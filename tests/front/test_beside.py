"""What a pipeline lost, for those who choose the next one."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ocompress.front.beside import exceeding
from ocompress.pipeline import Limit, Verdict


def done(*drops: float) -> Any:
    """Return the result of passes after each of which so much was lost."""
    verdicts = [
        Verdict(
            d <= 0.005,
            Limit.DROP,
            "",
            {"drop": d, "high": d + 0.004, "least": 0.006, "limit": 0.005, "bound": 0.01},
        )
        for d in drops
    ]
    timed = Verdict(True, Limit.LATENCY, "", {"ratio": 0.5})
    records = [SimpleNamespace(verdicts=[v, timed]) for v in verdicts]
    return SimpleNamespace(pipeline=SimpleNamespace(records=records))


def test_of_passes_that_hold_the_last_says_what_was_lost() -> None:
    assert exceeding(done(0.001, 0.004)) == pytest.approx(0.8)
    assert exceeding(done()) == 0


def test_a_pass_that_was_refused_counts_though_others_ran_without_it() -> None:
    assert exceeding(done(0.01, 0.001)) == pytest.approx(2.0)
    assert exceeding(done(0.001, 0.01)) == pytest.approx(2.0)

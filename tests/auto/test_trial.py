"""What trials lost, over what they may."""

from __future__ import annotations

import pytest

from ocompress.auto import FAMILIES, TUNING, Chain, PlanTrial, Step, excess


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


def test_a_trial_says_nothing_of_a_chain_that_is_fitted_to_more_samples() -> None:
    cluster = Step(next(f for f in FAMILIES if f.name == "cluster"), 3.0)
    pack = Step(next(f for f in FAMILIES if f.name == "pack"))

    def plain(*steps: Step, idle: str) -> PlanTrial | None:
        return PlanTrial(chain=Chain.of(steps), held=True, idle=(idle,)).plain

    trained = Step(TUNING)
    assert plain(cluster, trained, idle="tune") is None  # samples were put aside for it
    for steps in ((cluster, pack), (cluster, trained, pack)):
        found = plain(*steps, idle="pack-weights")
        assert found is not None
        assert found.chain == Chain.of(steps[:-1])

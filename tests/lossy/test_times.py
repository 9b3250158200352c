"""How long layers take, for rows of the report, and what tables leave of a whole model."""

from __future__ import annotations

import pytest

from ocompress.lossy.layer_times import Times
from ocompress.lossy.table_proposal import TableProposal
from ocompress.planning import KEEP, Move, MoveTable


def test_layers_that_lost_nothing_are_thought_to_take_as_long() -> None:
    times = Times({"a": 2.0, "b": 3.0, "c": 9.0}, {"a": 1.2, "b": 3.1, "d": 0.5}, {"a": 0.5})
    row = times.of(["a", "b", "fused into a"])
    assert row == pytest.approx({"ms_before": 5.0, "ms_predicted": 4.0, "ms_after": 4.3})
    assert times.of(["a"], ["d"])["ms_after"] == 0.5
    assert times.of(["gone"]) == {}


def test_a_share_is_one_of_the_whole_model() -> None:
    """Half of the layer's 100 is left, but of the 300 beside it nothing can go."""
    table = MoveTable()
    table.add(Move("a", KEEP, "", 0.0, 0, 100.0))
    for left, error in ((90.0, 0.1), (50.0, 1.0), (10.0, 5.0)):
        table.add(Move("a", "cut", f"{left:g}", error, 0, left))
    proposal = TableProposal({"a": ["a"]}, table, "macs", {"macs": 300.0})
    for share, setting in ((1.0, None), (0.975, "90"), (0.875, "50"), (0.8, "10")):
        plan = proposal.leaving(share)
        assert (plan["a"].setting if plan else None) == setting

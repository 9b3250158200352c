"""What layers could have become, as tables for people."""

from __future__ import annotations

from typing import Any

from ocompress.report.tables_candidates import candidates
from tests.report.test_cuts import record, shown


def row(name: str, method: str, macs: int, *, taken: bool = False, **more: Any) -> dict[str, Any]:
    found = {"name": name, "method": method, "setting": "rank 8", "error": 0.0, "bytes": macs}
    return {**found, "macs": macs, "taken": taken, **more}


ROWS = [
    row("one", "keep", 1000, ms=2.0, why="others cost less"),
    row("one", "channel", 250, taken=True, ms=0.5, error=3e-3, ms_before=1.9, ms_after=0.6),
    row("one", "cp", 300, ms=3.0, error=1e-3, why="it does not measure faster here"),
    row("two", "keep", 500, taken=True, ms=1.0),
]


def test_the_choice_has_a_row_for_each_layer() -> None:
    lines = shown(*candidates(record(candidates=ROWS, error={"predicted": 3e-3, "reached": 2e-3})))
    first, second = (next(x for x in lines if x.startswith(n)) for n in ("one", "two"))
    assert "channel, rank 8" in first
    assert " 25%" in first
    assert "█" * 5 + "░" * 15 in first
    assert "2 -> 0.5" in first
    assert "1.9 -> 0.6" in first
    assert "as it is" in second
    assert "100%" in second
    assert not any("not measured faster" in x for x in lines)
    assert any("3.0e-03 predicted" in x for x in lines)


def test_the_report_says_why_the_others_lost() -> None:
    lines = shown(*candidates(record(candidates=ROWS), every=True))
    loser = next(x for x in lines if x.startswith("cp"))
    assert "it does not measure faster here" in loser
    assert not any("two: " in x for x in lines)


def test_many_layers_show_those_that_changed() -> None:
    many = [row(f"layer{at}", "keep", 100, taken=True) for at in range(40)]
    many += [row("last", "keep", 100), row("last", "cp", 50, taken=True)]
    lines = shown(*candidates(record(candidates=many)))
    assert any(x.startswith("last") for x in lines)
    assert any("16 more in --report" in x for x in lines)
    assert shown(*candidates(record())) == []

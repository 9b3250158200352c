"""What became integers and what is stored in fewer bits, as tables for people."""

from __future__ import annotations

from typing import Any

from ocompress.diagnostics import Remark, Severity
from ocompress.report.tables_quant import placements, stored
from ocompress.report.tables_remarks import grouped
from tests.report.test_cuts import record, shown


def node(name: str, choice: str, slow: int | None, fast: int | None) -> dict[str, Any]:
    return {"node": name, "op_type": "Conv", "choice": choice, "float_ns": slow, "int8_ns": fast}


def test_operators_have_both_times_and_the_one_as_a_share_of_the_other() -> None:
    rows = [node("[/a]", "int8", 4000, 1000), node("b", "float", 1000, 3000)]
    rows += [node("c", "float", None, None)]
    known = [{"int8": 1, "time": 0.5, "sqnr_db": 30.0, "chosen": True}]
    lines = shown(*placements(record(nodes=rows, selections=known, times="measured")))
    first, second, third = (next(x for x in lines if x.startswith(n)) for n in ("[/a]", "b ", "c "))
    assert "25%" in first
    assert "█" * 5 + "░" * 15 in first
    assert "300%" in second
    assert "█" * 20 in second
    assert "%" not in third
    assert any("ns: measured" in x for x in lines)
    assert any("30.0 dB" in x and x.rstrip().endswith("chosen") for x in lines)


def test_weights_have_bytes_on_disk_and_in_memory() -> None:
    row = {"weight": "w[/]", "float_bytes": 4000, "disk_bytes": 1000, "memory_bytes": 2000}
    row |= {"weight_error": 0.005, "latency": "folded at load"}
    for name in ("weights", "stored"):
        lines = shown(*stored(record(**{name: [row]}, notes={"folded at load": "no slower"})))
        line = next(x for x in lines if x.startswith("w[/]"))
        for text in ("4 kB", "1 kB", "2 kB", "0.005", "folded at load", "█" * 5 + "░" * 15):
            assert text in line
        assert lines[-1] == "folded at load: no slower"


def test_details_that_mean_something_else_are_left_alone() -> None:
    others: list[dict[str, Any]] = [
        {"nodes": 3}, {"nodes": ["choice"]}, {"nodes": [{"node": "a"}]},
        {"weights": 3}, {"weights": [{"disk_bytes": 1}]}, {"notes": {"a": "b"}}, {},
    ]  # fmt: skip
    for details in others:
        assert not list(placements(record(**details)))
        assert not list(stored(record(**details)))


def remark(code: str, severity: Severity = Severity.DECLINED, message: str = "so") -> Remark:
    return Remark("p", severity, code, message, "n", "Conv")


def test_remarks_stand_together_by_code_the_gravest_and_most_frequent_first() -> None:
    said = [remark("done", Severity.APPLIED), remark("rare"), remark("often"), remark("often")]
    said += [remark("alarm", Severity.WARNING), remark("often", message="for another reason")]
    found = list(grouped(said))
    assert [fold.summary for fold in found] == [
        "warning, alarm: 1; so",
        "left alone, often: 3",
        "left alone, rare: 1; so",
        "applied, done: 1; so",
    ]
    assert next(iter(grouped(said, named=True))).summary.startswith("p, warning")
    lines = shown(found[1])
    assert sum(line.startswith("n ") for line in lines) == 3

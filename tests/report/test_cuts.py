"""What was taken out of each layer, as tables for people."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from ocompress.ir import Facet
from ocompress.pipeline import PassRecord, Status
from ocompress.report import markdown
from ocompress.report.parts import Bar
from ocompress.report.tables_cuts import cuts


def bar(kept: int, of: int) -> str:
    return Bar(kept, of).blocks()


def record(**details: Any) -> PassRecord:
    return PassRecord(
        name="prune-channels",
        text="prune-channels",
        status=Status.APPLIED,
        seconds=1.0,
        changed=Facet.WEIGHTS,
        details=details,
    )


def group(name: str, kept: int, **more: Any) -> dict[str, Any]:
    return {"name": name, "channels": 64, "kept": kept, "removed": 64 - kept, **more}


def shown(*parts: RenderableType) -> list[str]:
    console = Console(width=140, file=None, record=False)
    with console.capture() as capture:
        for part in parts:
            console.print(part)
    return [line.rstrip() for line in capture.get().splitlines()]


def test_bars_show_the_share_and_neither_all_nor_nothing_by_mistake() -> None:
    assert bar(16, 64) == "█" * 5 + "░" * 15
    assert bar(64, 64) == "█" * 20
    assert bar(0, 64) == "░" * 20
    assert bar(999, 1000) == "█" * 19 + "░"
    assert bar(1, 1000) == "█" + "░" * 19
    assert bar(0, 0) == ""


def test_a_row_per_layer_with_what_it_lost_and_why_not() -> None:
    times = {"ms_before": 0.5, "ms_predicted": 0.25, "ms_after": 0.3}
    errors = {"predicted_error": 2e-3, "output_error": 0.1, "refitted_error": 0.04}
    rows = [
        group("conv1", 16, **times, **errors),
        group("conv2", 64, code="excluded", why="a pattern matches it"),
    ]
    lines = shown(*cuts(record(groups=rows, error={"predicted": 2e-3, "reached": 1e-3})))
    assert lines[1] == "prune-channels, layer by layer"
    head = lines[2]
    first = next(line for line in lines if line.startswith("conv1"))
    for text in ("16 of 64", bar(16, 64), "2.0e-03", "4.0e-02", "0.500 -> 0.300 (0.250)"):
        assert text in first
    # figures stand under their headings
    assert head.index("error") + len("error") == first.index("4.0e-02") + len("4.0e-02")
    second = next(line for line in lines if line.startswith("conv2"))
    assert "64 of 64" in second
    assert second.endswith("excluded")
    every = shown(*cuts(record(groups=rows), every=True))
    first, second = (next(x for x in every if x.startswith(n)) for n in ("conv1", "conv2"))
    assert "1.0e-01 -> 4.0e-02" in first
    assert second.endswith("excluded: a pattern matches it")
    assert any(x.startswith("cost: predicted output error") for x in every)
    assert lines[-1] == "combined error: 2.0e-03 predicted, 1.0e-03 measured"


def test_without_times_there_is_no_column_for_them() -> None:
    text = "\n".join(shown(*cuts(record(groups=[group("conv1", 16)]))))
    assert "ms" not in text


def test_long_lists_show_what_lost_something_first_and_count_the_rest() -> None:
    rows = [group(f"c{i}", 64) for i in range(40)]
    rows[33] = group("c33", 8)
    lines = shown(*cuts(record(groups=rows)))
    assert any(line.startswith("c33 ") for line in lines)
    assert any(line.startswith("c23 ") for line in lines)
    assert not any(line.startswith("c24 ") for line in lines)
    assert lines[-1] == "15 more in --report"
    every = shown(*cuts(record(groups=rows), every=True))
    assert sum(line.startswith("c") and "of 64" in line for line in every) == 40


def test_details_of_other_passes_are_not_taken_for_cuts() -> None:
    assert not list(cuts(record(layers=[{"name": "a", "choice": "int8"}], groups=[])))


def test_markdown_says_the_same_as_the_terminal() -> None:
    table = Table(box=None)
    table.add_column("layer")
    table.add_column("kept", justify="right")
    table.add_row(Text("a|b_c_"), "1 [bold]of[/bold] 2")
    plain = Table.grid()
    plain.add_row("model", "in.onnx")
    page = markdown("a *title*", [plain, table, Text("note: <x>"), Text("")])
    assert page == (
        "# a \\*title\\*\n\n"
        "|  |  |\n| --- | --- |\n| model | in.onnx |\n\n"
        "| layer | kept |\n| --- | ---: |\n| a\\|b_c\\_ | 1 of 2 |\n\n"
        "note: \\<x>\n"
    )


def test_what_has_no_form_in_markdown_is_an_error() -> None:
    with pytest.raises(TypeError, match="Console"):
        markdown("title", [Console()])  # type: ignore[list-item]

"""Tables on terminals of different width."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.text import Text

from ocompress.report.parts import Bar
from ocompress.report.sheet import Sheet

SENTENCE = "groups cut 3, channels removed 394; left alone: graph-output 1; held: drop 1.26 points"


def drawn(sheet: Sheet, width: int) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width, color_system=None).print(sheet)
    return [line.rstrip() for line in out.getvalue().splitlines()]


def passes(first: str = "prune-channels") -> Sheet:
    sheet = Sheet()
    sheet.add_column("pass", no_wrap=True)
    sheet.add_column("weights", justify="right", no_wrap=True)
    sheet.add_column("what", overflow="fold")
    sheet.add_row(first, "1.72 MB -> 181 kB, and more of it", Text(SENTENCE))
    sheet.add_row("quant", "181 kB", Text(""))
    return sheet


def layers(name: str) -> Sheet:
    sheet = Sheet()
    sheet.add_column("layer", overflow="fold")
    sheet.add_column("kept", justify="right", no_wrap=True)
    sheet.add_column("", no_wrap=False)
    sheet.add_column("milliseconds, before and after", no_wrap=True)
    sheet.add_row(name, "16 of 20", Bar(16, 20), "0.082 -> 0.106 (0.033)")
    return sheet


def test_sentences_stand_beside_their_rows_where_there_is_room() -> None:
    lines = drawn(passes(), 150)
    assert lines[0].split() == ["pass", "weights", "what"]
    assert lines[1].endswith(SENTENCE)
    assert len(lines) == 3


@pytest.mark.parametrize("width", [60, 70, 80])
def test_sentences_stand_below_their_rows_where_there_is_none(width: int) -> None:
    lines = drawn(passes(), width)
    assert lines[0].split() == ["pass", "weights"]
    assert lines[1].startswith("prune-channels")
    assert lines[-1].startswith("quant")
    assert " ".join(line.strip() for line in lines[2:-1]) == SENTENCE
    assert all(line.startswith("  ") for line in lines[2:-1])
    assert max(map(len, lines)) <= width


def test_bars_go_before_names_are_folded() -> None:
    name = "/features/conv.0/Conv"
    wide, narrow = drawn(layers(name), 90), drawn(layers(name), 68)
    assert "█" in wide[1]
    assert "█" not in narrow[1]
    for line in (wide[1], narrow[1]):
        assert line.startswith(f"{name} ")
    assert [len(wide), len(narrow)] == [2, 2]


def test_a_name_that_no_terminal_has_room_for_is_folded() -> None:
    lines = drawn(layers("layer" * 40), 80)
    assert max(map(len, lines)) <= 80
    assert "".join(line[:24].strip() for line in lines[1:]).startswith("layer" * 5)

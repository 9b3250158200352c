"""A table of rows by net at the end of a page of docs/; nets that are not run keep their rows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

MARK = "<!-- table -->"
Rows = dict[str, list[str]]


def rows_of(page: Path) -> Rows:
    """Return the lines of a page's table by net."""
    found: Rows = {}
    for line in page.read_text(encoding="utf-8").partition(MARK)[2].splitlines()[4:]:
        found.setdefault(line.split("|")[1].strip(), []).append(line)
    return found


def line_of(cells: Sequence[str]) -> str:
    """Return a row as Markdown."""
    return "| " + " | ".join(cells) + " |"


def write(page: Path, heads: Sequence[str], rows: Rows, order: Sequence[str]) -> None:
    """Put a table in the place of the one that a page ends with.

    Args:
        page: The page; what stands before `MARK` is kept.
        heads: Heads of the columns.
        rows: Lines by net.
        order: Nets as they follow one another.
    """
    before = page.read_text(encoding="utf-8").partition(MARK)[0]
    lines = [line_of(heads), "|" + " --- |" * len(heads)]
    lines += [line for net in order for line in rows.get(net, ())]
    page.write_text(f"{before}{MARK}\n\n" + "\n".join(lines) + "\n", encoding="utf-8")

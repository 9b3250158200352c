"""What passes took out of each layer, drawn: for the terminal and for the report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from ocompress.pipeline import PassRecord
from ocompress.report.figures import count_text
from ocompress.report.parts import Bar, Heading
from ocompress.report.sheet import Sheet

_UNITS = {"groups": "channels", "layers": "weights", "branches": "nodes"}
"""Tables that passes leave in their details, and the entry of a row that says how many there were.
A row has `kept` and `removed`, too; all else may be missing."""
_MOST_ROWS = 25
_MEANING = (
    "cost: predicted output error when only this layer changes; error: output error of the "
    "layers that read it, relative to the variance of their outputs, before and after refitting; "
    "ms: before, after, and in brackets predicted"
)

Row = Mapping[str, Any]


def cuts(record: PassRecord, *, every: bool = False) -> Iterator[RenderableType]:
    """Return a table with a bar per layer, if the pass says what it took out of which.

    Args:
        record: The pass.
        every: Whether to show all rows and all there is to say; else what a terminal holds, those
            that lost something first.
    """
    for name, unit in _UNITS.items():
        known = rows_of(record, name, "kept", "removed", unit)
        if not known:
            continue
        shown = known if every else _few(known)
        yield Heading(f"{record.name}, layer by layer", 3)
        yield _table(unit, shown, every)
        if len(shown) < len(known):
            yield Text(f"{len(known) - len(shown)} more in --report", style="dim")
        yield from together(record.details)
        if every:
            yield Text(_MEANING, style="dim")


def rows_of(record: PassRecord, name: str, *entries: str) -> list[Row]:
    """Return the rows of a table in a pass's details; passes may put anything there.

    Args:
        record: The pass.
        name: The table.
        entries: What rows must have.
    """
    found = record.details.get(name)
    rows = found if isinstance(found, list | tuple) else ()
    return [r for r in rows if isinstance(r, Mapping) and all(e in r for e in entries)]


def _few(rows: Sequence[Row]) -> list[Row]:
    """Choose rows, in their order."""
    ranked = sorted(range(len(rows)), key=lambda at: not rows[at]["removed"])
    return [rows[at] for at in sorted(ranked[:_MOST_ROWS])]


def _table(unit: str, rows: Sequence[Row], every: bool) -> Table:
    timed = any("ms_before" in row for row in rows)
    table = Sheet()
    table.add_column("layer", overflow="fold")
    table.add_column(f"{unit} kept", justify="right", no_wrap=True)
    table.add_column("")
    table.add_column("cost", justify="right", no_wrap=True)
    table.add_column("error", justify="right", no_wrap=True)
    if timed:
        table.add_column("ms (predicted)", justify="right", no_wrap=True)
    table.add_column("left alone", no_wrap=not every, overflow="fold")
    for row in rows:
        cells = [_cost(row), _error(row, every)]
        if timed:
            cells.append(_time(row))
        reason = row.get("code", "")
        cells.append(f"{reason}: {row['why']}" if reason and every else reason)
        kept = (Text(row["name"]), Text(_count(row, unit)), Bar(row["kept"], row[unit]))
        table.add_row(*kept, *map(Text, cells))
    return table


def _count(row: Row, unit: str) -> str:
    return f"{count_text(row['kept'])} of {count_text(row[unit])}"


def _cost(row: Row) -> str:
    cost = row.get("predicted_error", 0.0)
    return f"{cost:.1e}" if row["removed"] and cost else ""


def _error(row: Row, every: bool) -> str:
    """Return the relative error of the outputs that read it, before fitting and after."""
    if "refitted_error" not in row:
        return ""
    before = f"{row['output_error']:.1e} -> " if every else ""
    return f"{before}{row['refitted_error']:.1e}"


def _time(row: Row) -> str:
    if "ms_before" not in row:
        return ""
    text = f"{row['ms_before']:.3f} -> {row['ms_after']:.3f}"
    return f"{text} ({row['ms_predicted']:.3f})"


def together(details: Mapping[str, Any]) -> Iterator[RenderableType]:
    """Return a line with what all changes cost together, predicted and reached, if it is known."""
    found = details.get("error")
    if found is not None:
        text = f"combined error: {found['predicted']:.1e} predicted, {found['reached']:.1e}"
        yield Text(f"{text} measured", style="dim")

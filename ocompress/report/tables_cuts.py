"""What passes took out of each layer, drawn: for the terminal and for the report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from ocompress.pipeline import PassRecord
from ocompress.report.figures import count_text

_UNITS = {"groups": "channels", "layers": "weights", "branches": "nodes"}
"""Tables that passes leave in their details, and the entry of a row that says how many there were.
A row has `kept` and `removed`, too; all else may be missing."""
_BAR = 20
_MOST_ROWS = 25

Row = Mapping[str, Any]


def cuts(record: PassRecord, *, every: bool = False) -> Iterator[RenderableType]:
    """Return a table with a bar per layer, if the pass says what it took out of which.

    Args:
        record: The pass.
        every: Whether to show all rows and all there is to say; else what a terminal holds, those
            that lost something first.
    """
    for name, unit in _UNITS.items():
        rows = record.details.get(name, ())
        known = [row for row in rows if "kept" in row and "removed" in row and unit in row]
        if not known:
            continue
        shown = known if every else _few(known)
        yield Text("")
        yield Text(f"{record.name}, layer by layer", style="bold")
        yield _table(unit, shown, every)
        if len(shown) < len(known):
            yield Text(f"{len(known) - len(shown)} more in --report", style="dim")
        yield from together(record.details)


def bar(kept: int, of: int) -> str:
    """Draw a share; what is not all is never drawn full, what is something never empty."""
    if of <= 0:
        return ""
    full = round(_BAR * kept / of)
    if 0 < kept < of:
        full = min(max(full, 1), _BAR - 1)
    return "█" * full + "░" * (_BAR - full)


def _few(rows: Sequence[Row]) -> list[Row]:
    """Choose rows, in their order."""
    ranked = sorted(range(len(rows)), key=lambda at: not rows[at]["removed"])
    return [rows[at] for at in sorted(ranked[:_MOST_ROWS])]


def _table(unit: str, rows: Sequence[Row], every: bool) -> Table:
    timed = any("ms_before" in row for row in rows)
    table = Table(box=None, pad_edge=False)
    table.add_column("layer", overflow="fold")
    table.add_column(f"{unit} kept", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("cost", justify="right", no_wrap=True)
    table.add_column("error", justify="right", no_wrap=True)
    if timed:
        table.add_column("ms (predicted)", justify="right", no_wrap=True)
    table.add_column("left alone", no_wrap=not every, overflow="fold")
    for row in rows:
        cells = [row["name"], _count(row, unit), bar(row["kept"], row[unit])]
        cells += [_cost(row), _error(row, every)]
        if timed:
            cells.append(_time(row))
        reason = row.get("code", "")
        cells.append(f"{reason}: {row['why']}" if reason and every else reason)
        table.add_row(*map(Text, cells))
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
        text = f"cost of all together: {found['predicted']:.1e} predicted, {found['reached']:.1e}"
        yield Text(f"{text} reached", style="dim")

"""What each layer could have become and what it became: for the terminal and for the report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from ocompress.pipeline import PassRecord
from ocompress.report.parts import Bar, Fold, Heading
from ocompress.report.sheet import Sheet
from ocompress.report.tables_cuts import rows_of, together

_MOST_ROWS = 25
_MEANING = (
    "error: predicted output error when only this layer changes; ms alone: the layer timed by "
    "itself, before and after; in the model: timed there; of: number of candidates, the "
    "unchanged layer included"
)

Row = Mapping[str, Any]


def candidates(record: PassRecord, *, every: bool = False) -> Iterator[RenderableType]:
    """Return a table of the choice, if the pass left its candidates.

    Args:
        record: The pass.
        every: Whether to show the candidates that lost, too, and why; else what a terminal holds.
    """
    rows = rows_of(record, "candidates", "name", "method", "setting", "macs", "taken")
    if not rows:
        return
    by_part: dict[str, list[Row]] = {}
    for row in rows:
        by_part.setdefault(row["name"], []).append(row)
    chosen = [(part, _taken(known), known) for part, known in by_part.items()]
    shown = chosen if every else _few(chosen)
    yield Heading(f"{record.name}, layer by layer", 3)
    yield _choice(shown)
    yield from together(record.details)
    if len(shown) < len(chosen):
        yield Text(f"{len(chosen) - len(shown)} more in --report", style="dim")
    if every:
        yield Text(_MEANING, style="dim")
        for part, taken, known in chosen:
            lost = sorted((r for r in known if r is not taken), key=lambda r: float(r["macs"]))
            if lost:
                summary = f"{part}: {_what(taken)}; rejected candidates: {len(lost)}"
                yield Fold(summary, (_losers(lost),))


def _taken(rows: Sequence[Row]) -> Row:
    return next((r for r in rows if r["taken"]), rows[0])


def _few(chosen: Sequence[tuple[str, Row, list[Row]]]) -> list[tuple[str, Row, list[Row]]]:
    """Choose rows, in their order; those that were changed first."""
    ranked = sorted(range(len(chosen)), key=lambda at: chosen[at][1]["method"] == "keep")
    return [chosen[at] for at in sorted(ranked[:_MOST_ROWS])]


def _choice(shown: Sequence[tuple[str, Row, list[Row]]]) -> Table:
    timed = any("ms" in taken for _, taken, _ in shown)
    table = Sheet()
    table.add_column("layer", overflow="fold")
    table.add_column("becomes", no_wrap=True)
    table.add_column("work left", justify="right", no_wrap=True)
    table.add_column("")
    table.add_column("error", justify="right", no_wrap=True)
    if timed:
        table.add_column("ms alone", justify="right", no_wrap=True)
        table.add_column("in the model", justify="right", no_wrap=True)
    table.add_column("of", justify="right", no_wrap=True)
    for part, taken, known in shown:
        whole = max(int(known[0]["macs"]), 1)
        left = int(taken["macs"])
        cells = [_error(taken)]
        if timed:
            cells += [_milliseconds(known[0].get("ms"), taken.get("ms"))]
            cells += [_milliseconds(taken.get("ms_before"), taken.get("ms_after"))]
        became = (Text(part), Text(_what(taken)), Text(f"{left / whole:.0%}"), Bar(left, whole))
        table.add_row(*became, *cells, f"{len(known)}")
    return table


def _losers(rows: Sequence[Row]) -> Table:
    table = Sheet()
    table.add_column("candidate", no_wrap=True)
    table.add_column("bytes", justify="right", no_wrap=True)
    table.add_column("multiply-adds", justify="right", no_wrap=True)
    table.add_column("error", justify="right", no_wrap=True)
    table.add_column("ms", justify="right", no_wrap=True)
    table.add_column("why rejected", overflow="fold")
    for row in rows:
        spent = f"{row['ms']:.3g}" if "ms" in row else ""
        numbers = [f"{row['bytes']:,}", f"{row['macs']:,}", _error(row), spent]
        table.add_row(*map(Text, (_what(row), *numbers, row.get("why", ""))))
    return table


def _what(row: Row) -> str:
    return "as it is" if row["method"] == "keep" else f"{row['method']}, {row['setting']}"


def _error(row: Row) -> str:
    return f"{row['error']:.2g}" if row["error"] else ""


def _milliseconds(before: float | None, after: float | None) -> str:
    if before is None or after is None:
        return ""
    return f"{before:.3g}" if before == after else f"{before:.3g} -> {after:.3g}"

"""What weights became that share values or lie on levels: for the report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from ocompress.pipeline import PassRecord
from ocompress.report.figures import count_text
from ocompress.report.parts import Bar, Heading
from ocompress.report.sheet import Sheet
from ocompress.report.tables_cuts import rows_of, together

_ERRORS = ("predicted_error", "output_error", "refitted_error")
_SHOWN = ("name", "weights", "bits", *_ERRORS)
_MEANING = (
    "bits: what a weight takes as it is to be stored, tables included, and the part of all bytes; "
    "cost: predicted output error when only this weight changes; error: output error of the layer, "
    "relative to the variance of its outputs, before and after refitting"
)

Row = Mapping[str, Any]


def shared(record: PassRecord) -> Iterator[RenderableType]:
    """Return a row for each weight with the bits that it takes, if the pass says so."""
    for name in record.details:
        rows = rows_of(record, name, "name", "weights")
        if not any("bits" in row for row in rows):
            continue
        yield Heading(f"{record.name}, weight by weight", 3)
        yield _table(rows)
        yield from together(record.details)
        yield Text(_MEANING, style="dim")


def _table(rows: list[Row]) -> Sheet:
    whole = sum(_taken(row) for row in rows)
    table = Sheet()
    table.add_column("weight", overflow="fold")
    for heading in ("weights", "bits"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("")
    for heading in ("cost", "error"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("what", overflow="fold")
    for row in rows:
        cost, before, after = (row.get(name) for name in _ERRORS)
        bits = f"{row['bits']:.2f}" if "bits" in row else ""
        error = f"{before:.1e} -> {after:.1e}" if before is not None and after is not None else ""
        table.add_row(
            Text(str(row["name"])),
            count_text(row["weights"]),
            bits,
            Bar(_taken(row), whole) if bits else "",
            f"{cost:.1e}" if cost is not None else "",
            error,
            Text(", ".join(_rest(row)) if bits else "as it was"),
        )
    return table


def _taken(row: Row) -> float:
    return float(row.get("bits", 0.0)) * float(row["weights"])


def _rest(row: Row) -> Iterator[str]:
    for key, value in row.items():
        if key not in _SHOWN:
            shown = f"{value:.3g}" if isinstance(value, float) else value
            yield f"{key.replace('_', ' ')} {shown}"

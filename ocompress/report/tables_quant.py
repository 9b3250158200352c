"""What became integers and what is stored in fewer bits, for the report."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from ocompress.pipeline import PassRecord
from ocompress.report.figures import byte_text, db_text
from ocompress.report.parts import Bar, Fold, Heading
from ocompress.report.sheet import Sheet
from ocompress.report.tables_cuts import rows_of

_MEANING = (
    "SQNR alone: of the model's worst output when only this operator is int8; ns: {} "
    "without the conversions around it"
)
_WEIGHT = ("weight", "float_bytes", "disk_bytes", "memory_bytes", "weight_error", "latency")

Row = Mapping[str, Any]


def placements(record: PassRecord) -> Iterator[RenderableType]:
    """Return which operators are integers, and the placements there were, if the pass says so."""
    rows = rows_of(record, "nodes", "node", "op_type", "choice")
    if not rows:
        return
    yield Heading(f"{record.name}, operator by operator", 3)
    yield _operators(rows)
    how = "measured" if record.details.get("times") == "measured" else "by the target's cost table"
    yield Text(_MEANING.format(how), style="dim")
    known = rows_of(record, "selections", "int8", "time", "sqnr_db", "chosen")
    if known:
        yield Fold(
            f"Pareto-optimal placements (time and noise): {len(known)}", (_selections(known),)
        )


def _operators(rows: Sequence[Row]) -> Table:
    table = Sheet()
    table.add_column("node", overflow="fold")
    table.add_column("operator", no_wrap=True)
    table.add_column("computes in", no_wrap=True)
    for heading in ("ns in float", "ns in int8", "of float"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("")
    table.add_column("SQNR alone", justify="right", no_wrap=True)
    for row in rows:
        noise = row.get("sqnr_db_alone")
        table.add_row(
            *map(Text, (row["node"], row["op_type"], row["choice"])),
            *_times(row.get("float_ns"), row.get("int8_ns")),
            db_text(noise) if noise is not None else "",
        )
    return table


def _times(slow: float | None, fast: float | None) -> tuple[RenderableType, ...]:
    """Return both times, the one as a share of the other, and that drawn."""
    texts = [f"{n:,}" if n is not None else "" for n in (slow, fast)]
    if not slow or fast is None:
        return (*texts, "", "")
    return (*texts, f"{fast / slow:.0%}", Bar(fast, slow))


def _selections(rows: Sequence[Row]) -> Table:
    table = Sheet()
    table.add_column("operators in int8", justify="right", no_wrap=True)
    table.add_column("time, of float", justify="right", no_wrap=True)
    table.add_column("")
    table.add_column("SQNR", justify="right", no_wrap=True)
    table.add_column("chosen", no_wrap=True)
    for row in rows:
        shown = (f"{row['time']:.0%}", Bar(row["time"], 1.0), db_text(row["sqnr_db"]))
        table.add_row(str(row["int8"]), *shown, "chosen" if row["chosen"] else "")
    return table


def stored(record: PassRecord) -> Iterator[RenderableType]:
    """Return which weights are stored in fewer bits, if the pass says so."""
    for name in ("weights", "stored"):
        rows = rows_of(record, name, *_WEIGHT)
        if rows:
            yield Heading(f"{record.name}, stored in fewer bits", 3)
            yield _weights(rows)
        notes = record.details.get("notes")
        if rows and isinstance(notes, Mapping):
            for effect, sentence in notes.items():
                yield Text(f"{effect}: {sentence}", style="dim")


def _weights(rows: Sequence[Row]) -> Table:
    table = Sheet()
    table.add_column("weight", overflow="fold")
    for heading in ("in float", "on disk"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("")
    for heading in ("in memory", "error"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("when it runs", overflow="fold")
    for row in rows:
        whole, disk = row["float_bytes"], row["disk_bytes"]
        table.add_row(
            *map(Text, (row["weight"], byte_text(whole), byte_text(disk))),
            Bar(disk, whole),
            *map(Text, (byte_text(row["memory_bytes"]), f"{row['weight_error']:.2g}")),
            Text(row["latency"]),
        )
    return table

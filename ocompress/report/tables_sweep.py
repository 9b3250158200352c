"""Sweeps for people."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rich.console import RenderableType
from rich.text import Text

from ocompress.report.figures import byte_text
from ocompress.report.parts import STYLES, Bar, Tone
from ocompress.report.sheet import Sheet
from ocompress.report.sweep import Sweep, SweepRow

_SHARES = ("expected", "agreement", "accuracy")
"""Units of losses that people count in points of a hundred."""
_TONES = {0: Tone.GOOD, 1: Tone.MIXED}


def sweep(found: Sweep) -> Iterator[RenderableType]:
    """Return one row for each job, what went wrong, and how many there are of which."""
    named = {name: None for row in found.rows for name in row.varied if name != "model"}
    table = Sheet()
    table.add_column("#", justify="right", no_wrap=True)
    table.add_column("model", overflow="fold")
    for name in named:
        table.add_column(name, overflow="fold")
    table.add_column("ends", no_wrap=True)
    for heading in ("size", "ratio"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("")  # a bar of the number before it
    for heading in ("latency", "lost", "s"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in found.rows:
        table.add_row(
            str(row.number),
            Text(Path(row.model).name),
            *(Text(str(row.varied.get(name, ""))) for name in named),
            *_figures(row),
        )
    yield table
    yield Text("")
    for row in found.rows:
        if row.why:
            yield Text(f"job {row.number}: {row.why}")
    tone = Tone.GOOD if found.code == 0 else Tone.MIXED if found.code == 1 else Tone.BAD
    how = f"{found.workers} at a time, " if found.workers > 1 else ""
    yield Text(f"{found.summary} ({how}{found.seconds:.0f} s)", style=STYLES[tone])


def _figures(row: SweepRow) -> Iterator[RenderableType]:
    yield Text(row.ending, style=STYLES[_TONES.get(row.code, Tone.BAD)])
    ratio = row.size_ratio
    yield Text(byte_text(row.bytes[1]) if ratio is not None else "")
    yield Text(f"{ratio:.2f}" if ratio is not None else "")
    yield Bar(ratio, 1.0) if ratio is not None else Text("")
    yield Text(f"{row.latency_ratio:.2f}" if row.latency_ratio is not None else "")
    yield Text(_lost(row))
    yield Text(f"{row.seconds:.0f}")


def _lost(row: SweepRow) -> str:
    if row.lost is None:
        return ""
    return f"{100 * row.lost:.2f} points" if row.unit in _SHARES else f"{row.lost:.3g}"

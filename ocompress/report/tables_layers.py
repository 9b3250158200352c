"""Layer-by-layer comparisons of quantized models for the terminal."""

from __future__ import annotations

import glob
import math
from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from ocompress.pipeline import find
from ocompress.report.figures import count_text, db_text
from ocompress.report.parts import Note
from ocompress.report.sheet import Sheet
from ocompress.validation.layer_result import LayerQuality, QuantReport
from ocompress.wording import counted

_MOST_NAMES = 8
_EXACT_DB = 100.0
"""Above this, differences are rounding of float arithmetic."""


def layers(found: QuantReport, *, verbose: bool = False) -> Iterator[RenderableType]:
    """Return the table down the graph, where it breaks, and what to keep in float."""
    yield Text(f"{counted(found.samples, 'sample')} from {found.source}")
    shown = [e for e in found.layers if verbose or e.quantized or e.grid_low is not None]
    yield _noise(shown, found.breaks_at)
    yield Text("")
    yield _ranges(shown)
    yield from _places(found, verbose)
    if found.sensitivity:
        yield Text("")
        yield _sensitivity(found)
        if found.correlation is not None:
            text = (
                f"rank correlation of noise added and loss at the output: {found.correlation:.2f}"
            )
            yield Text(text)
    for remark in found.remarks:
        yield Note(remark)
    yield from _verdict(found)


def suggestion(nodes: Sequence[str]) -> str:
    """Return the pass text that keeps these nodes in float, empty if there are none.

    Lines may break at its spaces and it can still be pasted.
    """
    if not nodes:
        return ""
    patterns = [glob.escape(name) for name in nodes]
    text = str(find("quant").from_options({"exclude": patterns}))
    return text if '"' in text else text.replace(",", ", ")


def _noise(entries: Sequence[LayerQuality], breaks_at: str) -> RenderableType:
    table = _table("node", "operator", ("SQNR", "inherited", "drop", "adds", "max error"))
    for entry in entries:
        mark = "" if entry.quantized or entry.op_type == "input" else " (float)"
        table.add_row(
            Text(entry.node),
            Text(f"{entry.op_type}{mark}"),
            _db(entry.sqnr_db),
            _db(entry.inherited_db),
            f"{entry.drop_db:.1f} dB" if entry.drop_db else "",
            _db(entry.own_db),
            f"{entry.max_abs_error:.3g}",
            style="bold red" if entry.node == breaks_at else "",
        )
    return table


def _ranges(entries: Sequence[LayerQuality]) -> RenderableType:
    table = _table("node", "", ("float range", "grid", "clipped", "at ends", "pair sums clipped"))
    for entry in entries:
        grid = clipped = ends = ""
        if entry.grid_low is not None and entry.grid_high is not None:
            grid = _range(entry.grid_low, entry.grid_high)
            clipped = _share(entry.clipped or 0.0)
            ends = _share(entry.saturated / max(1, entry.elements))
        clips = _share(entry.pair_clips / entry.pair_sums) if entry.pair_sums else ""
        cells = (_range(entry.low, entry.high), grid, clipped, ends, clips)
        table.add_row(Text(entry.node), "", *cells)
    return table


def _table(first: str, second: str, figures: Sequence[str]) -> Table:
    table = Sheet()
    table.add_column(first, overflow="fold")
    table.add_column(second, no_wrap=True)
    for heading in figures:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _places(found: QuantReport, verbose: bool) -> Iterator[RenderableType]:
    for what, names in (
        ("only in the float model", found.missing),
        ("only in the quantized model", found.extra),
    ):
        if names:
            shown = names if verbose else names[:_MOST_NAMES]
            more = f" and {len(names) - len(shown)} more" if len(shown) < len(names) else ""
            yield Text(f"{what}: {', '.join(shown)}{more}", style="dim")


def _sensitivity(found: QuantReport) -> RenderableType:
    added = {e.node: e for e in found.layers}
    order = sorted((s.node for s in found.sensitivity), key=lambda n: _own(added.get(n)))
    figures = ("output SQNR", "KL", "rank", "adds", "rank")
    table = _table("quantized alone", "operator", figures)
    for rank, entry in enumerate(found.sensitivity, 1):
        layer = added.get(entry.node)
        table.add_row(
            Text(entry.node),
            Text(layer.op_type if layer is not None else ""),
            _db(entry.sqnr_db),
            f"{entry.kl:.2e}" if entry.kl is not None else "",
            str(rank),
            _db(layer.own_db) if layer is not None else "",
            str(order.index(entry.node) + 1),
        )
    return table


def _own(entry: LayerQuality | None) -> float:
    return entry.own_db if entry is not None else math.inf


def _verdict(found: QuantReport) -> Iterator[RenderableType]:
    place = next((e for e in found.layers if e.node == found.breaks_at), None)
    if place is not None:
        start = _db(place.inherited_db)
        source = f"{start} to " if start != "exact" else ""
        yield Text(
            f"largest drop: {place.op_type} {place.node!r}, {source}{_db(place.sqnr_db)}",
            style="bold",
        )
    clips = sum(entry.pair_clips for entry in found.layers)
    if clips:
        total = sum(entry.pair_sums for entry in found.layers)
        yield Text(
            f"x86-64 without VNNI clips {count_text(clips)} of {count_text(total)} sums of two "
            "products examined; weight_bits=7 or auto avoids that",
            style="yellow",
        )
    text = suggestion(found.worst)
    if text:
        basis = "by their loss at the output" if found.sensitivity else "by the noise they add"
        yield Text(f"to keep the worst in float ({basis}): --passes '{text}'", overflow="fold")
        if len(found.keep) > len(found.worst):
            following = found.keep[len(found.worst) :][:_MOST_NAMES]
            yield Text(f"next: {', '.join(following)}", style="dim")


def _db(value: float) -> str:
    return "exact" if value > _EXACT_DB else db_text(value)


def _range(low: float, high: float) -> str:
    return f"{low:.3g}..{high:.3g}" if low <= high else ""


def _share(share: float) -> str:
    if share == 0:
        return "0"
    percent = 100 * share
    return f"{percent:.2f} %" if percent >= 0.01 else "<0.01 %"

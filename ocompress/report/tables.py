"""Tables for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from ocompress.diagnostics import Severity
from ocompress.pipeline import PassRecord, Status
from ocompress.report.figures import (
    byte_text,
    count_text,
    db_text,
    macs_text,
    ratio_text,
    share_text,
)
from ocompress.report.optimization import Optimization
from ocompress.report.tables_candidates import candidates
from ocompress.report.tables_cuts import cuts
from ocompress.validation import LevelResult

_STYLES = {Status.APPLIED: "green", Status.UNCHANGED: "yellow", Status.ROLLED_BACK: "red"}


def settings(resolved: Mapping[str, Any]) -> RenderableType:
    """Return the settings that count, one line each."""
    grid = Table.grid(padding=(0, 2))
    for key, value in resolved.items():
        if value not in (None, "", [], ()):
            text = " ".join(value) if isinstance(value, list) else str(value)
            grid.add_row(Text(key.replace("_", " "), style="dim"), Text(text))
    return grid


def optimization(done: Optimization, *, verbose: bool = False) -> Iterator[RenderableType]:
    """Return the summary of an optimization: passes, layers, before and after, closing line."""
    yield passes(done)
    for record in done.pipeline.records:
        yield from cuts(record, every=verbose)
        yield from candidates(record, every=verbose)
    if verbose:
        yield from remarks(done)
    yield Text("")
    yield before_and_after(done)
    for sentence in done.remarks:
        yield Text(f"note: {sentence}", style="yellow")
    yield closing(done)


def passes(done: Optimization) -> RenderableType:
    """Return one row per pass: what it did, what it left alone, and what guards found."""
    table = Table(box=None, pad_edge=False)
    for heading, right in (("pass", False), ("result", False), ("nodes", True), ("weights", True)):
        table.add_column(heading, justify="right" if right else "left", no_wrap=True)
    table.add_column("time", justify="right", no_wrap=True)
    table.add_column("what", overflow="fold")
    for record in done.pipeline.records:
        table.add_row(
            record.name,
            Text(record.status.value, style=_STYLES[record.status]),
            _change(record.nodes, str),
            _change(record.weight_bytes, byte_text),
            f"{record.seconds:.2f} s",
            escape("; ".join(_story(done, record))),
        )
    return table


def _change(pair: tuple[int, int], text: Any) -> str:
    before, after = (text(n) for n in pair)
    return before if before == after else f"{before} -> {after}"


def _story(done: Optimization, record: PassRecord) -> Iterator[str]:
    if record.counts:
        yield ", ".join(f"{what} {count}" for what, count in record.counts.items())
    declined = done.declined(record)
    if declined:
        yield "left alone: " + ", ".join(f"{code} {count}" for code, count in declined.items())
    held = [v for v in record.verdicts if v.held]
    figures = [f"{v.guard} {v.figures['ratio']:.2f}" for v in held if "ratio" in v.figures]
    if figures:
        yield f"held: {', '.join(figures)}"
    for verdict in record.verdicts:
        if not verdict.held:
            yield f"REFUSED by {verdict.guard}: {verdict.message}"


def remarks(done: Optimization) -> Iterator[RenderableType]:
    """Return one line per remark about a node."""
    styles = {Severity.WARNING: "red", Severity.DECLINED: "yellow"}
    for remark in done.pipeline.diagnostics:
        node = f" {remark.op_type} {remark.node!r}" if remark.node else ""
        line = f"{remark.source}: {remark.severity}{node}: {remark.message} [{remark.code}]"
        yield Text(line, style=styles.get(remark.severity, ""))


def before_and_after(done: Optimization) -> RenderableType:
    """Return the table of what was gained and what it cost."""
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for heading in ("before", "after", "ratio"):
        table.add_column(heading, justify="right", no_wrap=True)
    (cost, new_cost), sizes = done.cost, done.bytes
    table.add_row("file size", *map(byte_text, sizes), ratio_text(*sizes))
    for label, name in (("parameters", "parameters"), ("not zero", "nonzero")):
        pair = (getattr(cost, name), getattr(new_cost, name))
        table.add_row(label, *map(count_text, pair), ratio_text(*pair))
    known = not (cost.unknown or new_cost.unknown)  # lower bounds have no ratio
    ratio = ratio_text(cost.total_macs, new_cost.total_macs) if known else ""
    table.add_row("multiply-adds", macs_text(cost), macs_text(new_cost), ratio)
    for row in _latency(done):
        table.add_row(*row)
    for level in done.validation.levels[:1]:
        for row in quality(level):
            table.add_row(*row)
    return table


def _latency(done: Optimization) -> Iterator[tuple[str, str, str, str]]:
    found = done.profile
    if found is None or found.against is None or found.ratio is None:
        return
    samples = found.model.latency.samples
    label = f"latency p50, {samples} sample{'s' if samples != 1 else ''}"
    spread = f"{found.ratio.value:.2f} ({found.ratio.low:.2f}-{found.ratio.high:.2f})"
    before, after = found.against.latency.p50_ms, found.model.latency.p50_ms
    yield label, f"{before:.3f} ms", f"{after:.3f} ms", spread


def quality(level: LevelResult) -> Iterator[tuple[str, str, str, str]]:
    """Return rows on how close the result's outputs are to the original's."""
    for output in level.outputs:
        name = f" of {output.name}" if len(level.outputs) > 1 else ""
        yield f"SQNR{name}", "", db_text(output.sqnr_db), ""
        if output.agreement is not None:
            yield f"agreement{name}", "", share_text(output.agreement), ""
    for score in (level.accuracy, level.metric):
        if score is not None:
            drop = f"-{score.drop.value:.4f}" if score.drop.value > 0 else "no drop"
            yield score.name, f"{score.reference:.4f}", f"{score.candidate:.4f}", drop


def closing(done: Optimization) -> RenderableType:
    """Return the one line that sums it up."""
    before, after = done.bytes
    smaller = f"{before / after:.1f}x smaller" if after < before else "not smaller"
    where = "made" if done.output is None else f"wrote {str(done.output)!r}"
    if done.output is not None and not done.touched:
        where = f"{str(done.output)!r} is up to date"
    idle = ", ".join(r.name for r in done.idle)
    line = f"{where}: {byte_text(after)}, {smaller}"
    if done.profile is not None and done.profile.ratio is not None:
        line += f", {done.profile.ratio.value:.2f} of the time"
    if idle:
        line += f"; NOTHING CHANGED by {idle}"
    return Text(line, style="bold green" if done.held else "bold yellow")

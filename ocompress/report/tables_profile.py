"""Profiles for the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from ocompress.profiling import ModelProfile, ProfileResult, TimeShare
from ocompress.report.figures import byte_text, count_text, macs_text, ratio_text
from ocompress.report.parts import Bar, Figure, Figures, Note, facts
from ocompress.report.sheet import Sheet

_MOST_ROWS = 25


def profile(found: ProfileResult) -> Iterator[RenderableType]:
    """Return figures side by side, time per operator and layer, and what was measured where."""
    yield figures(found)
    for title, known in (("operator", found.model.by_op), ("layer", found.model.by_layer)):
        if known:
            yield Text("")
            yield shares(title, known, most=_MOST_ROWS)
            if len(known) > _MOST_ROWS:
                yield Text(f"{len(known) - _MOST_ROWS} more in --report", style="dim")
    yield facts(where(found))
    yield from notes(found)


def where(found: ProfileResult) -> Iterator[tuple[str, str]]:
    """Return what was run, and on what."""
    here = found.environment
    yield (
        "run with",
        ", ".join(f"{i.name}[{','.join(map(str, i.shape))}] ({i.origin})" for i in found.inputs)
        or "no inputs",
    )
    yield (
        "machine",
        f"{here.cpu} ({' '.join(here.isa)}), {here.threads} of {here.cores} threads, "
        f"ONNX Runtime {here.runtime}",
    )


def notes(found: ProfileResult) -> Iterator[RenderableType]:
    """Return what was guessed or left out and why."""
    for remark in found.remarks:
        yield Note(remark)


_Row = tuple[str, Callable[[ModelProfile], float | None], Callable[[float], str]]
_HEADLINES = ("latency p50", "file size", "multiply-adds", "peak memory")


def _rows() -> list[_Row]:
    times = [
        (f"latency {name}", lambda m, name=name: getattr(m.latency, f"{name}_ms"), _ms)
        for name in ("p50", "p90", "p99")
    ]
    return [
        *times,
        ("samples per second", lambda m: m.latency.throughput, lambda n: f"{n:.4g}"),
        ("file size", lambda m: m.bytes, lambda n: byte_text(int(n))),
        ("parameters", lambda m: m.cost.parameters, lambda n: count_text(int(n))),
        ("not zero", lambda m: m.cost.nonzero, lambda n: count_text(int(n))),
        ("peak memory", lambda m: m.memory.peak if m.memory else None, lambda n: byte_text(int(n))),
    ]


def figures(found: ProfileResult) -> Figures:
    """Return the figures of the model, beside those of the reference if there is one."""
    rows = [row for row in (_figure(found, *known) for known in _rows()) if row is not None]
    rows.insert(-1 if found.model.memory else len(rows), _work(found))
    return Figures(tuple(rows), ("against", "model", "ratio"), found.against is not None)


def _figure(
    found: ProfileResult,
    label: str,
    value: Callable[[ModelProfile], float | None],
    text: Callable[[float], str],
) -> Figure | None:
    here = value(found.model)
    if here is None:
        return None
    known, shown = label in _HEADLINES, text(here)
    there = value(found.against) if found.against is not None else None
    if there is None:
        return Figure(label, shown, headline=known)
    ratio, share = ratio_text(there, here), here / there if there else None
    if label == "latency p50" and found.ratio is not None:
        share = found.ratio.value
        ratio = f"{share:.3f} ({found.ratio.low:.3f}-{found.ratio.high:.3f})"
    return Figure(label, shown, text(there), ratio, share, known)


def _work(found: ProfileResult) -> Figure:
    """Return multiply-accumulates; lower bounds have no ratio."""
    here, label = found.model.cost, "multiply-adds"
    if found.against is None:
        return Figure(label, macs_text(here), headline=True)
    there = found.against.cost
    known = not (here.unknown or there.unknown) and there.total_macs
    share = here.total_macs / there.total_macs if known else None
    ratio = ratio_text(there.total_macs, here.total_macs) if known else ""
    return Figure(label, macs_text(here), macs_text(there), ratio, share, headline=True)


def shares(title: str, known: Sequence[TimeShare], most: int | None = None) -> Table:
    """Return a row for each operator or layer, and their sum.

    Args:
        title: Which of the two: `operator` or `layer`.
        known: The times, largest first.
        most: Rows at most; the sum is of all.
    """
    table = Sheet()
    table.add_column(title, overflow="fold")
    if title == "layer":
        table.add_column("kernel", no_wrap=True)
    for heading in ("calls", "time", "share"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("")
    for share in known[:most]:
        kernel = [Text(share.op_type)] if title == "layer" else []
        cells = (f"{share.calls:g}", _ms(share.ms), f"{100 * share.share:.1f} %")
        table.add_row(Text(share.name), *kernel, *cells, Bar(share.share, 1.0))
    blank = [Text("")] if title == "layer" else []
    calls, ms = sum(s.calls for s in known), sum(s.ms for s in known)
    table.add_row(Text("sum"), *blank, f"{calls:g}", _ms(ms), "100.0 %", "")
    return table


def _ms(value: float) -> str:
    return f"{value:.3f} ms"

"""Profiles for the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from ocompress.profiling import Memory, ModelProfile, ProfileResult, TimeShare
from ocompress.report.figures import byte_text, count_text, macs_text, ratio_text

_MOST_ROWS = 25


def profile(found: ProfileResult) -> Iterator[RenderableType]:
    """Return figures side by side, time per operator and layer, and what was measured where."""
    yield _figures(found)
    for title, shares in (("operator", found.model.by_op), ("layer", found.model.by_layer)):
        if shares:
            yield Text("")
            yield _shares(title, shares)
    here = found.environment
    inputs = ", ".join(
        f"{i.name}[{','.join(map(str, i.shape))}] ({i.origin})" for i in found.inputs
    )
    yield Text(f"inputs: {inputs or 'none'}", style="dim")
    yield Text(
        f"{here.cpu} ({' '.join(here.isa)}), {here.threads} of {here.cores} threads, "
        f"ONNX Runtime {here.runtime}",
        style="dim",
    )
    for remark in found.remarks:
        yield Text(f"note: {remark}", style="yellow")


_Row = tuple[str, Callable[[ModelProfile], float], Callable[[float], str]]


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
    ]


def _figures(found: ProfileResult) -> RenderableType:
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    table.add_column("model", justify="right", no_wrap=True)
    if found.against is not None:
        table.add_column("against", justify="right", no_wrap=True)
        table.add_column("ratio", justify="right", no_wrap=True)
    for label, value, text in _rows():
        cells = [text(value(found.model))]
        if found.against is not None:
            other = value(found.against)
            ratio = ratio_text(other, value(found.model))
            if label == "latency p50" and found.ratio is not None:
                low, high = found.ratio.low, found.ratio.high
                ratio = f"{found.ratio.value:.3f} ({low:.3f}-{high:.3f})"
            cells += [text(other), ratio]
        table.add_row(label, *cells)
    models = [m for m in (found.model, found.against) if m is not None]
    shown: list[str] = []
    if len(models) > 1 and not any(m.cost.unknown for m in models):
        shown = [ratio_text(models[1].cost.total_macs, models[0].cost.total_macs)]
    table.add_row("multiply-adds", *(macs_text(m.cost) for m in models), *shown)
    if found.model.memory is not None:
        memories: list[Memory | None] = [found.model.memory]
        if found.against is not None:
            memories.append(found.against.memory)
        cells = [byte_text(m.peak) if m is not None else "" for m in memories]
        table.add_row("peak memory", *cells)
    return table


def _shares(title: str, shares: Sequence[TimeShare]) -> RenderableType:
    table = Table(box=None, pad_edge=False)
    table.add_column(title, overflow="fold")
    if title == "layer":
        table.add_column("kernel", no_wrap=True)
    for heading in ("calls", "time", "share"):
        table.add_column(heading, justify="right", no_wrap=True)
    for share in shares[:_MOST_ROWS]:
        kernel = [Text(share.op_type)] if title == "layer" else []
        figures = (f"{share.calls:g}", _ms(share.ms), f"{100 * share.share:.1f} %")
        table.add_row(Text(share.name), *kernel, *figures)
    if len(shares) > _MOST_ROWS:
        table.caption = f"{len(shares) - _MOST_ROWS} more in --json"
    return table


def _ms(value: float) -> str:
    return f"{value:.3f} ms"

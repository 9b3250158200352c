"""Surveys for the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from ocompress.report.figures import byte_text, count_text, macs_text
from ocompress.report.sheet import Sheet
from ocompress.report.survey import Prospect, Survey, Tensor

_LONGEST_VALUE = 60


def survey(found: Survey, *, verbose: bool = False) -> Iterator[RenderableType]:
    """Return what is in the model, then what each pass would do."""
    grid = Table.grid(padding=(0, 2))
    for key, value in _facts(found):
        if value:
            grid.add_row(Text(key, style="dim"), Text(value, overflow="fold"))
    yield grid
    yield Text("")
    yield _prospects(found)
    if verbose:
        for prospect in found.prospects:
            for remark in prospect.remarks:
                node = f" {remark.op_type} {remark.node!r}" if remark.node else ""
                yield Text(f"{prospect.name}: {remark.severity}{node}: {remark.message}")


def _facts(found: Survey) -> Iterator[tuple[str, str]]:
    yield "file", f"{found.source} {byte_text(found.bytes)}".strip()
    yield (
        "format",
        f"IR {found.ir_version}, "
        + ", ".join(
            f"{domain or 'onnx'} opset {version}" for domain, version in found.opsets.items()
        ),
    )
    yield "producer", found.producer
    yield "inputs", ", ".join(map(_tensor, found.inputs))
    yield "outputs", ", ".join(map(_tensor, found.outputs))
    ops = sorted(found.cost.ops.items(), key=lambda item: (-item[1], item[0]))
    yield "operators", ", ".join(f"{op} {count}" for op, count in ops) or "none"
    yield (
        "parameters",
        f"{count_text(found.cost.parameters)} ({count_text(found.cost.nonzero)} not zero)",
    )
    yield "constants", _counts(found.dtypes)
    yield "multiply-adds", macs_text(found.cost)
    yield "functions", ", ".join(found.functions)
    for key, value in found.metadata.items():
        shown = value if len(value) <= _LONGEST_VALUE else f"{value[:_LONGEST_VALUE]}..."
        yield f"metadata {key}", " ".join(shown.split())


def _tensor(tensor: Tensor) -> str:
    if tensor.shape is None:
        return f"{tensor.name} {tensor.dtype}".strip()
    extents = ",".join("?" if d is None else str(d) for d in tensor.shape)
    return f"{tensor.name} {tensor.dtype}[{extents}]"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count_text(count)}" for name, count in counts.items())


def _prospects(found: Survey) -> RenderableType:
    table = Sheet()
    table.add_column("pass", no_wrap=True)
    table.add_column("would do", overflow="fold")
    table.add_column("would leave alone", overflow="fold")
    table.add_column("weights", justify="right", no_wrap=True)
    for prospect in found.prospects:
        table.add_row(
            prospect.name,
            Text(_would_do(prospect)),
            Text(_named(prospect.declined)),
            _weights(prospect),
        )
    return table


def _would_do(prospect: Prospect) -> str:
    if prospect.problem:
        return prospect.problem
    hint = " (needs data; give some with --data)" if prospect.needs_data else ""
    return (_named(prospect.counts) or "nothing") + hint


def _named(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def _weights(prospect: Prospect) -> str:
    before, after = prospect.weight_bytes
    if prospect.problem or before == after:
        return ""
    return f"{byte_text(before)} -> {byte_text(after)}"

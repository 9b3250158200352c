"""Archives for the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import RenderableType
from rich.text import Text

from ocompress.report.coded import CodedModel
from ocompress.report.figures import byte_text, ratio_text
from ocompress.report.parts import Bar, Note
from ocompress.report.sheet import Sheet


def coded(found: CodedModel) -> Iterator[RenderableType]:
    """Return the three sizes, then a row for every tensor."""
    yield _sizes(found)
    if found.tensors:
        yield Text("")
        yield tensors(found)
    if found.remark:
        yield Note(found.remark)


def _sizes(found: CodedModel) -> Sheet:
    table = Sheet()
    table.add_column("form", no_wrap=True)
    for heading in ("size", "of the model"):
        table.add_column(heading, justify="right", no_wrap=True)
    for name, size in found.sizes.items():
        table.add_row(name, byte_text(size), ratio_text(found.bytes, size))
    return table


def tensors(found: CodedModel) -> Sheet:
    """Return a row for every tensor, with what part of the archive it takes."""
    table = Sheet()
    table.add_column("tensor", overflow="fold")
    table.add_column("shape", no_wrap=True)
    table.add_column("type", no_wrap=True)
    table.add_column("size", justify="right", no_wrap=True)
    table.add_column("")
    for heading in ("bits", "entropy"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("form", overflow="fold")
    for tensor in found.tensors:
        table.add_row(
            Text(tensor.name),
            " x ".join(map(str, tensor.shape)),
            tensor.dtype,
            byte_text(tensor.coded),
            Bar(tensor.coded, found.archive),
            f"{tensor.bits:.2f}",
            f"{tensor.entropy:.2f}",
            Text(tensor.form),
        )
    table.add_row(
        "(all else)", "", "", byte_text(found.rest), Bar(found.rest, found.archive), "", "", ""
    )
    return table

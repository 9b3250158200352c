"""Remarks about nodes, those with the same code together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from rich.table import Table
from rich.text import Text

from ocompress.diagnostics import Remark, Severity
from ocompress.report.parts import Fold
from ocompress.report.sheet import Sheet

_ORDER = (Severity.WARNING, Severity.DECLINED, Severity.NOTE, Severity.APPLIED)
_WORDS = {Severity.DECLINED: "left alone"}


def grouped(remarks: Iterable[Remark], *, named: bool = False) -> Iterator[Fold]:
    """Return a table of nodes for each code: warnings first, what happened most often next.

    Args:
        remarks: What was said.
        named: Whether to say who says it.
    """
    groups: dict[tuple[Severity, str, str], list[Remark]] = {}
    for remark in remarks:
        source = remark.source if named else ""
        groups.setdefault((remark.severity, remark.code, source), []).append(remark)
    ranked = sorted(groups.items(), key=lambda g: (_ORDER.index(g[0][0]), -len(g[1]), g[0]))
    for (severity, code, source), found in ranked:
        speaker = f"{source}, " if source else ""
        word = _WORDS.get(severity, str(severity))
        sentences = {remark.message for remark in found}
        why = f"; {sentences.pop()}" if len(sentences) == 1 else ""
        yield Fold(f"{speaker}{word}, {code}: {len(found)}{why}", (_table(found),))


def _table(remarks: list[Remark]) -> Table:
    table = Sheet()
    table.add_column("node", overflow="fold")
    table.add_column("operator", no_wrap=True)
    table.add_column("what", overflow="fold")
    for remark in remarks:
        table.add_row(*map(Text, (remark.node or "the model", remark.op_type, remark.message)))
    return table

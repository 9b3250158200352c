"""Reports as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from html import escape

from rich.console import RenderableType
from rich.table import Column, Table
from rich.text import Text

from ocompress.report.charts import Scatter
from ocompress.report.parts import Bar, Closing, Figures, Fold, Heading, plain

_SPECIAL = re.compile(r"([\\|*<`\[])|(?<![^\W_])(_)|(_)(?![^\W_])")
"""What Markdown would take for more than it is; underscores only at the ends of words."""


def markdown(title: str, parts: Iterable[RenderableType], level: int = 1) -> str:
    """Return a page of Markdown.

    Args:
        title: Its heading.
        parts: What the terminal gets: tables, lines of text, and the parts of `parts`.
        level: That of the heading.

    Raises:
        TypeError: If a part is something else.
    """
    blocks = [f"{'#' * level} {_literal(title)}", *_blocks(parts)]
    return "\n\n".join(b for b in blocks if b) + "\n"


def _blocks(parts: Iterable[RenderableType]) -> Iterator[str]:
    for part in parts:
        if isinstance(part, Table | Figures):
            yield _table(part.table() if isinstance(part, Figures) else part)
        elif isinstance(part, Heading):
            yield f"{'#' * part.level} {_literal(part.text)}"
        elif isinstance(part, Closing):
            yield f"**{_literal(part.word)}**: {_literal(part.line)}"
            yield "\n".join(f"- {_literal(reason)}" for reason in part.reasons)
        elif isinstance(part, Fold):
            summary = escape(" ".join(part.summary.split()))
            yield f"<details><summary>{summary}</summary>"  # HTML, where Markdown means nothing
            yield from _blocks(part.parts)
            yield "</details>"
        elif isinstance(part, Scatter):
            yield "\n".join(("```text", *part.rows(), "```"))
        elif isinstance(part, Text | str):
            yield _plain(part)
        else:
            msg = f"{type(part).__name__} has no form in Markdown"
            raise TypeError(msg)


def _table(table: Table) -> str:
    rules = ["---:" if c.justify == "right" else "---" for c in table.columns]
    rows = zip(*(_cells(c) for c in table.columns), strict=True)
    heads = [_plain(c.header) if table.show_header else "" for c in table.columns]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heads, rules, *rows))


def _cells(column: Column) -> list[str]:
    return [c.blocks() if isinstance(c, Bar) else _plain(c) for c in column.cells]


def _plain(part: RenderableType) -> str:
    """Return text on one line, with nothing in it that Markdown reads as more."""
    return _SPECIAL.sub(lambda found: f"\\{found.group()}", plain(part))


def _literal(text: str) -> str:
    """Do the same with text that holds no markup of rich."""
    return _plain(Text(text))

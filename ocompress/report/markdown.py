"""The summaries of the terminal as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable

from rich.console import RenderableType
from rich.table import Column, Table
from rich.text import Text

_SPECIAL = re.compile(r"([\\|*<`\[])|(?<![^\W_])(_)|(_)(?![^\W_])")
"""What Markdown would take for more than it is; underscores only at the ends of words."""


def markdown(title: str, parts: Iterable[RenderableType]) -> str:
    """Return a page of Markdown.

    Args:
        title: Its heading.
        parts: Tables and lines of text, as the terminal gets them.

    Raises:
        TypeError: If a part is neither.
    """
    blocks = [f"# {_plain(title)}"]
    for part in parts:
        if isinstance(part, Table):
            blocks.append(_table(part))
        elif isinstance(part, Text | str):
            blocks.append(_plain(part))
        else:
            msg = f"{type(part).__name__} has no form in Markdown"
            raise TypeError(msg)
    return "\n\n".join(b for b in blocks if b) + "\n"


def _table(table: Table) -> str:
    rules = ["---:" if c.justify == "right" else "---" for c in table.columns]
    rows = zip(*(_cells(c) for c in table.columns), strict=True)
    heads = [_plain(c.header) if table.show_header else "" for c in table.columns]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heads, rules, *rows))


def _cells(column: Column) -> list[str]:
    return [_plain(cell) for cell in column.cells]


def _plain(part: RenderableType) -> str:
    """Return text on one line, with nothing in it that Markdown reads as more."""
    text = part.plain if isinstance(part, Text) else Text.from_markup(str(part)).plain
    return _SPECIAL.sub(lambda found: f"\\{found.group()}", " ".join(text.split()))

"""rich's tables as tables of HTML."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.table import Column, Table
from rich.text import Text

from ocompress.report.elements import Html, joined, lines, tag
from ocompress.report.parts import STYLES, Bar, holds_bars, plain

_CLASSES = {str(style): str(tone) for tone, style in STYLES.items()}
_CLASSES |= {"dim": "dim", "bold": "strong"}
"""Words of rich's styles, and the classes of the style sheet that mean the same."""
_BREAKS = re.compile(r"(?<=[/,])(?=\S)")
_LEAST = 0.02
"""Share of a bar that can still be seen."""
_MANY = 7
"""Names and values beyond which they stand in two columns."""


def scrolling(table: Table, label: str) -> Html:
    """Return a table in a box that scrolls where it is too large for the page.

    Args:
        table: The table.
        label: What it is about, for those who do not see the heading above it.
    """
    columns = table.columns
    kinds = [_kind(column) for column in columns]
    cells = zip(*(column.cells for column in columns), strict=True)
    body = [
        tag("tr", *_row(row, kinds), class_=_classes(str(known.style or "")))
        for row, known in zip(cells, table.rows, strict=True)
    ]
    caption = tag("caption", label, class_="unseen")
    head = tag("thead", tag("tr", *_heads(columns, kinds)))
    whole = tag("table", caption, head, tag("tbody", lines(body)))
    # can be focused, so that the keyboard scrolls it
    return tag("div", whole, class_="scroll", role="region", aria_label=label, tabindex=0)


def definitions(grid: Table) -> Html:
    """Return a grid of names and what they stand for."""
    names, values = (tuple(column.cells) for column in grid.columns)
    pairs = [_definition(*pair) for pair in zip(names, values, strict=True)]
    return tag("dl", lines(pairs), class_="many" if len(pairs) > _MANY else "")


def _definition(name: RenderableType, value: RenderableType) -> Html:
    return tag(
        "div", tag("dt", plain(name)), tag("dd", breakable(plain(value)), class_=class_of(value))
    )


def bar(part: Bar) -> Html:
    """Draw a share; what is not all is never drawn full, what is something never empty."""
    if part.whole <= 0:
        return Html()
    some = 0 < part.part < part.whole
    share = min(max(part.share, _LEAST), 1 - _LEAST) if some else part.share
    box = {"width": "100", "height": "10"}
    left = tag("rect", class_="whole", **box)
    kind = "over" if part.part > part.whole else "part"
    full = tag("rect", class_=kind, **(box | {"width": f"{100 * share:.4g}"}))
    until = min((part.part + part.gone) / part.whole, 1.0)
    gone = tag("rect", class_="gone", **(box | {"width": f"{100 * until:.4g}"}))
    return tag(
        "svg",
        left,
        gone if part.gone > 0 else "",
        full,
        class_="bar",
        viewBox="0 0 100 10",
        preserveAspectRatio="none",
        aria_hidden="true",  # the number stands beside it
    )


def breakable(text: str) -> Html:
    """Return text that may break after slashes and commas: paths, names, lists of passes."""
    first, *others = _BREAKS.split(text)
    return joined(first, *(joined(tag("wbr"), piece) for piece in others))


def class_of(part: RenderableType) -> str:
    """Return the classes of the style sheet that a text's style means."""
    return _classes(str(part.style)) if isinstance(part, Text) else ""


def _classes(style: str) -> str:
    return " ".join(_CLASSES[word] for word in style.split() if word in _CLASSES)


def _kind(column: Column) -> str:
    """Return the class of a column's cells: what stays on one line, and where it stands."""
    if column.justify == "right":
        return "number" if column.no_wrap else "right"
    return "word" if column.no_wrap else "text"


def _heads(columns: Sequence[Column], kinds: Sequence[str]) -> Iterator[Html]:
    """Return the heads; one spans the bars after it."""
    at = 0
    while at < len(columns):
        text, span = plain(columns[at].header), 1
        while text and at + span < len(columns) and _is_drawn(columns[at + span]):
            span += 1
        wide = span if span > 1 else None
        if text:
            yield tag("th", text, scope="col", colspan=wide, class_=kinds[at])
        else:
            yield tag("td")
        at += span


def _is_drawn(column: Column) -> bool:
    return not plain(column.header) and holds_bars(column)


def _row(cells: Sequence[RenderableType], kinds: Sequence[str]) -> Iterator[Html]:
    for at, (cell, kind) in enumerate(zip(cells, kinds, strict=True)):
        if isinstance(cell, Bar):
            yield tag("td", bar(cell), class_="drawn")
            continue
        content = _content(plain(cell), kind)
        if style := class_of(cell):
            content = tag("span", content, class_=style)
        if at == 0:
            yield tag("th", content, scope="row", class_=kind)
        else:
            yield tag("td", content, class_=kind)


def _content(text: str, kind: str) -> str:
    if kind == "number":
        return text.replace(" -> ", " → ")
    return breakable(text) if kind == "text" else text

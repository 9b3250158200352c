"""HTML, written so that text cannot be taken for tags."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

_SHAPES = frozenset({"circle", "path", "rect"})
_VOID = frozenset({"br", "col", "link", "meta", "wbr", *_SHAPES})
"""Elements without content; shapes are written so, too."""


class Html(str):
    """Text that is HTML already; all other text is escaped."""

    __slots__ = ()


def tag(name: str, /, *content: str, **attributes: str | int | None) -> Html:
    """Return an element.

    Args:
        name: Its name.
        content: What is in it: text, which is escaped, or `Html`.
        attributes: Its attributes; `class_` stands for `class`, `_` for `-`. None leaves one out,
            and so does an empty class.
    """
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None and (key, value) != ("class_", "")
    )
    if name in _VOID:
        return Html(f"<{name}{written}/>" if name in _SHAPES else f"<{name}{written}>")
    return Html(f"<{name}{written}>{joined(*content)}</{name}>")


def joined(*content: str) -> Html:
    """Return several elements and texts one after the other."""
    return Html("".join(c if isinstance(c, Html) else escape(c, quote=False) for c in content))


def lines(content: Iterable[str]) -> Html:
    """Return elements on lines of their own."""
    return joined(*(joined("\n", c) for c in content))

"""The form of a report goes by the name of its file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from rich.console import RenderableType

from ocompress.report.document import to_text
from ocompress.report.markdown import markdown
from ocompress.report.webpage import webpage

_FORMS: dict[str, Callable[[str, Iterable[RenderableType]], str]] = {
    ".md": markdown,
    ".html": webpage,
    ".htm": webpage,
}


def in_form_of(
    file: Path, report: Mapping[str, Any], title: str, parts: Iterable[RenderableType]
) -> str:
    """Return the text of a report: Markdown or HTML where the name ends so, else JSON.

    Args:
        file: Where it will be written.
        report: The document, for JSON.
        title: The heading for people.
        parts: What people get, see `pages`.
    """
    form = _FORMS.get(file.suffix.lower())
    return to_text(report) if form is None else form(title, parts)

"""The form of a report: the one that is asked for, else that of its file's name."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any

from rich.console import RenderableType

from ocompress.report.document import to_text
from ocompress.report.markdown import markdown
from ocompress.report.webpage import webpage


class ReportForm(StrEnum):
    """How a report is written."""

    JSON = "json"
    MD = "md"
    HTML = "html"


_BY_SUFFIX = {".md": ReportForm.MD, ".html": ReportForm.HTML, ".htm": ReportForm.HTML}
_FOR_PEOPLE: dict[ReportForm, Callable[[str, Iterable[RenderableType]], str]] = {
    ReportForm.MD: markdown,
    ReportForm.HTML: webpage,
}


def in_form_of(
    file: Path,
    report: Mapping[str, Any],
    title: str,
    parts: Iterable[RenderableType],
    form: ReportForm | None = None,
) -> str:
    """Return the text of a report: Markdown or HTML where the name ends so, else JSON.

    Args:
        file: Where it will be written.
        report: The document, for JSON.
        title: The heading for people.
        parts: What people get, see `pages`.
        form: The form, whatever the file is called.
    """
    write = _FOR_PEOPLE.get(form or _BY_SUFFIX.get(file.suffix.lower(), ReportForm.JSON))
    return to_text(report) if write is None else write(title, parts)

"""Where reports go: files, or standard output where `-` is named."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ocompress.errors import OptionError, OutputError
from ocompress.io import atomic_write, check_outputs
from ocompress.report import ReportForm, in_form_of, markdown

if TYPE_CHECKING:
    from rich.console import RenderableType

STDOUT = Path("-")
_LEVEL = 3
"""Of a summary's heading, which stands among those of other jobs."""


@dataclass(frozen=True, kw_only=True)
class Sinks:
    """The reports of one call, None where one is not wanted.

    Attributes:
        report: All there is to know.
        form: Its form, empty to go by the file's name.
        summary: A few lines of Markdown, appended to what the file holds.
        junit: Checks as JUnit XML.
        depfile: A Makefile dependency list.
        as_json: Whether JSON is printed, too.
    """

    report: Path | None = None
    form: str = ""
    summary: Path | None = None
    junit: Path | None = None
    depfile: Path | None = None
    as_json: bool = False

    @property
    def taken(self) -> bool:
        """Whether standard output is for a report."""
        return STDOUT in (self.report, self.summary, self.junit)

    def check(self, inputs: Iterable[Path]) -> None:
        """Find out before the work starts whether all can be written.

        Args:
            inputs: Files that must survive.

        Raises:
            UsageError: If two would go to one place, or one cannot be a file.
            OutputError: If a folder cannot be written to.
        """
        if self.form and self.form not in list(ReportForm):
            msg = f"report format {self.form!r} is not one of {', '.join(ReportForm)}"
            raise OptionError(msg)
        if self.form and self.report is None:
            msg = "--report-format needs a report; name a file with --report, or - to print it"
            raise OptionError(msg)
        if self.depfile == STDOUT:
            msg = "a dependency list is for a file; name one with --depfile"
            raise OptionError(msg)
        reports = {"--report": self.report, "--summary": self.summary, "--junit": self.junit}
        printed = [name for name, path in reports.items() if path == STDOUT]
        printed += ["--json"] if self.as_json else []
        if len(printed) > 1:
            msg = (
                f"{' and '.join(printed)} all print on standard output; name files for all but one"
            )
            raise OptionError(msg)
        files = (self.report, self.summary, self.junit, self.depfile)
        check_outputs([f for f in files if f != STDOUT], inputs)

    def write_report(
        self, document: Mapping[str, Any], title: str, parts: Iterable[RenderableType]
    ) -> None:
        """Write the report, if one is wanted.

        Args:
            document: What JSON holds.
            title: The heading for people.
            parts: What people get.

        Raises:
            OutputError: If it cannot be written.
        """
        if self.report is not None:
            form = ReportForm(self.form) if self.form else None
            deliver(self.report, in_form_of(self.report, document, title, parts, form))

    def write_summary(self, title: str, parts: Iterable[RenderableType]) -> None:
        """Append the summary to its file, if one is wanted.

        Raises:
            OutputError: If it cannot be written.
        """
        if self.summary is None:
            return
        text = markdown(title, parts, _LEVEL)
        if self.summary == STDOUT:
            deliver(self.summary, text)
            return
        try:
            with self.summary.open("a", encoding="utf-8") as stream:
                stream.write(f"\n{text}" if stream.tell() else text)
        except OSError as error:
            msg = f"cannot write {str(self.summary)!r}: {error.strerror or error}"
            raise OutputError(msg) from error


def deliver(path: Path, text: str) -> None:
    """Write a text to a file in one step, or print it.

    Raises:
        OutputError: If the file cannot be written; what was there before stays.
    """
    if path != STDOUT:
        atomic_write(path, text, touch=True)
        return
    sys.stdout.write(text)
    sys.stdout.flush()

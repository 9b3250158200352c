"""Where text goes, for all commands: tables to standard output, everything else to standard error.

Tables give way to JSON, and to a report that was asked for on standard output. Notes, progress,
what was written, and errors are for people who watch: they never mix with what a program reads.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from typing import Any, TextIO

from rich.console import Console, RenderableType

from ocompress.errors import OptionError

_WIDTH = 110
"""Columns when the output is not a terminal and COLUMNS does not say."""


class Printer:
    """Prints for people, or as JSON, or nothing."""

    def __init__(
        self,
        *,
        quiet: bool = False,
        as_json: bool = False,
        taken: bool = False,
        color: bool = True,
        verbose: bool = False,
        explain: bool = False,
    ) -> None:
        """Decide what is printed.

        Args:
            quiet: Errors only.
            as_json: Results as JSON.
            taken: Whether standard output is for a report, so that tables have no place on it.
            color: Whether terminals get colors.
            verbose: Whether remarks about single nodes are printed.
            explain: Whether it is printed why each layer is as it is.

        Raises:
            OptionError: If both little and much shall be printed.
        """
        if quiet and verbose:
            msg = "--quiet and --verbose are mutually exclusive; give one"
            raise OptionError(msg)
        self.quiet, self.as_json, self.verbose = quiet, as_json, verbose
        self.explain = explain
        self.err = _console(sys.stderr, color)
        self._out = _console(sys.stdout, color)
        self._tables = not (quiet or as_json or taken)

    def say(self, *parts: RenderableType) -> None:
        """Print for people, on standard error."""
        if not self.quiet:
            _print(self.err, parts)

    def show(self, *parts: RenderableType) -> None:
        """Print tables on standard output, and the notes among them on standard error."""
        from ocompress.report.parts import Note

        for part in parts:
            if isinstance(part, Note):
                self.say(part)
            elif self._tables:
                _print(self._out, (part,))
        sys.stdout.flush()  # both streams may go to one file, where order matters

    def answer(self, parts: Iterable[RenderableType], report: Mapping[str, Any]) -> None:
        """Print what was asked for: tables, or JSON."""
        from ocompress.report import to_text

        self.show(*parts)
        if self.as_json:
            sys.stdout.write(to_text(report))
            sys.stdout.flush()


def _print(console: Console, parts: Iterable[RenderableType]) -> None:
    for part in parts:
        if console.is_terminal:
            console.print(part)
            continue
        with console.capture() as capture:
            console.print(part)
        console.file.writelines(f"{line.rstrip()}\n" for line in capture.get().splitlines())


def _console(stream: TextIO, color: bool) -> Console:
    told = os.environ.get("COLUMNS", "").isdecimal()  # rich goes by that
    width = None if told or stream.isatty() else _WIDTH
    return Console(file=stream, no_color=not color, width=width, highlight=False, soft_wrap=False)

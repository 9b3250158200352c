"""Where text goes: what was asked for to standard output, everything else to standard error."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any, TextIO

from rich.console import Console, RenderableType

from ocompress.errors import OptionError

_WIDTH = 110
"""Columns when the output is not a terminal."""


class Printer:
    """Prints for people, or as JSON, or nothing."""

    def __init__(
        self,
        *,
        quiet: bool = False,
        as_json: bool = False,
        color: bool = True,
        verbose: bool = False,
    ) -> None:
        """Decide what is printed.

        Args:
            quiet: Errors only.
            as_json: Results as JSON.
            color: Whether terminals get colors.
            verbose: Whether remarks about single nodes are printed.

        Raises:
            OptionError: If both little and much shall be printed.
        """
        if quiet and verbose:
            msg = "--quiet and --verbose exclude each other; give one"
            raise OptionError(msg)
        self.quiet, self.as_json, self.verbose = quiet, as_json, verbose
        self.err = _console(sys.stderr, color)
        self._out = _console(sys.stdout, color)

    def say(self, *parts: RenderableType) -> None:
        """Print for people, on standard error."""
        if not self.quiet:
            _print(self.err, parts)

    def answer(self, parts: Iterable[RenderableType], report: Mapping[str, Any]) -> None:
        """Print what was asked for, on standard output."""
        if self.as_json:
            self.json(report)
        elif not self.quiet:
            _print(self._out, parts)

    def json(self, report: Mapping[str, Any]) -> None:
        """Print a report on standard output."""
        from ocompress.report import to_text

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
    width = None if stream.isatty() else _WIDTH
    return Console(file=stream, no_color=not color, width=width, highlight=False, soft_wrap=False)

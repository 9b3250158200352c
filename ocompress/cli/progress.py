"""Progress bars, on a terminal only."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from ocompress.cli.console import Printer
from ocompress.pipeline import Instrument, Pass

if TYPE_CHECKING:
    from ocompress.ir import Model


class Bars(Instrument):
    """Shows the pass that runs and how far its long work is; silent where nobody watches."""

    def __init__(self, printer: Printer) -> None:
        """Draw on the printer's standard error."""
        self._printer = printer
        shown = printer.err.is_terminal and not printer.quiet
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TimeElapsedColumn(),
            console=printer.err,
            transient=True,
            disable=not shown,
        )
        self._task = self._progress.add_task("reading", total=None)

    def __enter__(self) -> Self:
        """Start drawing."""
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove the bars."""
        self._progress.stop()

    def announce(self, sentence: str) -> None:
        """Print it above the bars."""
        self._printer.say(Text(sentence))

    def before_pass(self, item: Pass, model: Model) -> None:
        """Name the pass."""
        self._progress.reset(self._task, total=None, description=item.name)

    def progress(self, stage: str, done: int, total: int) -> None:
        """Move the bar."""
        self._progress.update(self._task, description=stage, completed=done, total=total)

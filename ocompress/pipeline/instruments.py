"""Hooks around passes: progress, dumps, reproducers. The manager prints nothing itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ocompress.errors import OutputError
from ocompress.io import atomic_write
from ocompress.io.atomic import failure
from ocompress.ir import Model, text

if TYPE_CHECKING:
    from ocompress.pipeline.base import Pass
    from ocompress.pipeline.records import PassRecord, PipelineResult


class Instrument:
    """Does nothing at every hook; override what you need."""

    def announce(self, sentence: str) -> None:
        """Called before any pass runs, with what the settings turned out to mean."""

    def before_pass(self, item: Pass, model: Model) -> None:
        """Called before a pass of the pipeline runs."""

    def after_pass(self, item: Pass, model: Model, record: PassRecord) -> None:
        """Called after a pass ran, was judged and possibly rolled back."""

    def on_failure(self, item: Pass, before: Model, error: Exception) -> None:
        """Called when a pass raised; `before` is the model it was given."""

    def progress(self, stage: str, done: int, total: int) -> None:
        """Called during long work, e.g. once per calibration batch."""


class Dump(Instrument):
    """Writes the text form of the model after every pass that changed it, into a folder."""

    def __init__(self, folder: Path) -> None:
        """Make the folder if it does not exist.

        Raises:
            OutputError: If it cannot be made.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(failure(folder, error)) from error
        self._folder = folder
        self._count = 0

    def after_pass(self, item: Pass, model: Model, record: PassRecord) -> None:
        """Write `NN-name.txt`."""
        self._count += 1
        if record.changed:
            path = self._folder / f"{self._count:02d}-{item.name}.txt"
            atomic_write(path, text(model))


@dataclass
class Prefixes(Instrument):
    """Keeps the model after every pass."""

    after: list[tuple[PassRecord, Model]] = field(default_factory=list)

    def after_pass(self, item: Pass, model: Model, record: PassRecord) -> None:
        """Keep it."""
        self.after.append((record, model))

    def of(
        self, result: PipelineResult, begun: Sequence[tuple[PassRecord, Model]] = ()
    ) -> list[tuple[PassRecord, Model]]:
        """Return the records of a result, each with the model after it.

        A pass that made something else than it should runs again with those before it, and only
        its last run counts.

        Args:
            result: What became of the pipeline.
            begun: What it began with.
        """
        models = {id(record): model for record, model in (*begun, *self.after)}
        found: list[tuple[PassRecord, Model]] = []
        for record in result.records:  # one that was taken back later is another record
            kept = models.get(id(record))
            found.append((record, kept if kept is not None else found[-1][1]))
        return found

"""What reports are made of beside rich's tables and texts.

Each part draws itself on a terminal; `markdown` and `webpage` know how to write it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.table import Column, Table
from rich.text import Text

_LEAST, _MOST = 8, 20
"""Width of a bar on a terminal, in blocks."""


class Tone(StrEnum):
    """How good news are."""

    GOOD = "good"
    MIXED = "mixed"
    BAD = "bad"


STYLES = {Tone.GOOD: "green", Tone.MIXED: "yellow", Tone.BAD: "red"}
"""How tones are written in rich's styles."""


@dataclass(frozen=True)
class Bar:
    """A share, drawn; the number stands in the cell before it.

    Attributes:
        part: What there is of it.
        whole: What would be all.
        gone: What was there before beside the part, drawn after it.
    """

    part: float
    whole: float
    gone: float = 0.0

    @property
    def share(self) -> float:
        """The share, 0 to 1."""
        return min(max(self.part / self.whole, 0.0), 1.0) if self.whole > 0 else 0.0

    def blocks(self, width: int = _MOST) -> str:
        """Draw it; what is not all is never drawn full, what is something never empty."""
        if self.whole <= 0:
            return ""
        full = round(width * self.share)
        if 0 < self.part < self.whole:
            full = min(max(full, 1), width - 1)
        lost = 0
        if self.gone > 0 and full < width:
            until = round(width * min((self.part + self.gone) / self.whole, 1.0))
            lost = max(until - full, 1)
        return "█" * full + "▒" * lost + "░" * (width - full - lost)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        """Give way to text where a terminal is narrow."""
        return Measurement(_LEAST, _MOST)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw blocks."""
        yield Text(self.blocks(max(min(options.max_width, _MOST), 2)), no_wrap=True)


def holds_bars(column: Column) -> bool:
    """Whether a column of a table holds nothing but bars, whose numbers stand before it."""
    cells = [cell for cell in column.cells if str(cell)]
    return bool(cells) and all(isinstance(cell, Bar) for cell in cells)


@dataclass(frozen=True)
class Heading:
    """A heading.

    Attributes:
        text: What follows.
        level: 2 for what the contents list, 3 for what is within that.
    """

    text: str
    level: int = 2

    def __rich__(self) -> RenderableType:
        """Stand apart from what was before."""
        return Text(f"\n{self.text}", style="bold")


class Note(Text):
    """A sentence that a reader must not miss; the terminal gets it beside what was asked for."""

    def __init__(self, sentence: str) -> None:
        """Take the sentence as it is, without markup."""
        super().__init__(f"note: {sentence}", style=STYLES[Tone.MIXED])


@dataclass(frozen=True)
class Fold:
    """Parts that readers open if they want to know.

    Attributes:
        summary: One line that says what is in it.
        parts: What is in it.
    """

    summary: str
    parts: tuple[RenderableType, ...]

    def __rich__(self) -> RenderableType:
        """Show everything: nothing can be opened on a terminal."""
        return Group(Text(self.summary, style="bold"), *self.parts)


@dataclass(frozen=True)
class Closing:
    """How it ended.

    Attributes:
        tone: How good that is.
        word: The end in a word or two.
        line: One line that sums it up.
        reasons: Why it is not better, one sentence each.
    """

    tone: Tone
    word: str
    line: str
    reasons: tuple[str, ...] = ()

    def __rich__(self) -> RenderableType:
        """Show the line alone; the program complains about the rest."""
        return Text(self.line, style=f"bold {STYLES[self.tone]}")


@dataclass(frozen=True)
class Figure:
    """A figure beside the one it is compared with.

    Attributes:
        label: What it is.
        value: What it is now.
        reference: What it is compared with, empty if nothing is.
        ratio: How the two relate, in text.
        share: What is drawn: the ratio, or the value where that is a share itself; None is nothing.
        headline: Whether it is one of those that matter most.
    """

    label: str
    value: str
    reference: str = ""
    ratio: str = ""
    share: float | None = None
    headline: bool = False


@dataclass(frozen=True)
class Figures:
    """Figures side by side.

    Attributes:
        rows: The figures.
        heads: What the references, the values and the relations are called.
        compared: Whether there is anything to compare with.
    """

    rows: tuple[Figure, ...]
    heads: tuple[str, str, str] = ("before", "after", "ratio")
    compared: bool = True

    @property
    def headlines(self) -> tuple[Figure, ...]:
        """Those that matter most."""
        return tuple(f for f in self.rows if f.headline)

    def table(self) -> Table:
        """Return a row for each."""
        reference, value, relation = self.heads
        found = Table(box=None, pad_edge=False)
        found.add_column("")
        for head in (reference, value, relation) if self.compared else (value,):
            found.add_column(head, justify="right", no_wrap=True)
        for row in self.rows:
            cells = (row.reference, row.value, row.ratio) if self.compared else (row.value,)
            found.add_row(*map(Text, (row.label, *cells)))
        return found

    def __rich__(self) -> RenderableType:
        """Be a table."""
        return self.table()


def facts(pairs: Mapping[str, object] | Iterable[tuple[str, object]]) -> Table:
    """Return names and what they stand for, one line each; what is empty is left out."""
    grid = Table.grid(padding=(0, 2))
    for name, value in pairs.items() if isinstance(pairs, Mapping) else pairs:
        if value in (None, "", [], ()):
            continue
        text = value if isinstance(value, Text) else Text(_joined(value), overflow="fold")
        grid.add_row(Text(name, style="dim"), text)
    return grid


def _joined(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def plain(part: RenderableType) -> str:
    """Return a text on one line, as it reads on a terminal."""
    text = part.plain if isinstance(part, Text) else Text.from_markup(str(part)).plain
    return " ".join(text.split())

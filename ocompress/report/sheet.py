"""Tables that stay readable on a narrow terminal."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.padding import Padding
from rich.segment import Segment
from rich.table import Column, Table

from ocompress.report.parts import holds_bars

_NAME, _SENTENCE = 24, 36
"""Columns that a name may take before it is folded, and those that sentences need at least."""


class Sheet(Table):
    """A table without lines; where it does not fit, it gives up what readers miss least.

    First go the bars, whose numbers stand beside them, then the second blank between columns; and
    sentences of the last column stand below the row that they belong to.
    """

    def __init__(self) -> None:
        """Begin with nothing."""
        super().__init__(box=None, pad_edge=False)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw it as wide as the terminal lets it."""
        widths = [_width(column, console, options) for column in self.columns]
        bars = [holds_bars(column) for column in self.columns]
        kept, gap = list(range(len(widths))), 2
        if _total(kept, widths, gap) > options.max_width:
            kept = [at for at in kept if not bars[at]]
        if _total(kept, widths, gap) > options.max_width:
            gap = 1
        over = _total(kept, widths, gap) > options.max_width
        if over and not self.columns[kept[-1]].no_wrap and widths[kept[-1]] > _NAME:
            part = self._part(kept[:-1], widths, 2, over=True)
            lines = _lines(Table.__rich_console__(part, console, options), console, options)
            if len(lines) == self.row_count + 1:  # where a name is folded, a row has several
                yield from _interleaved(lines, list(self.columns[kept[-1]].cells))
                return
        part = self._part(kept, widths, gap, over=over)
        yield from Table.__rich_console__(part, console, options)

    def _part(self, kept: Sequence[int], widths: Sequence[int], gap: int, *, over: bool) -> Table:
        """Return some of the columns; names are not folded where there is room for them."""
        part = copy.copy(self)
        part.collapse_padding = gap == 1
        part.columns = [
            replace(
                self.columns[at],
                _index=index,
                min_width=None if over or holds_bars(self.columns[at]) else min(widths[at], _NAME),
            )
            for index, at in enumerate(kept)
        ]
        return part


def _interleaved(
    lines: Sequence[Sequence[Segment]], below: Sequence[RenderableType]
) -> Iterator[Segment | Padding]:
    """Yield a head, and then row after row what belongs below it."""
    for line, cell in zip(lines, ["", *below], strict=True):
        yield from line
        yield Segment.line()
        if str(cell):
            yield Padding(cell, (0, 0, 0, 2))


def _lines(drawn: RenderResult, console: Console, options: ConsoleOptions) -> list[list[Segment]]:
    """Return the lines of what was drawn."""
    segments: list[Segment] = []
    for item in drawn:
        segments += [item] if isinstance(item, Segment) else console.render(item, options)
    return list(Segment.split_lines(segments))


def _total(kept: Sequence[int], widths: Sequence[int], gap: int) -> int:
    return sum(widths[at] for at in kept) + gap * (len(kept) - 1)


def _width(column: Column, console: Console, options: ConsoleOptions) -> int:
    """Return how wide a column has to be for everybody to read it."""
    wide = options.update(max_width=1000)
    cells = [column.header, *column.cells]
    sizes = [Measurement.get(console, wide, cell) for cell in cells]
    if holds_bars(column):
        return max(size.minimum for size in sizes)
    widest = max(size.maximum for size in sizes)
    if column.no_wrap:
        return widest
    return min(widest, _SENTENCE if any(" " in str(cell) for cell in cells) else _NAME)

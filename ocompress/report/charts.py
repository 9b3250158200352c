"""Points in a plane: drawn by characters on a terminal and in Markdown, as SVG in HTML."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.text import Text

from ocompress.report.elements import Html, joined, lines, tag

_WIDTH, _HEIGHT = 60, 14
"""Characters of a drawing, axes left out."""
_SIZE, _LEFT, _TOP, _RIGHT, _BOTTOM = (640, 330), 70, 28, 16, 44
"""Units of an SVG, and what of it is left for axes."""
_STEPS = 5
_FAR = 5.0
"""Times of what is allowed up to which models to compare with are drawn."""


class Mark(StrEnum):
    """What a point is; later ones are drawn over earlier ones."""

    OVER = "over"
    TRIED = "tried"
    BEST = "best"
    PEER = "peer"
    ORIGINAL = "original"
    CHOSEN = "chosen"


_SIGNS = {
    Mark.OVER: "x",
    Mark.TRIED: "·",
    Mark.BEST: "o",
    Mark.PEER: "◆",
    Mark.ORIGINAL: "□",
    Mark.CHOSEN: "●",
}
_MEANINGS = {
    Mark.OVER: "does not hold",
    Mark.TRIED: "holds",
    Mark.BEST: "holds, and none that loses less is better",
    Mark.PEER: "to compare with",
    Mark.ORIGINAL: "the original",
    Mark.CHOSEN: "chosen",
}


@dataclass(frozen=True)
class Point:
    """A point.

    Attributes:
        x: Along the lower axis.
        y: Along the left axis.
        label: What it stands for.
        mark: How it is drawn.
    """

    x: float
    y: float
    label: str
    mark: Mark


@dataclass(frozen=True)
class Scatter:
    """Points with two axes from 0 on; those beyond the right end are counted, not drawn.

    Attributes:
        points: The points.
        heads: What the axes are, the lower one and the left one.
        texts: Return the numbers of either axis for people.
        limit: What is allowed along the lower axis, drawn as a line; None for none.
        label: What it is about, for those who do not see it.
    """

    points: tuple[Point, ...]
    heads: tuple[str, str]
    texts: tuple[Callable[[float], str], Callable[[float], str]]
    limit: float | None = None
    label: str = ""

    @property
    def ends(self) -> tuple[float, float]:
        """The right end and the upper end."""
        allowed = self.limit or 0.0
        far = {Mark.OVER: 0.0, Mark.PEER: _FAR * allowed or math.inf}
        near = [p.x for p in self.points if p.x <= far.get(p.mark, math.inf)]
        right = 1.15 * max([*near, 2 * allowed], default=0.0)
        inside = [p.y for p in self.points if p.x <= right]
        top = 1.05 * max(inside, default=1.0)
        return _rounded(right or 1.0), _rounded(top or 1.0)

    @property
    def drawn(self) -> list[Point]:
        """The points that are drawn, what matters most last."""
        right, top = self.ends
        order = list(Mark)
        there = [p for p in self.points if p.x <= right and p.y <= top]
        return sorted(there, key=lambda p: order.index(p.mark))

    @property
    def beyond(self) -> str:
        """One sentence on what is not drawn, empty if all is."""
        right, _ = self.ends
        count = len(self.points) - len(self.drawn)
        models = "model loses" if count == 1 else "models lose"
        return f"{count} more {models} more than {self.texts[0](right)}" if count else ""

    @property
    def legend(self) -> list[tuple[Mark, str]]:
        """What the marks mean that are there."""
        there = {p.mark for p in self.drawn}
        return [(mark, _MEANINGS[mark]) for mark in Mark if mark in there]

    def rows(self, width: int = _WIDTH, height: int = _HEIGHT) -> Iterator[str]:
        """Yield the lines of a drawing by characters."""
        right, top = self.ends
        grid = [[" "] * width for _ in range(height)]
        if self.limit is not None:
            for line in grid:
                line[_at(self.limit, right, width)] = "│"
        for point in self.drawn:
            grid[height - 1 - _at(max(point.y, 0.0), top, height)][
                _at(max(point.x, 0.0), right, width)
            ] = _SIGNS[point.mark]
        texts = {0: self.texts[1](top), height // 2: self.texts[1](top / 2)}
        texts[height - 1] = self.texts[1](0.0)
        margin = max(map(len, texts.values()))
        yield self.heads[1]
        for at, line in enumerate(grid):
            yield f"{texts.get(at, ''):>{margin}} ┤{''.join(line)}".rstrip()
        yield f"{'':{margin}} └{'─' * width}"
        low, high = self.texts[0](0.0), self.texts[0](right)
        middle = self.heads[0].center(max(width - len(low) - len(high), 0))
        yield f"{'':{margin}}  {low}{middle}{high}"
        said = [f"{_SIGNS[mark]} {meaning}" for mark, meaning in self.legend]
        if self.limit is not None:
            said.append(f"│ at most {self.texts[0](self.limit)} may be lost")
        yield "; ".join(said)
        if self.beyond:
            yield self.beyond

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        """Take the width of a drawing, or what there is."""
        return Measurement(30, _WIDTH + 16)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw characters."""
        width = max(min(options.max_width - 16, _WIDTH), 20)
        for line in self.rows(width):
            yield Text(line)

    def svg(self) -> Html:
        """Return the drawing with its legend, for a page of HTML."""
        right, top = self.ends
        plane = _Plane(right, top)
        shapes = [*self._axes(plane), *self._front(plane)]
        if self.limit is not None:
            x = plane.x(self.limit)
            shapes.append(_line("limit", x, plane.y(top), x, plane.y(0)))
        shapes += [_dot(p, plane, self._said(p)) for p in self.drawn]
        drawing = tag(
            "svg",
            lines(shapes),
            class_="chart",
            viewBox=f"0 0 {_SIZE[0]} {_SIZE[1]}",
            role="img",
            aria_label=self.label,
        )
        return tag("figure", drawing, tag("figcaption", *self._caption()), class_="chart")

    def _said(self, point: Point) -> str:
        x, y = self.texts[0](point.x), self.texts[1](point.y)
        return f"{point.label}: {x}, {y}, {_MEANINGS[point.mark]}"

    def _caption(self) -> Iterator[Html]:
        for mark, meaning in self.legend:
            key = tag(
                "svg", _shape(mark, 6, 6), class_="key", viewBox="0 0 12 12", aria_hidden="true"
            )
            yield tag("span", key, meaning)
        if self.limit is not None:
            yield tag("span", f"dashed: at most {self.texts[0](self.limit)} may be lost")
        if self.beyond:
            yield tag("span", self.beyond)

    def _axes(self, plane: _Plane) -> Iterator[Html]:
        for share in range(_STEPS + 1):
            x, y = (end * share / _STEPS for end in (plane.right, plane.top))
            yield _line("grid", plane.x(0), plane.y(y), plane.x(plane.right), plane.y(y))
            yield _text(plane.x(x), plane.y(0) + 16, self.texts[0](x), "middle")
            yield _text(plane.x(0) - 8, plane.y(y) + 4, self.texts[1](y), "end")
        yield _line("axis", plane.x(0), plane.y(0), plane.x(plane.right), plane.y(0))
        yield _text(plane.x(plane.right), plane.y(0) + 34, self.heads[0], "end")
        yield _text(4, 12, self.heads[1], "start")

    def _front(self, plane: _Plane) -> Iterator[Html]:
        """Join the best points by steps: what can be had for what is lost."""
        best = sorted((p for p in self.drawn if p.mark in (Mark.BEST, Mark.CHOSEN)), key=_place)
        best = [p for at, p in enumerate(best) if all(p.y < o.y for o in best[:at])]
        if len(best) < 2:
            return
        path = f"M{plane.x(best[0].x):.1f} {plane.y(best[0].y):.1f}"
        for point in best[1:]:
            path += f"H{plane.x(point.x):.1f}V{plane.y(point.y):.1f}"
        yield tag("path", d=path, class_="front")


def _place(point: Point) -> tuple[float, float]:
    return point.x, point.y


@dataclass(frozen=True)
class _Plane:
    """Where numbers lie in an SVG."""

    right: float
    top: float

    def x(self, value: float) -> float:
        inner = _SIZE[0] - _LEFT - _RIGHT
        return _LEFT + inner * min(max(value / self.right, 0.0), 1.0)

    def y(self, value: float) -> float:
        inner = _SIZE[1] - _TOP - _BOTTOM
        return _SIZE[1] - _BOTTOM - inner * min(max(value / self.top, 0.0), 1.0)


def _dot(point: Point, plane: _Plane, said: str) -> Html:
    shape = _shape(point.mark, plane.x(point.x), plane.y(point.y))
    return tag("g", tag("title", said), shape)


def _shape(mark: Mark, x: float, y: float) -> Html:
    if mark is Mark.OVER:
        path = f"M{x - 3:.1f} {y - 3:.1f}l6 6m0 -6l-6 6"
        return tag("path", d=path, class_=mark.value)
    if mark is Mark.PEER:
        path = f"M{x:.1f} {y - 6:.1f}l6 6l-6 6l-6 -6Z"
        return tag("path", d=path, class_=mark.value)
    if mark is Mark.ORIGINAL:
        return tag("path", d=f"M{x - 4:.1f} {y - 4:.1f}h8v8h-8Z", class_=mark.value)
    radius = {Mark.TRIED: 2.5, Mark.BEST: 4.0}.get(mark, 6.0)
    return tag("circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r=f"{radius}", class_=mark.value)


def _line(kind: str, x1: float, y1: float, x2: float, y2: float) -> Html:
    return tag("path", d=f"M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}", class_=kind)


def _text(x: float, y: float, text: str, anchor: str) -> Html:
    return tag("text", joined(text), x=f"{x:.1f}", y=f"{y:.1f}", text_anchor=anchor)


def _at(value: float, end: float, count: int) -> int:
    """Return the cell of a number, where `count` cells go up to an end."""
    return min(round(min(value / end, 1.0) * (count - 1)), count - 1)


def _rounded(end: float) -> float:
    """Return a number that is a little larger and divides well."""
    step = float(10.0 ** math.floor(math.log10(end)))
    steps: Sequence[float] = (1, 1.25, 1.5, 2, 2.5, 3, 4, 5, 6, 7.5, 10)
    return next((s * step for s in steps if s * step >= end * (1 - 1e-9)), 10 * step)

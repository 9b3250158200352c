"""Reports as one page of HTML that needs nothing but itself: no network, no scripts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from importlib import resources

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from ocompress import __version__
from ocompress.report.charts import Scatter
from ocompress.report.elements import Html, lines, tag
from ocompress.report.parts import Bar, Closing, Figure, Figures, Fold, Heading, Tone, plain
from ocompress.report.webtables import bar, class_of, definitions, scrolling

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
"""Nothing is loaded and nothing runs, whatever names of nodes hold."""


def webpage(title: str, parts: Iterable[RenderableType]) -> str:
    """Return a page of HTML.

    Args:
        title: Its heading.
        parts: What the terminal gets: tables, lines of text, and the parts of `parts`.

    Raises:
        TypeError: If a part is something else.
    """
    body = _Body()
    main = tag("main", *body.sections(parts))
    links = [tag("li", tag("a", text, href=f"#{name}")) for name, text in body.contents]
    contents = tag("nav", tag("ul", *links), aria_label="Contents") if links else ""
    head = tag("header", tag("h1", title), contents)
    foot = tag("footer", f"ocompress {__version__}")
    page = tag("html", _head(title), tag("body", head, "\n", main, "\n", foot), lang="en")
    return f"<!doctype html>\n{page}\n"


def _head(title: str) -> Html:
    sheet = resources.files("ocompress.report").joinpath("webpage.css")
    return tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("link", rel="icon", href="data:,"),  # else browsers ask the server for one
        tag("title", title),
        tag("style", Html(sheet.read_text(encoding="utf-8"))),
    )


class _Body:
    """Writes parts one after the other, and remembers under which heading they stand."""

    def __init__(self) -> None:
        self.contents: list[tuple[str, str]] = []
        self._label = "Summary"

    def sections(self, parts: Iterable[RenderableType]) -> list[Html]:
        """Return a section for what comes first, and one for each heading of level 2."""
        found: list[list[Html]] = [[]]
        for part in parts:
            if isinstance(part, Heading) and part.level == 2:
                found.append([])
            found[-1].extend(self._written(part))
        return [tag("section", lines(content)) for content in found if content]

    def _written(self, part: RenderableType) -> Iterator[Html]:
        """Return what becomes of one part; empty lines are for terminals."""
        if isinstance(part, Heading):
            yield self._heading(part)
        elif isinstance(part, Figures):
            yield _cards(part)
            yield scrolling(part.table(), self._label)
        elif isinstance(part, Closing):
            yield _closing(part)
        elif isinstance(part, Scatter):
            yield part.svg()
        elif isinstance(part, Fold):
            yield self._fold(part)
        elif isinstance(part, Table):
            yield scrolling(part, self._label) if part.show_header else definitions(part)
        elif isinstance(part, Text | str):
            if text := plain(part):
                yield tag("p", text, class_=class_of(part))
        else:
            msg = f"{type(part).__name__} has no form in HTML"
            raise TypeError(msg)

    def _heading(self, part: Heading) -> Html:
        self._label = part.text
        if part.level > 2:
            return tag(f"h{part.level}", part.text)
        name = f"part-{len(self.contents) + 1}"
        self.contents.append((name, part.text))
        return tag("h2", part.text, id=name)

    def _fold(self, part: Fold) -> Html:
        outside, self._label = self._label, part.summary
        inner = [written for p in part.parts for written in self._written(p)]
        self._label = outside
        return tag("details", tag("summary", part.summary), *inner)


_MARKS = {Tone.GOOD: "✓", Tone.MIXED: "!", Tone.BAD: "✗"}


def _closing(part: Closing) -> Html:
    mark = tag("span", _MARKS[part.tone], class_="mark", aria_hidden="true")
    reasons = [tag("li", reason) for reason in part.reasons]
    return tag(
        "div",
        tag("p", mark, tag("strong", part.word)),
        tag("p", part.line),
        tag("ul", *reasons) if reasons else "",
        class_=f"closing {part.tone}",
    )


def _cards(part: Figures) -> Html:
    cards = [tag("li", *_card(figure, part.heads)) for figure in part.headlines]
    return tag("ul", *cards, class_="cards") if cards else Html()


def _card(figure: Figure, heads: tuple[str, str, str]) -> Iterator[Html]:
    value, _, spread = figure.value.partition(" (")
    yield tag("span", figure.label, class_="label")
    yield tag("span", value, class_="value")
    if spread:
        yield tag("span", f"({spread}", class_="note")
    if figure.reference:
        yield tag("span", f"{heads[0]} {figure.reference}", class_="note")
    if figure.ratio:
        known = figure.ratio[0].isdigit()  # a drop says itself what it is
        yield tag("span", f"{heads[2]} {figure.ratio}" if known else figure.ratio, class_="note")
    if figure.share is not None:
        yield bar(Bar(figure.share, 1.0))

"""Reads pages of HTML back, so that tests can ask what is in them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = frozenset({"br", "col", "link", "meta", "wbr"})


@dataclass
class Element:
    """One element: its attributes, and elements and texts in it."""

    name: str
    attributes: dict[str, str]
    content: list[Element | str] = field(default_factory=list)

    def all(self, *names: str) -> list[Element]:
        """Return the elements of these names within, in order."""
        return [e for e in self.walk() if e.name in names]

    def one(self, name: str) -> Element:
        """Return the only element of a name."""
        (found,) = self.all(name)
        return found

    def of_class(self, word: str) -> list[Element]:
        """Return the elements of a class within, in order."""
        return [e for e in self.walk() if word in e.attributes.get("class", "").split()]

    @property
    def children(self) -> list[Element]:
        """The elements directly within."""
        return [c for c in self.content if isinstance(c, Element)]

    @property
    def text(self) -> str:
        """All texts within, as they read."""
        return "".join(c if isinstance(c, str) else c.text for c in self.content)

    def walk(self) -> Iterator[Element]:
        """Yield all elements within."""
        for child in self.children:
            yield child
            yield from child.walk()


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open = [Element("", {})]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"<{tag}> has an attribute twice"
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.open[-1].content.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1].name == tag, f"</{tag}> ends <{self.open[-1].name}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].content.append(data)


def read(page: str) -> Element:
    """Return the page as a tree; tags that are not in pairs are an error."""
    reader = _Reader()
    reader.feed(page)
    reader.close()
    assert len(reader.open) == 1, f"<{reader.open[-1].name}> is not ended"
    return reader.open[0]


def width(cells: list[Element]) -> int:
    """Return the columns that cells take."""
    return sum(int(c.attributes.get("colspan", 1)) for c in cells)


def check(tree: Element) -> None:
    """Assert what every page must hold."""
    for table in tree.all("table"):
        rows = [row.children for row in table.all("tr")]
        assert len({width(row) for row in rows}) == 1, table.text
        assert table.one("caption").text
        for head in table.one("thead").all("th"):
            assert head.attributes["scope"] == "col"
            assert head.text
        for row in table.one("tbody").all("tr"):
            assert row.children[0].attributes["scope"] == "row"
    for box in tree.of_class("scroll"):
        assert box.attributes["tabindex"] == "0"
        assert box.attributes["aria-label"]
    for details in tree.all("details"):
        assert details.children[0].name == "summary"
        assert len(details.children) > 1
    names = [e.attributes["id"] for e in tree.walk() if "id" in e.attributes]
    assert len(names) == len(set(names))
    for link in tree.all("a"):
        assert link.attributes["href"].removeprefix("#") in names
    assert_alone(tree)


def assert_alone(tree: Element) -> None:
    """Assert that nothing is loaded and nothing runs."""
    assert not tree.all("script", "iframe", "object", "embed", "img", "base", "form")
    for element in tree.walk():
        for name, value in element.attributes.items():
            assert not name.startswith("on"), name
            if name in {"href", "src", "srcset", "action", "data", "poster", "xlink:href"}:
                assert value.startswith(("#", "data:")), value
    sheet = tree.one("style").text
    assert "url(" not in sheet
    assert "@import" not in sheet

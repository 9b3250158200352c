"""Parts of reports as one page of HTML."""

from __future__ import annotations

import re

import pytest
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ocompress.report import webpage
from ocompress.report.elements import Html, tag
from ocompress.report.parts import (
    Bar,
    Closing,
    Figure,
    Figures,
    Fold,
    Heading,
    Tone,
    facts,
)
from ocompress.report.sheet import Sheet
from tests.report.parse import Element, check, read

EVIL = "<script>alert(\"1\")</script> & 'x' [/b] </style> &lt;"


def table(name: str = "conv1", *, part: float = 16) -> Table:
    found = Table(box=None)
    found.add_column("layer", overflow="fold")
    found.add_column("kept", justify="right", no_wrap=True)
    found.add_column("")
    found.add_column("why", overflow="fold")
    found.add_row(Text(name), "16 -> 8", Bar(part, 64), Text("no", style="red"))
    return found


def parts(name: str = "conv1") -> list[object]:
    figures = (
        Figure("size", "1 kB (0-2)", "4 kB", "0.250", 0.25, headline=True),
        Figure(name, "9"),
        Figure("slow", "2 ms", "1 ms", "2.00", 2.0, headline=True),
    )
    return [
        Closing(Tone.BAD, "Refused", f"wrote {name}", (name, "because")),
        Figures(figures),
        Text(f"note: {name}", style="yellow"),
        Text(""),
        Heading("Asked"),
        facts({"model": name, "none": None, "passes": ["a", "b"]}),
        Heading(name),
        Heading("inner", 3),
        table(name),
        Fold(f"left alone: {name}", (table(name), Text("so it is", style="dim"))),
    ]


def page(*given: object) -> Element:
    tree = read(webpage("a title", given or parts()))  # type: ignore[arg-type]
    check(tree)
    return tree


def test_names_of_nodes_are_text_wherever_they_stand() -> None:
    text = webpage(EVIL, parts(EVIL))  # type: ignore[arg-type]
    tree = read(text)
    check(tree)
    assert tree.one("title").text == EVIL
    assert tree.one("h1").text == EVIL
    assert tree.all("h2")[1].text == EVIL
    assert tree.one("nav").all("a")[1].text == EVIL
    assert tree.one("summary").text == f"left alone: {EVIL}"
    assert [c.text for c in tree.all("th") if c.attributes["scope"] == "row"].count(EVIL) == 3
    assert tree.one("dl").all("dd")[0].text == EVIL
    assert tree.one("details").one("div").attributes["aria-label"] == f"left alone: {EVIL}"
    assert "<script" not in text


def test_the_page_says_how_it_ended_before_all_else() -> None:
    first = page().one("main").children[0].children[0]
    assert first.attributes["class"] == "closing bad"
    assert first.one("strong").text == "Refused"
    assert [e.text for e in first.all("li")] == ["conv1", "because"]


def test_headlines_are_cards_and_all_figures_a_table() -> None:
    tree = page()
    small, slow = tree.of_class("cards")[0].all("li")
    assert [e.text for e in small.all("span")] == [
        "size", "1 kB", "(0-2)", "before 4 kB", "ratio 0.250",
    ]  # fmt: skip
    assert small.of_class("part")[0].attributes["width"] == "25"
    assert slow.of_class("over")[0].attributes["width"] == "100"
    rows = [r.text for r in tree.all("table")[0].all("tr")]
    assert rows[1:] == ["size4 kB1 kB (0-2)0.250", "conv19", "slow1 ms2 ms2.00"]


def test_heads_span_the_bars_beside_their_numbers() -> None:
    tree = page(table())
    heads = tree.one("thead").all("th")
    assert [h.text for h in heads] == ["layer", "kept", "why"]
    assert [h.attributes.get("colspan") for h in heads] == [None, "2", None]
    cells = tree.one("tbody").one("tr").children
    assert [c.text for c in cells] == ["conv1", "16 → 8", "", "no"]
    assert cells[2].of_class("part")[0].attributes["width"] == "25"
    assert cells[3].one("span").attributes["class"] == "bad"


@pytest.mark.parametrize(("part", "drawn"), [(0, "0"), (0.01, "2"), (63.9, "98"), (64, "100")])
def test_bars_show_neither_all_nor_nothing_by_mistake(part: float, drawn: str) -> None:
    (bar,) = page(table(part=part)).of_class("part")
    assert bar.attributes["width"] == drawn


def test_arrows_are_drawn_between_numbers_and_left_in_names() -> None:
    cells = page(table("a -> b")).one("tbody").one("tr").children
    assert [c.text for c in cells[:2]] == ["a -> b", "16 → 8"]


def test_long_names_may_break_at_slashes() -> None:
    assert len(page(table("/a/b/c")).all("wbr")) == 3
    assert page(table("/a/b/c")).one("tbody").all("th")[0].text == "/a/b/c"


def test_sections_have_headings_and_the_contents_lead_to_them() -> None:
    tree = page()
    assert [s.children[0].name for s in tree.all("section")] == ["div", "h2", "h2"]
    assert [a.text for a in tree.one("nav").all("a")] == ["Asked", "conv1"]
    assert [t.one("caption").text for t in tree.all("table")] == [
        "Summary", "inner", "left alone: conv1",
    ]  # fmt: skip
    assert not page(Text("nothing else")).all("nav")


def test_empty_lines_and_empty_facts_are_not_written() -> None:
    tree = page()
    assert [p.text for p in tree.all("p") if p.attributes.get("class") == "mixed"] == [
        "note: conv1"
    ]
    assert all(p.text for p in tree.all("p"))
    assert [(t.text, d.text) for t, d in zip(tree.all("dt"), tree.all("dd"), strict=True)] == [
        ("model", "conv1"), ("passes", "a b"),
    ]  # fmt: skip


def test_the_same_parts_give_the_same_page() -> None:
    assert webpage("t", parts()) == webpage("t", parts())  # type: ignore[arg-type]


def test_what_has_no_form_in_html_is_an_error() -> None:
    with pytest.raises(TypeError, match="Console"):
        webpage("title", [Console()])  # type: ignore[list-item]


def test_text_is_escaped_unless_it_is_known_to_be_html() -> None:
    assert tag("p", "<b>", Html("<i>"), class_="", title='"', hidden=None) == (
        '<p title="&quot;">&lt;b&gt;<i></p>'
    )
    # what is put together by hand is text again, and so is escaped
    assert tag("p", "\n" + tag("b", "x")) == "<p>\n&lt;b&gt;x&lt;/b&gt;</p>"


@pytest.mark.parametrize("scheme", [0, 1])
def test_texts_stand_out_from_what_is_behind_them(scheme: int) -> None:
    sheet = page().one("style").text
    blocks = re.findall(r":root \{([^}]*)\}", sheet)
    colors = dict(re.findall(r"--(\w+): (#\w{6})", blocks[scheme]))
    for text in ("text", "quiet", "accent", "good", "mixed", "bad"):
        for behind in ("page", "box"):
            assert contrast(colors[text], colors[behind]) >= 4.5, (text, behind)
    assert contrast(colors["accent"], colors["rest"]) >= 3


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours as the Web Content Accessibility Guidelines define it."""

    def luminance(color: str) -> float:
        channels = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_a_word_without_a_head_has_none_of_its_neighbour() -> None:
    sheet = Sheet()
    for heading in ("tried", "size", ""):
        sheet.add_column(heading, justify="right" if heading == "size" else "left")
    sheet.add_row("quant", "0.26", Text("kept"))
    cells = page(sheet).one("thead").one("tr").children
    assert [c.text for c in cells] == ["tried", "size", ""]
    assert [c.attributes.get("colspan") for c in cells] == [None] * 3

"""What the pages of an optimization hold, made of a real record."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ocompress import optimize
from ocompress.diagnostics import Remark, Severity
from ocompress.ir import Model
from ocompress.pipeline import Status
from ocompress.report import Optimization, in_form_of, markdown, pages, webpage
from ocompress.report.parts import Tone
from ocompress.report.tables_outcome import closing
from ocompress.validation import Check
from tests.build import Builder
from tests.graphs import ZOO
from tests.report.parse import Element, check, read

EVIL = "<script>alert(1)</script>[/x]"
DATA = {"x": np.random.default_rng(0).standard_normal((8, 16)).astype(np.float32)}


def model() -> Model:
    """Return a net with a node whose name is written to do harm."""
    made = ZOO["mlp"]()
    node = next(n for n in made.graph.nodes if n.op_type == "Gemm")
    node.name = EVIL
    return made


@pytest.fixture(scope="module")
def pruned() -> Optimization:
    return optimize(
        model(), passes="prune{sparsity=0.75 protect_ends=true}", data=DATA, measure=False
    )


def ended(done: Optimization, *states: Status, **more: Any) -> Optimization:
    """Return the record as if its passes had ended in another way."""
    first, item = done.pipeline.records
    records = [dataclasses.replace(item, name=f"p{at}", status=s) for at, s in enumerate(states)]
    changed = dataclasses.replace(done.pipeline, records=(first, *records))
    return dataclasses.replace(done, pipeline=changed, **more)


def page_of(done: Optimization, failures: tuple[str, ...] = ()) -> Element:
    asked: Mapping[str, Any] = done.settings
    tree = read(webpage("t", pages.optimization(done, asked, failures)))
    check(tree)
    return tree


def test_the_page_has_everything_in_the_order_in_which_readers_ask(pruned: Optimization) -> None:
    tree = page_of(pruned)
    assert [h.text for h in tree.all("h2")] == [
        "What was asked", "Where it was measured", "Passes",
        "Why each layer is as it is", "canonicalize", "prune",
        "Where the bytes of an archive are", "Checks", "Outputs",
    ]  # fmt: skip
    labels = [e.text for e in tree.of_class("label")]
    assert labels == ["file size", "multiply-adds", "latency p50", "agreement"]
    assert [e.text for e in tree.of_class("value")][2] == "not measured"


def test_layers_have_bars_and_what_was_left_alone_is_folded(pruned: Optimization) -> None:
    tree = page_of(pruned)
    section = next(s for s in tree.all("section") if s.children[0].text == "prune")
    layers = section.all("table")[0]
    assert len(layers.of_class("bar")) == len(layers.one("tbody").all("tr")) == 3
    row = next(r for r in layers.one("tbody").all("tr") if EVIL in r.text)
    assert row.children[1].text.endswith("of 512")
    assert "first-layer: it is a first layer and protect_ends is on" in row.text
    summaries = [s.text for s in section.all("summary")]
    assert "left alone, first-layer: 1; it is a first layer and protect_ends is on" in summaries
    inside = next(
        d for d in section.all("details") if "left alone, first-layer" in d.children[0].text
    )
    assert inside.one("tbody").all("th")[0].text == EVIL


def test_the_same_record_gives_the_same_page(pruned: Optimization) -> None:
    first, second = (
        webpage("t", pages.optimization(pruned, pruned.settings, ())) for _ in range(2)
    )
    assert first == second


def test_markdown_has_the_same_headings_and_tables(pruned: Optimization) -> None:
    text = markdown("t", pages.optimization(pruned, pruned.settings, ()))
    tree = page_of(pruned)
    assert [line[3:] for line in text.splitlines() if line.startswith("## ")] == [
        h.text for h in tree.all("h2")
    ]
    assert text.count("| --- ") + text.count("| ---: ") > 0
    rules = [x for x in text.splitlines() if x.startswith("| --") and set(x) <= set("|-: ")]
    assert len(rules) == len(tree.all("table")) + len(tree.all("dl"))
    assert text.count("<details>") == text.count("</details>") == len(tree.all("details"))
    assert "<script" not in text.replace("\\<script", "")


@pytest.mark.parametrize(
    ("states", "broken", "word"),
    [
        ((Status.APPLIED,), (), "Made"),
        ((Status.UNCHANGED,), (), "Nothing changed"),
        ((Status.APPLIED, Status.UNCHANGED), (), "Changed in part"),
        ((Status.ROLLED_BACK,), ("too much",), "Refused"),
        ((Status.APPLIED, Status.ROLLED_BACK), ("too much",), "Refused in part"),
        ((Status.APPLIED,), ("too slow",), "Over budget"),
        ((), (), "Made"),
    ],
)
def test_the_end_in_a_word(
    pruned: Optimization, states: tuple[Status, ...], broken: tuple[str, ...], word: str
) -> None:
    done = ended(pruned, *states, broken=broken)
    assert closing(done).word == word
    assert closing(done).reasons == broken
    assert page_of(done, broken).one("strong").text == word


def test_a_collapsed_output_is_the_end_in_a_word(pruned: Optimization) -> None:
    lost = Check("related", False, 0, 1, "output 'y' collapsed: it is the same for every input")
    found = dataclasses.replace(pruned.validation, related=(lost,))
    done = ended(pruned, Status.APPLIED, validation=found, broken=(lost.message,))
    assert (closing(done).tone, closing(done).word) == (Tone.BAD, "Collapsed")
    assert lost.message in page_of(done).text


def test_the_end_tells_a_new_file_from_one_that_was_there(pruned: Optimization) -> None:
    for touched, word in ((True, "Written"), (False, "Up to date")):
        done = ended(pruned, Status.APPLIED, output=Path("out.onnx"), touched=touched)
        assert closing(done).word == word


def test_nothing_changed_is_bad_news_only_where_it_is_a_failure(pruned: Optimization) -> None:
    done = ended(pruned, Status.UNCHANGED)
    assert closing(done).tone == "mixed"
    assert closing(done, ["with --strict every pass must change something"]).tone == "bad"


def test_a_pass_that_finds_nothing_says_so(pruned: Optimization) -> None:
    nothing = "nothing in the model matches what it looks for"
    done = optimize(model(), passes="merge-layers", measure=False)
    assert page_of(done).text.count(nothing) == 2
    assert nothing not in page_of(pruned).text


def test_what_others_said_is_not_lost(pruned: Optimization) -> None:
    remark = Remark("elsewhere", Severity.WARNING, "odd", "it is odd", EVIL, "Gemm")
    said = dataclasses.replace(
        pruned.pipeline.diagnostics, remarks=[*pruned.pipeline.diagnostics, remark]
    )
    result = dataclasses.replace(pruned.pipeline, diagnostics=said)
    tree = page_of(dataclasses.replace(pruned, pipeline=result))
    section = next(s for s in tree.all("section") if s.children[0].text == "Other remarks")
    assert section.one("summary").text == "elsewhere, warning, odd: 1; it is odd"
    assert section.one("tbody").all("th")[0].text == EVIL


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("r.md", "# t\n"),
        ("r.MD", "# t\n"),
        ("r.html", "<!doctype html>\n"),
        ("r.HTM", "<!doctype html>\n"),
        ("r.json", "{\n"),
        ("report", "{\n"),
    ],
)
def test_the_name_of_the_file_chooses_the_form(name: str, start: str) -> None:
    assert in_form_of(Path(name), {"a": 1}, "t", []).startswith(start)


def test_what_members_of_a_family_leave_alone_is_in_the_row_of_the_family() -> None:
    b = Builder()
    b.op("Einsum", b.input("x", ["n", 4, 16]), b.weight(16, 8), equation="bid,df->bf", to="y")
    b.output("y", ["n", 8])
    done = optimize(b.model(), passes="merge-layers", measure=False)
    first, _ = done.pipeline.records
    assert done.declined(first) == {"summed-operand": 1}
    assert "left alone: summed-operand 1" in to_plain(done)


def to_plain(done: Optimization) -> str:
    return " ".join(markdown("t", pages.optimization(done, done.settings, ())).split())

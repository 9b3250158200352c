"""`--report` with names that end in .md and .html, of all commands that have it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ocompress.io import load_model, save_model
from tests.cli.conftest import Call
from tests.report.parse import Element, check, read

QUICK = ("--no-profile", "--data", "d.npz")
EVIL = "<script>alert(1)</script>[/x]"


def page(path: str) -> Element:
    tree = read(Path(path).read_text(encoding="utf-8"))
    check(tree)
    return tree


def test_optimize_with_a_name_that_means_harm(here: Path, call: Call) -> None:
    model = load_model(here / "in.onnx")
    for at, node in enumerate(model.graph.nodes):
        node.name = f"{EVIL}{at}"
    save_model(model, here / "in.onnx")
    line = "optimize in.onnx out.onnx --passes prune{sparsity=0.75} --report r.html -v"
    ended = call(*line.split(), *QUICK)
    assert ended.code == 0, ended.err
    tree = page("r.html")
    assert tree.one("h1").text == "ocompress optimize in.onnx"
    assert tree.one("strong").text == "Written"
    assert any(EVIL in head.text for head in tree.all("th"))
    assert EVIL in ended.out  # the terminal takes it for text, too


def test_factorize_says_which_candidates_lost(here: Path, call: Call) -> None:
    model = load_model(here / "in.onnx")
    for at, node in enumerate(model.graph.nodes):
        node.name = f"[/x]{at}"
    save_model(model, here / "in.onnx")
    line = "optimize in.onnx out.onnx --passes factorize{max_macs=0.9} --allow-larger"
    ended = call(*line.split(), "--report", "r.html", *QUICK)
    assert ended.code == 0, ended.err
    assert "[/x]" in ended.out
    folded = [d for d in page("r.html").all("details") if "rejected candidates" in d.text]
    assert folded
    for details in folded:
        summary = details.children[0].text
        assert int(summary.rpartition(": ")[2]) == len(details.one("tbody").all("tr"))


def test_what_was_refused_is_said_on_top(call: Call, here: Path) -> None:
    line = "optimize in.onnx out.onnx --max-drop 0.01 --report r.htm --passes"
    ended = call(*line.split(), "prune{sparsity=0.99 protect_ends=false smallest=0}", *QUICK)
    assert ended.code == 1
    first = page("r.htm").one("main").children[0].children[0]
    assert first.one("strong").text == "Refused"
    assert "prune was rolled back" in first.one("ul").text
    assert (here / "out.onnx").exists()


def test_strict_failures_are_reasons(here: Path, call: Call) -> None:
    line = "optimize in.onnx out.onnx --passes prune{exclude=[*]} --strict --report r.html"
    ended = call(*line.split(), *QUICK)
    assert ended.code == 1
    tree = page("r.html")
    assert tree.one("strong").text == "Nothing changed"
    assert "with --strict" in tree.of_class("closing")[0].one("ul").text
    assert (here / "r.html").exists()


def test_validate(here: Path, call: Call) -> None:
    line = "validate in.onnx in.onnx --data d.npz --report"
    assert call(*line.split(), "r.html").code == 0
    tree = page("r.html")
    assert tree.one("strong").text == "Passed"
    labels = [e.text for e in tree.of_class("label")]
    assert labels == ["SQNR", "agreement", "accuracy"]
    assert "checker" in tree.all("table")[1].text
    assert call(*line.split(), "r.md").code == 0
    text = (here / "r.md").read_text()
    assert text.startswith("# ocompress validate in.onnx\n\n**Passed**: passed: 9 checks\n")
    (here / "gate.toml").write_text("max_size_ratio = 0.5\n")
    assert call(*line.split(), "f.html", "--gate", "gate.toml").code == 1
    closing = page("f.html").of_class("closing")[0]
    assert closing.one("strong").text == "Failed"
    assert "max_size_ratio" in closing.one("ul").text


def test_profile(here: Path, call: Call) -> None:
    line = "profile in.onnx --seconds 0.05 --per-node --report"
    assert call(*line.split(), "r.html").code == 0
    tree = page("r.html")
    assert [e.text for e in tree.of_class("label")] == [
        "latency p50", "file size", "multiply-adds", "peak memory",
    ]  # fmt: skip
    assert [h.text for h in tree.all("h2")][-2:] == ["Time by operator", "Time by layer"]
    assert tree.all("table")[-1].of_class("bar")
    assert call(*line.split(), "r.md", "--against", "in.onnx").code == 0
    text = (here / "r.md").read_text()
    assert text.startswith("# ocompress profile in.onnx\n\n|  | against | model | ratio |\n")
    assert "| Gemm |" in text


@pytest.mark.usefixtures("here")
def test_validate_on_a_device(call: Call) -> None:
    line = "validate in.onnx in.onnx --data d.npz --target local --report r.html"
    ended = call(*line.split())
    assert ended.code == 0, ended.err
    tree = page("r.html")
    assert tree.all("h2")[-1].text == "There and here"
    names = [t.text for t in tree.all("dt")]
    assert names[-4:] == ["compared on", "device", "features", "here"]

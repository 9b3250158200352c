"""What goes where: tables to standard output, messages to standard error, `-` for reports."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.cli.conftest import Call

DISTILL = "distill in.onnx out.onnx --student macs=0.9 -p prune{sparsity=0.1} --no-profile"
OPTIMIZE = "optimize in.onnx out.onnx -p prune --no-profile --data d.npz"
VALIDATE = "validate in.onnx in.onnx --data d.npz"
PROFILE = "profile in.onnx --seconds 0.02"
TABLES = {
    OPTIMIZE: ("file size", "canonicalize  applied"),
    VALIDATE: ("SQNR", "passed:"),
    PROFILE: ("latency p50", "machine"),
    "inspect in.onnx": ("would do", "operators"),
    "passes": ("what it does", "prune"),
}


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("line", TABLES)
def test_tables_are_on_standard_output_alone(line: str, call: Call) -> None:
    ended = call(*line.split())
    assert ended.code == 0
    for words in TABLES[line]:
        assert words in ended.out
        assert words not in ended.err
    assert "note: " not in ended.out


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("told", ["", "80", "60", "wide"])
def test_pipes_are_as_wide_as_columns_says(
    told: str, call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", told)
    width = int(told) if told.isdecimal() else 110
    widest = max(map(len, call("passes").out.splitlines()))
    assert width - 20 < widest <= width


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("line", TABLES)
def test_json_is_all_there_is_on_standard_output(line: str, call: Call) -> None:
    ended = call(*line.split(), "--json")
    assert json.loads(ended.out)["schema"] == 2
    for words in TABLES[line]:
        assert words not in ended.err


@pytest.mark.usefixtures("here")
def test_messages_are_on_standard_error(call: Call) -> None:
    line = "optimize in.onnx out.onnx -p prune --synthetic-data 4 --no-profile"
    ended = call(*line.split())
    for words in ("note: calibrated on RANDOM NUMBERS", "wrote 'out.onnx'", "passes "):
        assert words in ended.err
        assert words not in ended.out.replace("left alone", "")
    ended = call(*PROFILE.split())
    assert "note: input 'x': guessed" in ended.err


@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("line", [OPTIMIZE, DISTILL, VALIDATE, PROFILE])
def test_a_report_on_standard_output(line: str, call: Call) -> None:
    command, _, _ = line.partition(" ")
    report = json.loads(call(*line.split(), "--report", "-").out)
    assert report["command"] == command
    page = call(*line.split(), "--report", "-", "--report-format", "md").out
    assert page.startswith(f"# ocompress {command} ")
    assert "<html" in call(*line.split(), "--report", "-", "--report-format", "html").out
    assert not Path("-").exists()


@pytest.mark.usefixtures("here")
def test_junit_on_standard_output(call: Call) -> None:
    ended = call(*VALIDATE.split(), "--junit", "-")
    assert ET.fromstring(ended.out).find("testsuite") is not None


def test_a_report_format_overrules_the_name(here: Path, call: Call) -> None:
    line = f"{VALIDATE} --report r.html --report-format json"
    assert call(*line.split()).code == 0
    assert json.loads((here / "r.html").read_text())["passed"] is True


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (f"{VALIDATE} --report - --json", "--report and --json all print on standard output"),
        (f"{VALIDATE} --report - --junit -", "--report and --junit all print"),
        (f"{VALIDATE} --report-format md", "--report-format needs a report"),
        (f"{VALIDATE} --report - --report-format pdf", "'pdf' is not one of json, md, html"),
        (f"{OPTIMIZE} --depfile -", "a dependency list is for a file"),
        ("optimize in.onnx - -p prune --no-profile --data d.npz", "the output cannot be -"),
        ("optimize - out.onnx -p prune --no-profile --data d.npz", "the model cannot be -"),
        (f"{OPTIMIZE} --summary out.onnx", "same file"),
    ],
)
@pytest.mark.usefixtures("here")
def test_what_cannot_be_printed_together(line: str, says: str, call: Call) -> None:
    ended = call(*line.split())
    assert ended.code == 2
    assert says in ended.complaint
    assert ended.out == ""
    assert not Path("-").exists()
    assert not Path("out.onnx").exists()


def test_summaries_are_appended(here: Path, call: Call) -> None:
    page = here / "job.md"
    page.write_text("what was there\n", encoding="utf-8")
    call(*OPTIMIZE.split(), "--summary", page)
    (here / "gate.toml").write_text("max_size_ratio = 0.01\n")
    ended = call(*VALIDATE.split(), "--gate", "gate.toml", "--summary", page)
    assert ended.code == 1
    text = page.read_text(encoding="utf-8")
    assert text.startswith("what was there\n\n### ocompress optimize in.onnx\n")
    assert "| file size |" in text
    first, second = text.split("### ocompress validate in.onnx\n")
    assert "**Written**" in first
    assert "**Failed**" in second
    assert "| max_size_ratio | FAILED | 0.01 | 1 |" in second
    assert len(text.splitlines()) < 60


@pytest.mark.usefixtures("here")
def test_a_summary_on_standard_output(call: Call) -> None:
    assert call(*VALIDATE.split(), "--summary", "-").out.startswith("### ocompress validate")

"""`--help`: whole at 80 columns, in panels, with examples that work."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from ocompress.cli.examples import EXAMPLES
from tests.cli.conftest import Call

COMMANDS = [["target", name] if name == "setup" else [name.replace("_", "-")] for name in EXAMPLES]
PANELS = ["Arguments", "Input", "Passes", "Budget", "Measuring", "Output"]
BRIEF = {
    "optimize": ["--no-profile"],
    "distill": ["--allow-slower"],
    "plan": ["--families", "int8", "--no-profile"],
    "profile": ["--seconds", "0.02"],
}
"""What is added to the examples so that they take no time."""


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


@pytest.mark.parametrize("command", COMMANDS, ids="-".join)
def test_help_is_whole_at_80_columns(command: list[str], call: Call) -> None:
    ended = call(*command, "--help")
    assert ended.code == 0
    assert max(map(len, ended.out.splitlines())) <= 80
    assert "…" not in ended.out
    found = re.findall(r"╭─ (\w+) ─", ended.out)
    assert found == [p for p in PANELS if p in found]
    assert "<bool>" not in ended.out
    for line in "\n".join(EXAMPLES[command[-1].replace("-", "_")]).splitlines():
        assert f" {line.strip()} " in ended.out
    assert "Exit codes" in ended.out


def test_brackets_in_texts_are_no_markup(call: Call) -> None:
    ended = call("optimize", "--help")
    assert "'ocompress[tune]'" in ended.out
    assert "'ocompress[cluster]'" in ended.out


def test_every_option_of_optimize_has_a_panel(call: Call) -> None:
    ended = call("optimize", "--help")
    assert re.findall(r"╭─ (\w+) ─", ended.out) == PANELS
    assert re.search(r"│ --passes +-p ", ended.out)


@pytest.fixture
def folder(here: Path, call: Call) -> Path:
    """A folder with the files that examples name."""
    for name in ("calib", "test"):
        (here / f"{name}.npz").write_bytes((here / "d.npz").read_bytes())
    (here / "gate.toml").write_text("max_size_ratio = 1.5\n")
    job = "[[job]]\nmodel = 'in.onnx'\npasses = 'quant-weights'\nmeasure = false\n"
    (here / "jobs.toml").write_text(job)
    assert call("optimize", "in.onnx", "out.onnx", "-p", "quant", "--data", "d.npz",
                "--no-profile").code == 0  # fmt: skip
    assert call("pack", "in.onnx", "in.ocz").code == 0
    return here


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("command", "example"),
    [(name, line) for name, lines in EXAMPLES.items() for line in lines if name != "setup"],
)
def test_examples_work(command: str, example: str, call: Call) -> None:
    if command == "distill":
        pytest.importorskip("torch", reason="PyTorch is not installed")
    program, *words = shlex.split(example.replace("\\\n", "").partition(" > ")[0])
    assert program == "ocompress"
    ended = call(*words, *BRIEF.get(command, ()))
    # one decision of 40 is more than a point: the limit of an example may well be broken
    assert ended.code == 0 or (ended.code == 1 and "--max-drop" in words), ended.err


def test_completion_can_be_installed(call: Call) -> None:
    ended = call("--help")
    assert "--install-completion" in ended.out
    assert ended.code == 0


def test_the_overview_shows_no_types_beside_flags(call: Call) -> None:
    ended = call("--help")
    assert ended.code == 0
    assert "<bool>" not in ended.out
    assert "--version" in ended.out

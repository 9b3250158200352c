"""The examples of the manual work: files are written as they stand there, commands are run."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ocompress.cli.app import run
from ocompress.io import save_model
from tests.build import Builder
from tests.graphs import ZOO

DOCS = Path(__file__).parents[1] / "docs"
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NAMED = re.compile(r"# file: (\S+)\n")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the examples are about."""
    monkeypatch.chdir(tmp_path)
    save_model(ZOO["mlp"](), tmp_path / "in.onnx")
    save_model(ZOO["mlp"](), tmp_path / "out.onnx")
    rng = np.random.default_rng(0)
    for name in ("calib", "test"):
        x = rng.standard_normal((64, 16)).astype(np.float32)
        np.savez(tmp_path / f"{name}.npz", x=x, labels=rng.integers(0, 10, 64))
    return tmp_path


def photos(folder: Path) -> None:
    """Write four pictures, and a net for them."""
    image = pytest.importorskip("PIL.Image")
    (folder / "photos").mkdir()
    rng = np.random.default_rng(1)
    for name in "abcd":
        pixels = rng.integers(0, 256, (12, 20, 3)).astype(np.uint8)
        image.fromarray(pixels).save(folder / "photos" / f"{name}.png")
    b = Builder()
    flat = b.op("Flatten", b.input("x", ["n", 3, 8, 8]))
    b.op("MatMul", flat, b.weight(192, 10), to="y")
    b.output("y", ["n", 10])
    save_model(b.model(), folder / "net.onnx")


def write(text: str, folder: Path) -> None:
    """Write a block that says which file it is."""
    named = NAMED.match(text)
    if named:
        body = text[named.end() :] if named[1].endswith(".csv") else text
        (folder / named[1]).write_text(body, encoding="utf-8")


@pytest.mark.parametrize("page", ["data", "gate", "recipes", "builds", "reports"])
def test_examples_work(page: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if page == "data":
        photos(folder)
    commands = 0
    for kind, text in BLOCK.findall((DOCS / f"{page}.md").read_text(encoding="utf-8")):
        write(text, folder)
        for line in text.replace("\\\n", "").splitlines() if kind == "sh" else ():
            program, *words = shlex.split(line)
            assert program == "ocompress"
            assert run(words) == 0, f"{line}: {capsys.readouterr().err}"
            commands += 1
    assert commands


def documented(page: str, heading: str) -> set[str]:
    """Return the entries that a table of the page about reports names."""
    table = page.partition(heading)[2].partition("\n\n`")[0]
    firsts = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    return {name for first in firsts for name in re.findall(r"`(\w+)`", first)}


@pytest.mark.parametrize(
    ("command", "line"),
    [
        ("optimize", "optimize in.onnx out.onnx -p quant -d calib.npz --no-profile --json -q"),
        ("validate", "validate in.onnx in.onnx -d test.npz --json"),
        ("profile", "profile in.onnx --seconds 0.02 --json"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_every_entry_of_a_report_is_documented(
    command: str, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    page = (DOCS / "reports.md").read_text(encoding="utf-8")
    assert run(line.split()) == 0
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    known = documented(page, "Every report has") | documented(page, f"`{command}` adds")
    assert set(report) == known

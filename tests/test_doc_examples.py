"""The examples of the manual work: files are written as they stand there, commands are run."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ocompress.cli.app import run
from ocompress.io import save_model
from tests.build import Builder
from tests.contract.harness import context
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


def python(heading: str) -> str:
    """Return the Python of a section of the README."""
    page = (DOCS.parent / "README.md").read_text(encoding="utf-8")
    section = page.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    (text,) = [text for kind, text in BLOCK.findall(section) if kind == "python"]
    return str(text)


@pytest.mark.slow
@pytest.mark.usefixtures("folder")
def test_the_readme_in_python(capsys: pytest.CaptureFixture[str]) -> None:
    exec(python("From another project"), {})
    first, sizes, last = capsys.readouterr().out.splitlines()
    assert first.split()[0] in ("True", "False")
    assert re.fullmatch(r"\(\d+, \d+\)", sizes)
    assert last.startswith("True")


def test_the_pass_of_the_readme() -> None:
    found: dict[str, Any] = {}
    exec(compile(python("How to write a pass"), "README.md", "exec", dont_inherit=True), found)
    model = ZOO["mlp"]()
    ctx = context(model)
    outcome = ctx.run_one(found["ClipWeights"](limit=0.125), model)
    assert outcome.counts == {"weights clipped": 3}
    gemms = [n for _, n in model.nodes() if n.is_op("Gemm")]
    weights = [v.constant for n in gemms if (v := n.input(1)) is not None]
    assert max(float(np.abs(w).max()) for w in weights if w is not None) == 0.125
    assert not context(model).run_one(found["ClipWeights"](limit=0.125), model)

"""Passes that the shell took apart."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from ocompress.cli.quoting import hint
from tests.cli.conftest import Call


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            "optimize a b --passes prune{sparsity=0.5 smallest=0},quant -q",
            "--passes 'prune{sparsity=0.5 smallest=0},quant'",
        ),
        ("optimize a b -p prunesparsity=0.5 prunesmallest=0", "made 'prunesparsity=0.5' of it"),
        ("optimize --passes=prune{sparsity=0.5 smallest=0} a b", "smallest=0}'"),
        ("optimize a b -p prune{sparsity=0.5", "quote them"),
    ],
)
def test_what_is_not_whole(words: str, says: str) -> None:
    assert says in str(hint(words.split()))


@pytest.mark.parametrize(
    "text",
    ["prune", "prune{sparsity=0.5},quant", 'quant{exclude=["a{b"]}', "prune{a={b=1}}", ""],
)
def test_what_is_whole(text: str) -> None:
    assert hint(["optimize", "a=1", "b", "--passes", text, "--report", "x=y"]) is None
    assert hint(["optimize", f"--passes={text}"]) is None
    assert hint(["optimize", "--passes"]) is None


def test_the_program_says_so_and_touches_nothing(here: Path, call: Call) -> None:
    before = sorted(here.iterdir())
    line = "optimize in.onnx --data d.npz --passes prunesparsity=0.5 prunesmallest=0"
    ended = call(*line.split())
    assert ended.code == 2
    assert "the shell split the passes" in ended.complaint
    assert sorted(here.iterdir()) == before


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_really_does_this() -> None:
    words = "printf '%s\\n' optimize a b --passes prune{sparsity=0.5,smallest=0},quant"
    done = subprocess.run(["bash", "-c", words], capture_output=True, text=True, check=True)
    assert "the shell split the passes" in str(hint(done.stdout.splitlines()))


def test_of_passes_without_end_the_ends_are_quoted(call: Call) -> None:
    ended = call("optimize", "in.onnx", "out.onnx", "-p", f"prune{{sparsity={'9' * 5000}")
    assert ended.code == 2
    assert "prune{sparsity=999" in ended.complaint
    assert "quote them" in ended.complaint
    assert len(ended.complaint) < 1000
    assert len(call("optimize", "in.onnx", f"--seed={'9x' * 5000}").complaint) < 1000

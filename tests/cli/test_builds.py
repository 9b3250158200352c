"""As a step of a build: times of change, dependency lists, and failed budgets; with real make."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ocompress.io import load_model, save_model
from tests.cli.conftest import Call

QUICK = ("-p", "quant-weights{form=fp16}", "--no-profile")
FAILING = (*QUICK, "--max-size", "1kB")
ROOT = Path(__file__).parents[2]
OLD = 1_000_000_000


def date(path: Path) -> int:
    """Seconds since 1970 of the last change."""
    return int(path.stat().st_mtime)


@pytest.fixture
def built(here: Path, call: Call) -> Path:
    """An output that was made long ago."""
    assert call("optimize", "in.onnx", "out.onnx", *QUICK).code == 0
    os.utime(here / "out.onnx", (OLD, OLD))
    return here / "out.onnx"


def test_an_unchanged_output_is_new_to_build_tools(built: Path, call: Call) -> None:
    ended = call("optimize", "in.onnx", "out.onnx", *QUICK)
    assert "'out.onnx' is up to date" in ended.err
    assert date(built) > OLD


def test_no_touch_leaves_its_time(built: Path, call: Call) -> None:
    ended = call("optimize", "in.onnx", "out.onnx", "--no-touch", *QUICK)
    assert "'out.onnx' is up to date" in ended.err
    assert date(built) == OLD


def test_what_failed_its_budget_is_older_than_its_inputs(here: Path, call: Call) -> None:
    os.utime(here / "in.onnx", (OLD, OLD))
    for _ in range(2):  # written, then there already
        ended = call("optimize", "in.onnx", "out.onnx", *FAILING, "--external-data")
        assert ended.code == 1
        assert "dated before its inputs" in ended.complaint
        assert date(here / "out.onnx") < OLD
        assert date(here / "out.onnx.data") < OLD
    assert load_model(here / "out.onnx").graph.nodes


def test_discard_writes_nothing(built: Path, call: Call) -> None:
    before = built.read_bytes()
    ended = call("optimize", "in.onnx", "out.onnx", "--on-fail", "discard", *FAILING)
    assert ended.code == 1
    assert "nothing was written" in ended.complaint
    assert built.read_bytes() == before
    assert date(built) == OLD
    line = ("optimize", "in.onnx", "new.onnx", "--on-fail", "discard", "--depfile", "d", *FAILING)
    assert call(*line).code == 1
    assert not Path("new.onnx").exists()
    assert Path("d").read_text() == "new.onnx: in.onnx\n"


def test_strict_is_a_failure_like_others(here: Path, call: Call) -> None:
    line = ("optimize", "in.onnx", "out.onnx", "-p", "merge-layers", "--strict", "--no-profile")
    assert call(*line, "--on-fail", "discard").code == 1
    assert not (here / "out.onnx").exists()
    assert call(*line).code == 1
    assert date(here / "out.onnx") < date(here / "in.onnx")


def test_dependency_lists_name_all_files(here: Path, call: Call) -> None:
    save_model(load_model("in.onnx"), here / "big.onnx", external=True)
    (here / "my.py").write_text(
        "import numpy as np\n"
        "def feeds():\n    return [{'x': np.zeros((40, 16), np.float32)}]\n"
        "def metric(outputs, labels, feeds):\n    return 1.0\n"
    )
    line = "optimize big.onnx out.onnx -d my:feeds --metric my:metric --held-out 0 --depfile o.d"
    ended = call(*line.split(), "--external-data", *QUICK)
    assert ended.code == 0, ended.err
    text = (here / "o.d").read_text()
    assert text == "out.onnx out.onnx.data: big.onnx big.onnx.data my.py\n"


RULES = """
-include good.d
good.onnx: in.onnx
\t{program} optimize $< $@ -q --depfile good.d {quick}
bad.onnx: in.onnx
\t{program} optimize $< $@ -q {failing}
"""


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
def test_make_is_told_the_truth(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    quick, failing = ((" ".join(f"'{word}'" for word in words)) for words in (QUICK, FAILING))
    program = f"{sys.executable} -m ocompress"
    rules = RULES.format(program=program, quick=quick, failing=failing)
    (here / "Makefile").write_text(rules)

    def make(target: str) -> int:
        return subprocess.run(["make", target], capture_output=True, check=False).returncode

    def is_done(target: str) -> bool:
        asked = subprocess.run(["make", "-q", target], capture_output=True, check=False)
        return asked.returncode == 0

    assert make("good.onnx") == 0
    assert is_done("good.onnx")
    os.utime(here / "in.onnx")  # the same bytes again
    assert not is_done("good.onnx")
    assert make("bad.onnx") != 0
    assert (here / "bad.onnx").exists()
    assert not is_done("bad.onnx")

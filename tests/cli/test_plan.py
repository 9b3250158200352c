"""`optimize --auto` and `plan` on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import Call

QUICK = (
    *("--target", "portable", "--families", "channels", "--data", "d.npz"),
    *("--max-drop", "30%", "--metric", "agreement"),
)


def test_a_plan_is_written_and_carried_out(here: Path, call: Call) -> None:
    ended = call(
        *("plan", "in.onnx", *QUICK, "-o", "plan.toml", "--report", "plan.html", "--explain"),
        *("--compare", "in.onnx"),
    )
    assert ended.code == 0, ended.err
    assert "wrote plan.toml" in ended.err
    assert "Best for each drop" in ended.out
    assert "Why each layer is as it is" in ended.out
    assert "Beside other models" in ended.out
    assert "prune-channels" in (here / "plan.html").read_text()
    first = call("optimize", "in.onnx", "a.onnx", "--auto", *QUICK, "--report", "a.json", "-q")
    assert first.code == 0, first.err
    second = call(
        *("optimize", "in.onnx", "b.onnx", "--recipe", "plan.toml", "-q"),
        *("--target", "portable", "--data", "d.npz"),
    )
    assert second.code == 0, second.err
    assert (here / "a.onnx").read_bytes() == (here / "b.onnx").read_bytes()
    report = json.loads((here / "a.json").read_text())
    assert report["plan"]["passes"].startswith("canonicalize,prune-channels")
    assert report["plan"]["choices"] == report["choices"]
    assert {c["by"] for c in report["choices"]} == {"prune-channels"}
    assert any("channels removed" in c["chosen"] for c in report["choices"])
    assert report["settings"]["passes"] == report["plan"]["passes"]


def test_without_a_file_the_plan_is_printed(here: Path, call: Call) -> None:
    ended = call("plan", "in.onnx", *QUICK, "--json")
    assert ended.code == 0
    printed = json.loads(ended.out)
    assert printed["recipe"].startswith("description")
    assert "[[pass]]" in call("plan", "in.onnx", *QUICK).out
    assert list(here.glob("*.toml")) == []


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (
            "optimize in.onnx o.onnx --auto -p quant -d d.npz",
            "leave out --passes",
        ),
        (
            "optimize in.onnx o.onnx --auto --recipe int8 -d d.npz",
            "leave out --passes",
        ),
        ("optimize in.onnx o.onnx --auto", "a plan needs data"),
        ("optimize in.onnx o.onnx --auto --synthetic-data 8", "random numbers do not show"),
        ("optimize in.onnx o.onnx -p quant -d d.npz --for size", "--for is for plans"),
        ("optimize in.onnx o.onnx -p quant -d d.npz --time 3m", "--time is for plans"),
        ("optimize in.onnx o.onnx --auto -d d.npz --for speed", "'speed' is none of latency"),
        ("optimize in.onnx o.onnx --auto -d d.npz --time soon", "'soon' is no time"),
        ("optimize in.onnx o.onnx --auto -d d.npz --time 0", "must be above 0; write"),
        ("optimize in.onnx o.onnx --auto -d d.npz --families int9", "'int9' is none of merge"),
        ("optimize in.onnx o.onnx --auto -d d.npz --max-memory 5", "is no number of bytes"),
        ("optimize in.onnx o.onnx --auto -d d.npz --allow-slower", "leave out --allow-slower"),
        ("plan in.onnx", "a plan needs data"),
        ("plan in.onnx -d d.npz -o in.onnx", "in.onnx"),
        ("plan in.onnx -d d.npz --for memory --no-profile", "leave out --no-profile"),
    ],
)
@pytest.mark.usefixtures("here")
def test_what_contradicts_is_said_in_a_sentence(words: str, sentence: str, call: Call) -> None:
    ended = call(*words.split())
    assert ended.code == 2
    assert sentence in ended.complaint
    assert not Path("o.onnx").exists()


def test_a_single_sample_is_enough(here: Path, call: Call) -> None:
    np.savez(here / "one.npz", x=np.zeros((1, 16), np.float32))
    ended = call(
        *("optimize", "in.onnx", "o.onnx", "--auto", "--data", "one.npz"),
        *("--target", "portable", "--families", "int8"),
    )
    assert ended.code in (0, 1), ended.err

"""Runs of a model end at `--timeout`, with one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Call
from tests.cli.endless import endless


@pytest.mark.parametrize(
    "line",
    [
        "optimize in.onnx out.onnx -p canonicalize",
        "optimize in.onnx out.onnx -p quant --data d.npz",
        "validate in.onnx in.onnx --data d.npz",
        "profile in.onnx --data d.npz",
    ],
)
def test_a_run_that_does_not_end(line: str, here: Path, call: Call) -> None:
    (here / "in.onnx").write_bytes(endless().SerializeToString())
    (here / "out.onnx").write_bytes(b"old")
    ended = call(*line.split(), "--timeout", "0.2")
    assert ended.code == 4, ended.err
    assert "a run of the model took longer than 0.2 s and was stopped" in ended.complaint
    assert "--timeout" in ended.complaint
    assert (here / "out.onnx").read_bytes() == b"old"


@pytest.mark.parametrize("timeout", ["0", "100", "inf"])
def test_a_run_that_ends_in_time(timeout: str, here: Path, call: Call) -> None:
    (here / "in.onnx").write_bytes(endless(trips=3).SerializeToString())
    ended = call("validate", "in.onnx", "in.onnx", "--data", "d.npz", "--timeout", timeout)
    assert ended.code == 0, ended.err


@pytest.mark.parametrize("command", ["optimize in.onnx out.onnx -p prune", "profile in.onnx"])
@pytest.mark.parametrize("timeout", ["-1", "nan"])
@pytest.mark.usefixtures("here")
def test_a_limit_that_makes_no_sense(command: str, timeout: str, call: Call) -> None:
    ended = call(*command.split(), "--timeout", timeout)
    assert ended.code == 2
    assert "must not be negative" in ended.complaint

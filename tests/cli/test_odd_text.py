"""Models with text that is no UTF-8 go through every command."""

from __future__ import annotations

import json
from pathlib import Path

from onnx import ModelProto

from tests.cli.conftest import Call
from tests.ir.test_strings import everywhere


def test_every_command_takes_such_text(here: Path, call: Call) -> None:
    (here / "in.onnx").write_bytes(everywhere().SerializeToString())
    ended = call("optimize", "in.onnx", "out.onnx", "-p", "prune{sparsity=0.5},quant-weights",
                 "--synthetic-data", "8", "--no-profile", "--report", "r.json", "-v")  # fmt: skip
    assert ended.code == 0, ended.err
    proto = ModelProto.FromString((here / "out.onnx").read_bytes())
    assert proto.graph.input[0].name == b"x\xff\xfe\xfd"
    assert proto.producer_name == b"\xff\xfe\xfd doc"
    assert json.loads((here / "r.json").read_text(encoding="utf-8"))
    for line in (
        "validate in.onnx in.onnx --report r.html",
        "profile in.onnx --seconds 0.02 --report r.md",
        "inspect in.onnx --json",
        "inspect in.onnx",
    ):
        ended = call(*line.split())
        assert ended.code == 0 or "NOT COMPARED" in ended.err, ended.err

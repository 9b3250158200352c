"""`ocompress inspect --quant`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ocompress.analysis.quantized import Q
from ocompress.io import load_model, save_model
from ocompress.ir import edit
from tests.cli.conftest import Call


@pytest.fixture
def spoiled(here: Path, call: Call) -> Path:
    """Quantize `in.onnx` to `out.onnx`, and make one scale wrong in it."""
    line = "optimize in.onnx out.onnx --no-profile -q --data d.npz --passes quant{keep_slower=true}"
    assert call(*line.split()).code == 0
    model = load_model(here / "out.onnx")
    quantize = next(
        n
        for _, n in model.nodes()
        if n.is_op(Q) and n.inputs[0].producer is not None  # type: ignore[union-attr]
    )
    for node in (quantize, *(reader for reader, _ in quantize.output.users)):
        scale = edit.own_weight(node, 1)
        edit.set_weight(scale, scale.data * np.float32(0.05))  # type: ignore[operator]
    save_model(model, here / "bad.onnx")
    return here


@pytest.mark.usefixtures("spoiled")
def test_the_spoiled_layer_is_named_and_the_suggestion_can_be_pasted(call: Call) -> None:
    line = "inspect --quant in.onnx bad.onnx --data d.npz --sensitivity"
    shown = call(*line.split())
    assert shown.code == 0, shown.err
    report = json.loads(call(*line.split(), "--json").out)
    worst = report["breaks_at"]
    assert report["keep"][0] == report["worst"][0] == worst
    assert f"largest drop: Gemm '{worst}'" in shown.out
    for word in ("inherited", "clipped", "quantized alone", "rank correlation", "at the output"):
        assert word in shown.out
    assert report["suggestion"].startswith("quant{exclude=[")
    assert f"--passes '{report['suggestion']}'" in shown.out
    again = call(
        "optimize",
        "in.onnx",
        "o2.onnx",
        "--no-profile",
        "--data",
        "d.npz",
        "--passes",
        report["suggestion"],
    )
    assert again.code == 0, again.err


@pytest.mark.usefixtures("spoiled")
@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--quant in.onnx out.onnx", "needs data"),
        ("--quant in.onnx --data d.npz", "compares two models"),
        ("in.onnx out.onnx --data d.npz", "--quant"),
        ("in.onnx --sensitivity", "--quant"),
        ("--quant out.onnx in.onnx --data d.npz", "no layer of the candidate is quantized"),
        ("--quant in.onnx gone.onnx --data d.npz", "gone.onnx"),
    ],
)
def test_wrong_requests_end_with_a_sentence(call: Call, line: str, words: str) -> None:
    ended = call("inspect", *line.split())
    assert ended.code == 2
    assert words in ended.complaint

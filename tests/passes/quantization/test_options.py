"""What each option of the pass does, seen in the graph that it makes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ocompress.runtime import Level, Session
from tests.build import Builder
from tests.passes.quantization.runs import data_for, executed, quantized, sqnr
from tests.passes.quantization.test_quant import conv, image_model, residual


def deep_residual(b: Builder, x: str) -> str:
    return conv(b, residual(b, x), 8, 8)


@pytest.mark.parametrize("option", ["exclude_ops=[Add]", "op_types=[Conv]", "exclude=[add*]"])
def test_what_is_excluded_does_not_run_on_integers(option: str, tmp_path: Path) -> None:
    model = image_model(residual)
    assert executed(quantized(model).model, tmp_path)["QLinearAdd"] == 1
    result = quantized(model, f"quant{{keep_slower=true,{option}}}")
    found = executed(result.model, tmp_path)
    assert (found["QLinearConv"], found["QLinearAdd"]) == (2, 0)
    assert result.diagnostics.declined() == {"excluded": 1}


def test_what_is_excluded_between_integers_does_not_run_on_integers(tmp_path: Path) -> None:
    result = quantized(image_model(deep_residual), "quant{keep_slower=true,exclude_ops=[Add]}")
    assert executed(result.model, tmp_path)["QLinearAdd"] == 0


def test_every_calibration_has_a_range_of_its_own() -> None:
    model = image_model(residual)
    rng = np.random.default_rng(5)
    batches = [{"x": rng.standard_normal((8, 8, 8, 8), np.float32)} for _ in range(40)]
    batches[7]["x"][0, 0, 0, :3] = 30, -30, 25  # a tail
    scales = {}
    for name in ("minmax", "percentile", "entropy", "mse"):
        text = f"quant{{keep_slower=true,calibration={name}}}"
        made = quantized(model, text, batches=batches).model
        first = next(n for _, n in made.nodes() if n.is_op("QuantizeLinear"))
        assert first.inputs[1] is not None
        assert first.inputs[1].constant is not None
        scales[name] = float(first.inputs[1].constant)
    assert scales["minmax"] == max(scales.values())
    assert len(set(scales.values())) == 4


@pytest.mark.parametrize("op_type", ["MatMul", "Gemm"])
def test_weights_scaled_along_another_axis_run_unfused_too(op_type: str) -> None:
    b = Builder()
    if op_type == "MatMul":
        h = b.op("MatMul", b.input("x", ["n", 6, 16]), b.weight(16, 32))
    else:
        h = b.op("Gemm", b.input("x", ["n", 16]), b.weight(16, 32), b.weight(32))
    b.output(h)
    model = b.model()
    result = quantized(model).model
    assert any(n.is_op("QuantizeLinear") for _, n in result.nodes())
    feed = data_for(model)[0]
    wanted = list(Session(model).run(feed).values())
    for level in (Level.ALL, Level.DISABLED):
        found = list(Session(result, level=level).run(feed).values())
        assert sqnr(wanted, found) > 30


def test_values_that_are_joined_share_one_grid() -> None:
    b = Builder()
    x = b.input("x", ["n", 8, 8, 8])
    parts = [
        b.op("Conv", x, b.const(scale * np.eye(8, dtype=np.float32).reshape(8, 8, 1, 1)))
        for scale in (1.0, 1.2)
    ]
    joined = b.op("Concat", *parts, axis=1)
    b.output(b.op("Conv", joined, b.weight(4, 16, 1, 1)))
    result = quantized(b.model()).model
    concat = next(n for _, n in result.nodes() if n.is_op("Concat"))
    grids = set()
    for value in concat.inputs:
        assert value is not None
        assert value.producer is not None
        assert value.producer.is_op("DequantizeLinear")
        grids.add(tuple(id(v) for v in value.producer.inputs[1:]))
    assert len(grids) == 1

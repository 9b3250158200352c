"""Drafts of a model: a weight is rounded once for all of them, unless its bias is in the way."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ocompress.analysis.observe import observe
from ocompress.ir.onnx_api import infer_types
from passes.quantization import matching
from passes.quantization import rounding as rounders
from passes.quantization.drafting import Drafter, units_of
from passes.quantization.rounding import GridRounding, Rounder
from passes.quantization.weights import QuantizedWeight, quantize_weight
from tests.build import Builder, InMemory

RNG = np.random.default_rng(4)


@pytest.mark.parametrize(("bias", "times"), [(0.1, 1), (1e9, 3)])
def test_weights_are_rounded_anew_only_where_a_bias_needs_larger_scales(
    monkeypatch: pytest.MonkeyPatch, bias: float, times: int
) -> None:
    b = Builder()
    x = b.input("x", ["n", 16])
    h = b.op("Gemm", x, b.weight(16, 8), b.const(np.full(8, bias, np.float32)))
    b.output(b.op("Relu", h, to="y"), ["n", 8])
    model = b.model()
    infer_types(model)
    outlier = RNG.standard_normal((400, 16)).astype(np.float32)
    outlier[0, 0] = 50.0
    rounding = GridRounding(
        calibration="auto",
        percentile=99.0,
        dtype="uint8",
        symmetric=False,
        seven=False,
        careful=False,
        per_channel=True,
        bias_correction=False,
    )

    units = units_of(model)
    wanted = matching.observers_of(units, means=False)
    seen = observe(model, InMemory([{"x": outlier}]), wanted, lambda *_: None)
    drafter = Drafter(model, seen, Rounder(rounding))
    made: list[object] = []

    def counted(*args: Any, **more: Any) -> QuantizedWeight:
        made.append(args)
        return quantize_weight(*args, **more)

    monkeypatch.setattr(rounders, "quantize_weight", counted)
    scales = []
    for calibration in ("minmax", "percentile", "minmax", "mse"):
        drafter.recalibrate({"x": calibration})
        (weight,) = drafter.scheme(units).weights.values()
        scales.append(weight.scales)
    assert len(made) == times
    assert np.array_equal(scales[0], scales[2])
    assert np.array_equal(scales[0], scales[1]) is (times == 1)

"""Ranges are chosen by what the outputs lose, not by one rule for all tensors."""

from __future__ import annotations

import numpy as np
import pytest

from ocompress.ir import Model, from_proto, to_proto
from tests.build import Array, Builder
from tests.passes.quantization.runs import outputs, quantized, sqnr


def extremes(*, mean: bool = False) -> Model:
    """Return a net whose outputs hang on the largest elements, or on the mean."""
    b = Builder()
    h = b.op("Conv", b.input("x", ["n", 16, 32, 32]), b.weight(32, 16, 3, 3), pads=[1] * 4)
    h = b.op("Conv", b.op("Relu", h), b.weight(32, 32, 3, 3), pads=[1] * 4)
    h = b.op("Relu", h)
    h = b.op("GlobalAveragePool", h) if mean else b.op("ReduceMax", h, axes=[2, 3], keepdims=1)
    b.output(b.op("Conv", h, b.weight(8, 32, 1, 1), to="y"))
    return b.model()


def batches(samples: int, df: float, seed: int = 0) -> list[dict[str, Array]]:
    rng = np.random.default_rng(seed)
    x = rng.standard_t(df, (samples, 16, 32, 32)).astype(np.float32)
    return [{"x": part} for part in np.split(x, samples // 4)]


def decibels(model: Model, calibration: str, given: list[dict[str, Array]]) -> float:
    text = f"quant{{keep_slower=true,fit=rtn,rest=float,calibration={calibration}}}"
    result = quantized(from_proto(to_proto(model)), text, batches=given)
    assert result.records[-1].changed
    fresh = batches(16, 3.0, seed=1)
    wanted = [a for feed in fresh for a in outputs(model, feed)]
    return sqnr(wanted, [a for feed in fresh for a in outputs(result.model, feed)])


@pytest.mark.parametrize("mean", [False, True], ids=["max", "mean"])
def test_auto_is_no_worse_than_the_better_of_two_rules(mean: bool) -> None:
    model, given = extremes(mean=mean), batches(136, 3.0)
    rules = [decibels(model, rule, given) for rule in ("mse", "minmax")]
    assert abs(rules[0] - rules[1]) > 2  # it matters
    assert decibels(model, "auto", given) > max(rules) - 0.3


def test_noise_of_few_samples_is_that_of_others() -> None:
    model, given = extremes(), batches(24, 2.5)
    record = quantized(from_proto(to_proto(model)), "quant{costs=table}", batches=given).records[-1]
    careful = record.details["selections"][0]["sqnr_db"]
    text = "quant{costs=table,calibration=minmax}"
    trusting = quantized(from_proto(to_proto(model)), text, batches=given).records[-1]
    assert careful < trusting.details["selections"][0]["sqnr_db"] - 3

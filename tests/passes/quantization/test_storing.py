"""Weights of what stays in float."""

from __future__ import annotations

import numpy as np
import pytest

from ocompress import optimize
from ocompress.ir import Model, to_proto
from ocompress.ir.serialized_size import serialized_bytes
from passes.quantization.selection import tolerable
from passes.quantization.storable import addable
from tests.build import Array, Builder
from tests.passes.quantization.runs import data_for, outputs, quantized, sqnr


def behind_integers() -> Model:
    """A float operator with a large weight right behind an integer one."""
    b = Builder()
    h = b.op("Relu", b.op("Conv", b.input("x", ["n", 8, 6, 6]), b.weight(16, 8, 3, 3)))
    b.output(b.op("Tanh", b.op("ConvTranspose", h, b.weight(16, 8, 4, 4))))
    return b.model()


def test_a_float_layer_behind_an_integer_one_is_stored_small_too() -> None:
    model = behind_integers()
    result = quantized(model)
    assert any(n.is_op("QuantizeLinear") for n in result.model.graph.nodes)
    left = list(result.model.weights())
    assert not [a.shape for a in left if a.dtype == np.float32 and a.size > 64]
    feed = data_for(model)[3]
    assert sqnr(outputs(model, feed), outputs(result.model, feed)) > 25


def test_a_weight_that_cannot_be_stored_is_named() -> None:
    b = Builder()
    weight = b.const(np.full((64, 64), np.inf, np.float32))
    ids = b.input("ids", ["n"], 7)
    b.output(b.op("Clip", b.op("Gather", weight, ids), "", b.const(np.float32(1))))
    h = b.op("Relu", b.op("Conv", b.input("x", ["n", 8, 6, 6]), b.weight(16, 8, 3, 3)))
    b.output(h)
    result = quantized(b.model())
    found = [r for r in result.diagnostics if r.code == "float-weight"]
    assert [r.op_type for r in found] == ["Gather"]
    assert "NaN or infinite" in found[0].message


def recurrent() -> Model:
    """Layers whose weights cost more than 41 dB together and are all there is to store."""
    b = Builder()
    h = b.input("x", [10, "n", 32])
    for _ in range(3):
        weights = b.weight(1, 256, 32 if h == "x" else 64, scale=0.3), b.weight(1, 256, 64)
        b.ops("LSTM", [h, *weights], [f"y{h}"], hidden_size=64)
        h = b.op("Squeeze", f"y{h}", b.const(np.array([1])))
    b.output(h)
    return b.model()


@pytest.mark.parametrize(
    ("price", "least", "most"), [(0.06, 33, 41), (0.0, 20, 41), (2.0, 45, 1000)]
)
def test_weights_alone_are_stored_at_the_noise_that_they_are_worth(
    price: float, least: float, most: float
) -> None:
    model = recurrent()
    rng = np.random.default_rng(0)
    batches: list[dict[str, Array]] = [
        {"x": rng.standard_normal((10, 2, 32)).astype(np.float32)} for _ in range(3)
    ]
    result = quantized(model, f"quant{{noise_price={price}}}", batches=batches)
    stored = result.records[-1].counts.get("weights stored as int8", 0)
    assert stored == 6 if price < 1 else stored < 6
    found = sqnr(outputs(model, batches[0]), outputs(result.model, batches[0]))
    assert least < found < most


@pytest.mark.parametrize(("ratio", "stored"), [(1.0, 3), (0.3, 6)])
def test_a_limit_on_the_size_that_the_noise_would_not_reach_is_reached(
    ratio: float, stored: int
) -> None:
    model = recurrent()
    rng = np.random.default_rng(0)
    data = [{"x": rng.standard_normal((10, 2, 32)).astype(np.float32)} for _ in range(40)]
    done = optimize(
        to_proto(model),
        passes="quant{noise_price=2}",
        data=data,
        max_drop=0.1,
        max_size=ratio,
        max_latency=None,
        measure=False,
    )
    assert done.held
    assert done.bytes[1] <= ratio * done.bytes[0] * 1.01
    ends = [v for v in done.model.graph.initializers.values() if v.name.startswith("w")]
    assert sum(v.packed is not None for v in ends) == stored


def test_what_noise_weights_are_worth_falls_with_the_price() -> None:
    found = [tolerable(rate) for rate in (0.0, 0.01, 0.06, 1.0)]
    assert found == sorted(found, reverse=True)
    assert found[2] == pytest.approx(5.4e-4, rel=0.01)
    assert addable(1e-3, 0.06) == addable(1e-3, 1.0) == pytest.approx(0.25 * 1.3e-3)


def transform() -> Model:
    """A product by a table that the file computes of little, and one by a weight."""
    b = Builder()
    steps = b.const(np.arange(256, dtype=np.float32)[:, None])
    many = b.op("Expand", steps, b.const(np.array([256, 256], np.int64)))
    angle = b.op("Mul", b.op("Mul", many, b.op("Transpose", many, perm=[1, 0])), b.weight(1))
    h = b.op("MatMul", b.input("x", ["n", 8, 256]), b.op("Cos", angle), to="table")
    b.op("MatMul", h, b.weight(256, 64), to="y")
    b.output("y", ["n", 8, 64])
    return b.model()


@pytest.mark.parametrize("passes", ["quant{keep_slower=true}", "quant", "quant-dynamic"])
def test_tables_that_the_file_computes_of_less_stay_so(passes: str) -> None:
    model = transform()
    before = serialized_bytes(model)
    result = quantized(model, f"canonicalize,{passes}")
    name = passes.partition("{")[0]
    told = {r.node: r.code for r in result.diagnostics.of(name)}
    assert told["table"] == "computed-weight"
    assert result.records[-1].changed
    assert serialized_bytes(result.model) < 0.5 * before

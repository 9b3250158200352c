"""Weights of what stays in float."""

from __future__ import annotations

import numpy as np

from ocompress.ir import Model
from tests.build import Builder
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
    left = [v.data for v in result.model.graph.initializers.values() if v.data is not None]
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

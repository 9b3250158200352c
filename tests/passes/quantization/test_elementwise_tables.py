"""Large constants of operators without weights: tables of positions, scales, masks."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto as T

from ocompress.ir import Model
from ocompress.ir.serialized_size import serialized_bytes
from ocompress.runtime import Level
from tests.build import Builder
from tests.passes.quantization.runs import sqnr
from tests.passes.quantization.weight_runs import Build, codes, model_of, rows_of, run, weighted


def positions(op: str = "Add") -> Build:
    def build(b: Builder) -> None:
        tokens = b.op("Gather", b.weight(30, 48, scale=1.0), b.input("ids", ["n", 32], T.INT64))
        b.op("MatMul", b.op(op, tokens, b.weight(32, 48, scale=1.0), to="placed"), b.weight(48, 8))
        b.op("Identity", b.nodes[-1].output[0], to="y")
        b.output("y", ["n", 32, 8])

    return build


@pytest.mark.parametrize("op", ["Add", "Mul"])
@pytest.mark.parametrize(("options", "least"), [("kernel=fold", 35), ("form=fp16", 60)])
def test_they_are_stored_in_fewer_bits(options: str, least: float, op: str) -> None:
    model = model_of(positions(op))
    result = weighted(model, options)
    assert len(rows_of(result)) == 3
    share = 0.6 if "fp16" in options else 0.45
    assert serialized_bytes(result.model) < share * serialized_bytes(model)
    for level in (Level.ALL, Level.DISABLED):
        assert sqnr(run(model, Level.DISABLED), run(result.model, level)) > least
    assert "no-rule" not in codes(result)


def test_they_are_named_where_they_stay() -> None:
    assert "no-rule" in codes(weighted(model_of(positions())))
    assert "no-rule" in codes(weighted(model_of(positions()), "kernel=fold,exclude=placed"))


@pytest.mark.parametrize(("largest", "options"), [(1e9, "kernel=fold"), (1e9, "form=fp16")])
def test_numbers_beside_far_larger_ones_are_not_lost(largest: float, options: str) -> None:
    b = Builder()
    mask = b.rng.standard_normal((32, 32)).astype(np.float32)
    mask[:, ::7] = -largest
    b.op("MatMul", b.op("Add", b.input("x", ["n", 32]), b.const(mask)), b.weight(32, 32), to="y")
    b.output("y", [32, 32])
    result = weighted(_free(b), options)
    assert len(rows_of(result)) == 1  # the product's weight


def _free(b: Builder) -> Model:
    b.inputs[0].type.tensor_type.shape.dim[0].dim_value = 32
    return b.model(opset=21, ir_version=10)


def test_masks_of_zeros_and_one_value_are_exact() -> None:
    b = Builder()
    mask = np.triu(np.full((48, 48), -1e4, np.float32), 1)
    b.op("Add", b.input("x", [48, 48]), b.const(mask), to="y")
    b.output("y", [48, 48])
    model = b.model(opset=21, ir_version=10)
    result = weighted(model, "kernel=fold")
    assert [row["weight_error"] < 1e-6 for row in rows_of(result)] == [True]

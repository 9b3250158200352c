"""Which weights a pass may touch."""

from __future__ import annotations

import numpy as np
import pytest

from ocompress.ir import DType, onnx_api, packed
from ocompress.lossy.layer_weights import OP_TYPES, Rules, collect
from tests.build import Builder
from tests.contract.harness import context


@pytest.mark.parametrize(("smallest", "left_alone"), [(48, []), (49, ["small"])])
def test_small_is_what_has_fewer_elements_than_asked_for(
    smallest: int, left_alone: list[str]
) -> None:
    b = Builder()
    h = b.op("Gemm", b.input("x", ["n", 6]), b.weight(6, 8), to="small")
    b.output(b.op("Gemm", h, b.weight(8, 9), to="large"), ["n", 9])
    model = b.model()
    ctx = context(model)
    found = collect(model, Rules(OP_TYPES, (), False, True, smallest), ctx)
    assert [w.name for w in found] == [n for n in ("small", "large") if n not in left_alone]
    assert {r.node: r.code for r in ctx.left_alone} == dict.fromkeys(left_alone, "too-small")


def test_weights_that_the_file_computes_of_less_are_left_alone() -> None:
    """A matrix of one row repeated takes a row in the file; other numbers would take all."""
    b = Builder()
    row = b.rng.standard_normal((1, 64)).astype(np.float32)
    rows = b.op("Expand", b.const(row), b.const(np.array([64, 64])))
    h = b.op("MatMul", b.input("x", ["n", 64]), rows)
    b.output(b.op("MatMul", h, b.const(np.ones((64, 32), np.float32))), ["n", 32])
    model = b.model()
    made = next(n for n in model.graph.nodes if n.is_op("Expand")).output
    recipe = packed.recipe(made)
    assert recipe is not None
    packed.pack(made, np.broadcast_to(row, (64, 64)), recipe, model.graph)
    for value in model.graph.initializers.values():
        if value.shape == (64, 32):
            assert packed.cast(value, DType.FLOAT16, model.graph)
    ctx = context(model)
    found = collect(model, Rules(OP_TYPES, (), False, True, 1), ctx)
    assert [w.array.shape for w in found] == [(64, 32)]  # numbers of 16 bits can be others
    assert [r.code for r in ctx.left_alone] == ["computed-weight"]


@pytest.mark.parametrize("square", [True, False])
def test_a_weight_that_is_also_read_turned_is_left_alone(square: bool) -> None:
    """A matrix and its transpose; a kernel of a convolution and of one that is transposed."""
    b = Builder()
    if square:
        weight = b.weight(40, 40)
        h = b.op("Gemm", b.input("x", ["n", 40]), weight, to="there", transB=1)
        b.output(b.op("Gemm", h, weight, to="back"), ["n", 40])
    else:
        weight = b.weight(24, 3, 4, 4)
        h = b.op("Conv", b.input("x", ["n", 3, 16, 16]), weight, to="there", strides=[2, 2])
        b.output(b.op("ConvTranspose", h, weight, to="back", strides=[2, 2]))
    model = b.model()
    onnx_api.infer_types(model)
    ctx = context(model)
    assert not collect(model, Rules(OP_TYPES, (), False, True, 1), ctx)
    told = {r.node: r.code for r in ctx.left_alone}
    assert told == dict.fromkeys(("there", "back"), "shared-weight")

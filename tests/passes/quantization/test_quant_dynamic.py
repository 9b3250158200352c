"""Products quantized as their inputs come: fused by ONNX Runtime, faithful, refusals named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto as T

from ocompress.ir import Model, from_proto, to_proto
from ocompress.pipeline import PassManager, Pipeline, PipelineResult
from ocompress.targets import find
from tests.build import Builder
from tests.passes.quantization.runs import data_for, executed, outputs, sqnr


def dynamic(model: Model, options: str = "", target: str = "portable") -> PipelineResult:
    manager = PassManager(target=find(target))
    text = f"canonicalize{{opset=7}},quant-dynamic{options}"
    return manager.run(Pipeline.parse(text), from_proto(to_proto(model)))


def products(rank: int, bias: bool, transposed: int) -> Model:
    b = Builder()
    x = b.input("x", ["n", 6, 64][3 - rank :])
    if rank == 2:
        names = [b.const(b.rng.standard_normal(64).astype(np.float32))] if bias else []
        first = b.op("Gemm", x, b.weight(64, 64), *names, transB=transposed)
    else:
        first = b.op("MatMul", x, b.weight(64, 64))
        if bias:
            first = b.op("Add", first, b.const(b.rng.standard_normal(64).astype(np.float32)))
    b.output(b.op("MatMul", b.op("Tanh", first), b.weight(64, 80)))
    return b.model()


@pytest.mark.parametrize("transposed", [0, 1])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("rank", [2, 3])
def test_products_become_single_integer_operators(
    rank: int, bias: bool, transposed: int, tmp_path: Path
) -> None:
    model = products(rank, bias, transposed)
    result = dynamic(model)
    assert result.records[-1].counts == {"dynamic int8 products": 2}
    ran = executed(result.model, tmp_path)
    assert ran["DynamicQuantizeMatMul"] + ran["MatMulIntegerToFloat"] == 2
    assert not ran["MatMulInteger"]
    feed = data_for(model)[0]
    assert sqnr(outputs(model, feed), outputs(result.model, feed)) > 33


def test_products_of_one_input_share_its_quantization_and_tied_weights_one_table() -> None:
    b = Builder()
    x = b.input("x", ["n", 64])
    shared = b.weight(64, 64)
    for weight in (shared, shared, b.weight(64, 64)):
        b.output(b.op("MatMul", x, weight))
    result = dynamic(b.model(), "{smallest=1}")
    ops = [n.op_type for _, n in result.model.nodes()]
    assert ops.count("DynamicQuantizeLinear") == 1
    tables = [v for v in result.model.graph.initializers.values() if v.rank == 2]
    assert len(tables) == 2
    assert all(v.data is not None and v.data.dtype == np.int8 for v in tables)


def test_what_would_be_slow_or_wrong_is_declined_with_the_reason() -> None:
    b = Builder()
    image = b.input("image", ["n", 4, 8, 8])
    b.output(b.op("Conv", image, b.weight(8, 4, 3, 3)))
    x, w = b.input("x", ["n", 64]), b.input("w", [64, 64])
    b.output(b.op("MatMul", x, w))
    b.output(b.op("Gemm", b.input("turned", [64, "n"]), b.weight(64, 64), transA=1))
    b.output(b.op("MatMul", x, b.const(np.full((64, 64), np.nan, np.float32))))
    b.output(b.op("MatMul", x, b.weight(64, 4)))
    b.output(b.op("MatMul", b.input("y", ["n", 2, 64]), b.const(np.ones((2, 64, 64), np.float32))))
    result = dynamic(b.model())
    assert not result.records[-1].changed
    codes = {r.code for r in result.diagnostics if r.source == "quant-dynamic"}
    assert codes == {
        "no-int8-kernel",
        "dynamic-weight",
        "scaled-gemm",
        "not-finite",
        "too-small",
        "not-a-matrix",
    }
    slow = next(r.message for r in result.diagnostics if r.code == "no-int8-kernel")
    assert "ConvInteger" in slow


def test_weights_keep_clear_of_saturation_unless_the_target_cannot_saturate() -> None:
    b = Builder()
    x = b.input("x", ["n", 64])
    b.output(b.op("MatMul", x, b.const(np.ones((64, 64), np.float32))))
    largest = {}
    for target in ("portable", "x86-vnni"):
        result = dynamic(b.model(), target=target)
        tables = [v.data for v in result.model.graph.initializers.values() if v.rank == 2]
        assert tables[0] is not None
        largest[target] = int(np.abs(tables[0].astype(int)).max())
    assert largest == {"portable": 64, "x86-vnni": 127}


def test_an_old_opset_and_other_types_are_left_alone() -> None:
    b = Builder()
    b.output(b.op("MatMul", b.input("x", ["n", 64]), b.weight(64, 64)))
    result = dynamic(b.model(opset=10))
    assert "old-opset" in {r.code for r in result.diagnostics}
    b = Builder()
    x = b.input("x", ["n", 64], T.DOUBLE)
    b.op("MatMul", x, b.weight(64, 64, dtype=np.float64), to="y")
    b.output("y", None, T.DOUBLE)
    result = dynamic(b.model())
    assert not result.records[-1].changed
    assert "not-float32" in {r.code for r in result.diagnostics}

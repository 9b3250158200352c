"""The whole pass on small graphs: what fuses, how faithful it is, what is left alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto as T

from ocompress.errors import DataError, OptionError
from ocompress.ir import Model, fingerprint, from_proto, to_proto
from ocompress.pipeline import PassManager, Pipeline
from ocompress.targets import find
from tests.build import Builder
from tests.graphs import ZOO
from tests.passes.quantization.runs import data_for, executed, outputs, quantized, sqnr

FLOAT_OPS = ("Conv", "FusedConv", "Gemm", "FusedGemm", "MatMul", "FusedMatMul")
Build = Callable[[Builder, str], str]


def conv(b: Builder, x: str, c_in: int, c_out: int, kernel: int = 3, group: int = 1) -> str:
    pads = [kernel // 2] * 4
    weight = b.weight(c_out, c_in // group, kernel, kernel)
    return b.op("Conv", x, weight, b.weight(c_out), pads=pads, group=group)


def image_model(build: Build, channels: int = 8) -> Model:
    b = Builder()
    x = b.input("x", ["n", channels, 8, 8])
    b.output(build(b, x))
    return b.model()


def relu6(b: Builder, x: str) -> str:
    return b.op("Clip", x, b.const(np.float32(0)), b.const(np.float32(6)))


def silu(b: Builder, x: str) -> str:
    h = conv(b, x, 8, 8)
    return b.op("Mul", h, b.op("Sigmoid", h))


def residual(b: Builder, x: str) -> str:
    h = b.op("Relu", conv(b, x, 8, 8))
    return b.op("Relu", b.op("Add", conv(b, h, 8, 8, 1), h))


def concatenated(b: Builder, x: str) -> str:
    first, second = b.op("Relu", conv(b, x, 8, 8)), conv(b, x, 8, 8, 1)
    return conv(b, b.op("Concat", first, second, axis=1), 16, 8, 1)


def head(b: Builder, x: str) -> str:
    h = b.op("GlobalAveragePool", b.op("Relu", conv(b, x, 8, 16)))
    return b.op("Gemm", b.op("Flatten", h), b.weight(10, 16), b.weight(10), transB=1)


IMAGES: dict[str, tuple[Build, dict[str, int]]] = {
    "conv": (lambda b, x: conv(b, x, 8, 8), {"QLinearConv": 1}),
    "relu": (lambda b, x: b.op("Relu", conv(b, x, 8, 8)), {"QLinearConv": 1, "Relu": 0}),
    "relu6": (lambda b, x: relu6(b, conv(b, x, 8, 8)), {"QLinearConv": 1, "Clip": 0}),
    "leaky": (
        lambda b, x: b.op("LeakyRelu", conv(b, x, 8, 8), alpha=0.1),
        {"QLinearConv": 1, "QLinearLeakyRelu": 1},
    ),
    "silu": (silu, {"QLinearConv": 1, "QLinearSigmoid": 1, "QLinearMul": 1}),
    "hard-swish": (
        lambda b, x: conv(b, b.op("HardSwish", conv(b, x, 8, 8)), 8, 8),
        {"QLinearConv": 2},
    ),
    "depthwise": (
        lambda b, x: b.op("Relu", conv(b, x, 8, 8, group=8)),
        {"QLinearConv": 1, "Relu": 0},
    ),
    "residual": (residual, {"QLinearConv": 2, "QLinearAdd": 1, "Relu": 0}),
    "concat": (concatenated, {"QLinearConv": 3, "QLinearConcat": 1}),
    "pool": (
        lambda b, x: conv(
            b, b.op("MaxPool", conv(b, x, 8, 8), kernel_shape=[2, 2], strides=[2, 2]), 8, 8
        ),
        {"QLinearConv": 2, "NhwcMaxPool": 1},
    ),
    "head": (head, {"QLinearConv": 1, "QLinearGlobalAveragePool": 1, "QGemm": 1}),
    "scalar": (
        lambda b, x: b.op("Mul", conv(b, x, 8, 8), b.weight(8, 8)),
        {"QLinearConv": 1, "QLinearMul": 1},
    ),
}


@pytest.mark.parametrize("name", IMAGES)
def test_convolutions_fuse_with_what_follows(name: str, tmp_path: Path) -> None:
    build, expected = IMAGES[name]
    model = image_model(build)
    result = quantized(model)
    found = executed(result.model, tmp_path)
    for op_type, count in expected.items():
        assert found[op_type] == count, found
    assert not any(found[op] for op in FLOAT_OPS), found
    feed = data_for(model)[0]
    assert sqnr(outputs(model, feed), outputs(result.model, feed)) > 25


@pytest.mark.parametrize("option", ["activations=int8", "symmetric=true", "per_channel=false"])
def test_other_schemes_are_as_faithful(option: str) -> None:
    for build in (residual, concatenated, silu, head):
        model = image_model(build)
        result = quantized(model, f"quant{{keep_slower=true,{option}}}")
        feed = data_for(model)[0]
        assert sqnr(outputs(model, feed), outputs(result.model, feed)) > 22


@pytest.mark.parametrize(
    ("calibration", "least"),
    [("minmax", 22), ("percentile", 22), ("entropy", 15), ("mse", 22)],  # entropy wants more data
)
def test_every_calibration_is_faithful(calibration: str, least: float) -> None:
    model = image_model(residual)
    result = quantized(model, f"quant{{keep_slower=true,calibration={calibration}}}")
    feed = data_for(model)[0]
    assert sqnr(outputs(model, feed), outputs(result.model, feed)) > least


@pytest.mark.parametrize("transposed", [0, 1])
@pytest.mark.parametrize("bias", [False, True])
def test_gemm_fuses_with_float_and_with_integer_readers(
    transposed: int, bias: bool, tmp_path: Path
) -> None:
    b = Builder()
    h = b.input("x", ["n", 16])
    for width, last in ((32, False), (8, True)):
        k = 16 if width == 32 else 32
        shape = (width, k) if transposed else (k, width)
        extra = [b.weight(width)] if bias else []
        h = b.op("Gemm", h, b.weight(*shape), *extra, transB=transposed)
        h = h if last else b.op("Relu", h)
    b.output(h)
    model = b.model()
    result = quantized(model)
    found = executed(result.model, tmp_path)
    assert found["QGemm"] == 2
    assert not any(found[op] for op in (*FLOAT_OPS, "Relu", "DequantizeLinear")), found
    feed = data_for(model)[0]
    assert sqnr(outputs(model, feed), outputs(result.model, feed)) > 25


@pytest.mark.parametrize("shape", [["n", 6, 16], [2, 6, 16], [6, 16]])
def test_matmul_with_a_bias_never_runs_with_weights_restored_every_time(
    shape: list[int | str], tmp_path: Path
) -> None:
    b = Builder()
    x = b.input("x", shape)
    h = b.op("Add", b.op("MatMul", x, b.weight(16, 32)), b.weight(32))
    h = b.op("Add", b.op("MatMul", b.op("Tanh", h), b.weight(32, 8)), b.weight(8))
    b.output(h)
    model = b.model()
    result = quantized(model, "canonicalize,quant{op_types=[MatMul,Gemm],keep_slower=true}")
    found = executed(result.model, tmp_path)
    assert not any(found[op] for op in FLOAT_OPS), found
    feed = data_for(model)[0]
    assert sqnr(outputs(model, feed), outputs(result.model, feed)) > 25


def test_a_float_operator_between_integer_ones_keeps_its_weights(tmp_path: Path) -> None:
    b = Builder()
    x = b.input("x", ["n", 8, 8, 8])
    h = b.op("Relu", conv(b, x, 8, 8))
    h = b.op("Conv", h, b.weight(8, 8, 3, 3), to="kept", pads=[1] * 4)
    b.output(conv(b, b.op("Relu", h), 8, 8))
    model = b.model()
    result = quantized(model, "quant{keep_slower=true,exclude=[kept]}")
    found = executed(result.model, tmp_path)
    assert found["QLinearConv"] == 2, found
    assert found["Conv"] + found["FusedConv"] == 1
    feed = data_for(model)[0]
    assert sqnr(outputs(model, feed), outputs(result.model, feed)) > 25


def test_weights_are_replaced_and_scales_are_scalars() -> None:
    model = image_model(residual)
    result = quantized(model)
    arrays = {v.name: v.data for v in result.model.graph.initializers.values()}
    assert not any(a is not None and a.dtype == np.float32 and a.ndim > 1 for a in arrays.values())
    for _, node in result.model.nodes():
        if node.is_op("QuantizeLinear"):
            assert node.inputs[1] is not None
            assert node.inputs[1].shape == ()


def test_tied_weights_are_quantized_once() -> None:
    b = Builder()
    x = b.input("x", ["n", 16])
    shared = b.weight(16, 16)
    h = b.op("Relu", b.op("MatMul", x, shared))
    b.output(b.op("MatMul", h, shared))
    result = quantized(b.model())
    arrays = [v.data for v in result.model.graph.initializers.values() if v.rank == 2]
    assert [a.dtype for a in arrays if a is not None] == [np.int8]


def test_a_weight_that_is_needed_in_float_is_left_alone() -> None:
    b = Builder()
    x = b.input("x", ["n", 16])
    shared = b.weight(16, 16)
    b.output(b.op("MatMul", x, shared))
    b.output(b.op("Sub", b.input("z", [16, 16]), shared))
    result = quantized(b.model(), "quant{keep_slower=true,rest=float}")
    assert result.diagnostics.declined("quant")["shared-weight"] == 1
    assert not result.records[-1].changed


def branch(name: str, seed: int) -> object:
    b = Builder(seed)
    b._count = 100 * seed
    h = b.op("Conv", "x", b.weight(8, 8, 3, 3), b.weight(8), pads=[1] * 4)
    h = b.op("Relu", h)
    b.output(b.op("Add", h, "x"), ["n", 8, 8, 8])
    return b.graph(name)


def test_bodies_are_quantized_where_their_nodes_are(tmp_path: Path) -> None:
    b = Builder()
    b.input("x", ["n", 8, 8, 8])
    b.input("c", [], T.BOOL)
    b.ops("If", ["c"], ["y"], then_branch=branch("t", 1), else_branch=branch("e", 2))
    b.output("y", ["n", 8, 8, 8])
    model = b.model()
    batches = data_for(model, 6)
    for index, feed in enumerate(batches):
        feed["c"] = np.array(index % 2 == 0)
    result = quantized(model, "canonicalize,quant{keep_slower=true}", batches=batches)
    found = executed(result.model, tmp_path)
    assert found["QLinearConv"] == 2, found
    assert found["Conv"] == 0
    for feed in batches[:2]:
        assert sqnr(outputs(model, feed), outputs(result.model, feed)) > 25


def test_what_the_calibration_data_never_reach_stays_float() -> None:
    b = Builder()
    b.input("x", ["n", 8, 8, 8])
    b.input("c", [], T.BOOL)
    b.ops("If", ["c"], ["y"], then_branch=branch("t", 1), else_branch=branch("e", 2))
    b.output("y", ["n", 8, 8, 8])
    model = b.model()
    batches = data_for(model, 2)
    for feed in batches:
        feed["c"] = np.array(True)
    result = quantized(model, "canonicalize,quant{keep_slower=true}", batches=batches)
    assert result.diagnostics.declined("quant")["not-observed"] >= 1
    assert result.records[-1].counts["int8 Conv"] == 1


def test_portable_weights_do_not_saturate_and_vnni_weights_use_all_bits() -> None:
    b = Builder()
    x = b.input("x", ["n", 16])
    b.output(b.op("MatMul", x, b.const(np.ones((16, 4), np.float32))))
    model = b.model()
    largest = {}
    for target in ("portable", "x86-vnni"):
        result = quantized(from_proto(to_proto(model)), target=target)
        weights = [
            v.data
            for v in result.model.graph.initializers.values()
            if v.rank == 2 and v.data is not None
        ]
        largest[target] = int(np.abs(weights[0].astype(int)).max())
    assert largest == {"portable": 64, "x86-vnni": 127}


def test_the_result_does_not_depend_on_the_run() -> None:
    model = image_model(residual)
    first, second = (quantized(model.clone()).model for _ in range(2))
    assert to_proto(first).SerializeToString() == to_proto(second).SerializeToString()


def test_a_second_run_changes_nothing_and_says_why() -> None:
    result = quantized(image_model(residual))
    again = quantized(result.model, "quant", batches=data_for(image_model(residual)))
    assert not again.records[-1].changed
    assert again.diagnostics.declined("quant")["already-quantized"] == 1


def test_a_tiny_network_is_left_alone_because_it_would_not_be_faster() -> None:
    b = Builder()
    x = b.input("x", [1, 4])
    b.output(b.op("Add", b.op("Gemm", x, b.weight(4, 4), b.weight(4)), x), [1, 4])
    model = b.model()
    before = fingerprint(model)
    result = quantized(model, "quant")
    assert fingerprint(result.model) == before
    assert result.diagnostics.declined("quant")["does-not-pay"] == 2
    rows = result.records[-1].details["nodes"]
    assert all(r["choice"] == "float" and r["float_ns"] < r["int8_ns"] for r in rows)


def test_a_large_network_becomes_integer_with_a_table_of_errors() -> None:
    b = Builder()
    x = b.input("x", ["n", 64, 14, 14])
    h = b.op("Relu", conv(b, x, 64, 64))
    b.output(b.op("Relu", conv(b, h, 64, 64)))
    result = quantized(b.model(), "quant")
    details = result.records[-1].details
    assert [r["choice"] for r in details["nodes"]] == ["int8", "int8"]
    assert all(r["weight_sqnr_db"] > 30 for r in details["nodes"])
    errors = [r["sqnr_db"] for r in details["tensors"]]
    assert errors == sorted(errors)
    assert errors[0] > 25


def test_only_float32_is_quantized() -> None:
    b = Builder()
    x = b.input("x", ["n", 8], T.FLOAT16)
    b.output(b.op("MatMul", x, b.weight(8, 8, dtype=np.float16)), ["n", 8], T.FLOAT16)
    result = quantized(b.model())
    assert result.diagnostics.declined("quant")["not-float32"] == 1


def test_infinite_activations_are_declined() -> None:
    b = Builder()
    x = b.input("x", ["n", 8])
    h = b.op("Div", x, b.const(np.zeros(8, np.float32)))
    b.output(b.op("MatMul", h, b.weight(8, 8)))
    result = quantized(b.model(), "quant{keep_slower=true}")
    assert result.diagnostics.declined("quant")["not-finite"] == 1


def test_excluding_nothing_that_exists_is_an_error_with_near_names() -> None:
    b = Builder()
    x = b.input("x", ["n", 8])
    b.output(b.op("MatMul", x, b.weight(8, 8), to="layer_one"))
    model = b.model()
    with pytest.raises(OptionError, match=r"layer_ome.*'layer_one'"):
        quantized(model, "quant{exclude=[layer_ome]}")
    with pytest.raises(OptionError, match="did you mean 'Conv'"):
        quantized(model, "quant{exclude_ops=[Convv]}")
    assert not quantized(model, 'quant{exclude=["layer_*"],keep_slower=true}').records[-1].changed


def test_without_data_it_says_so() -> None:
    model = image_model(residual)
    with pytest.raises(DataError, match=r"quant.*calibration data"):
        PassManager(target=find("portable")).run(Pipeline.parse("quant"), model)


def test_bias_correction_brings_the_mean_back() -> None:
    b = Builder()
    x = b.input("x", ["n", 32])
    weight = b.rng.standard_normal((32, 8)).astype(np.float32)
    b.output(b.op("Gemm", x, b.const(weight), b.weight(8)))
    model = b.model()
    rng = np.random.default_rng(0)
    batches = [{"x": (rng.standard_normal((64, 32)) * 0.1 + 5).astype(np.float32)}] * 2
    off = []
    for correction in ("true", "false"):
        text = f"quant{{keep_slower=true,fit=rtn,weight_bits=7,bias_correction={correction}}}"
        result = quantized(model.clone(), text, batches=batches)
        got, want = outputs(result.model, batches[0])[0], outputs(model, batches[0])[0]
        off.append(float(np.abs((got - want).mean(axis=0)).max()))
    assert off[0] < 0.3 * off[1]


@pytest.mark.parametrize("name", sorted(ZOO))
def test_every_odd_graph_stays_loadable_and_close(name: str) -> None:
    model = ZOO[name]()
    result = quantized(model, "canonicalize,quant{keep_slower=true}")
    if not result.records[-1].changed:
        return
    feed = data_for(model)[0]
    want = [a for a in outputs(model, feed) if a.dtype.kind == "f"]
    got = [a for a in outputs(result.model, feed) if a.dtype.kind == "f"]
    assert sqnr(want, got) > 20


def test_a_loop_body_is_quantized(tmp_path: Path) -> None:
    body = Builder(5)
    shape = [1, 8, 8, 8]
    body.input("i", [], T.INT64)
    body.input("k", [], T.BOOL)
    body.input("s", shape)
    h = body.op("Relu", conv(body, "s", 8, 8))
    body.op("Identity", "k", to="ko")
    body.output("ko", [], T.BOOL)
    body.output(h, shape)
    b = Builder()
    b.input("x", shape)
    b.ops("Loop", [b.const(np.int64(2)), "", "x"], ["y"], body=body.graph("body"))
    b.output("y", shape)
    model = b.model()
    result = quantized(model)
    assert executed(result.model, tmp_path)["QLinearConv"] == 1
    feed = data_for(model)[0]
    assert sqnr(outputs(model, feed), outputs(result.model, feed)) > 25


@pytest.mark.parametrize("dtype", ["uint16", "int16"])
def test_sixteen_bits_are_far_finer_and_only_made_on_request(dtype: str) -> None:
    model = image_model(residual)
    feed = data_for(model)[0]
    wanted = outputs(model, feed)
    fine = quantized(model.clone(), f"quant{{keep_slower=true,activations={dtype},rest=float}}")
    assert fine.model.opset >= 21
    grids = [n.inputs[2] for _, n in fine.model.nodes() if n.is_op("QuantizeLinear")]
    assert {str(z.constant.dtype) for z in grids if z is not None and z.constant is not None} == {
        dtype
    }
    coarse = quantized(model.clone(), "quant{keep_slower=true,rest=float}")
    gained = sqnr(wanted, outputs(fine.model, feed)) - sqnr(wanted, outputs(coarse.model, feed))
    assert gained > 3  # what is left is the noise of int8 weights
    plain = quantized(model.clone(), f"quant{{activations={dtype}}}")
    assert not plain.records[-1].changed
    assert plain.diagnostics.declined("quant")["no-16-bit-kernel"] == 1

"""The whole pass on small graphs: what ONNX Runtime makes of it, how faithful it is."""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto as T

import ocompress
from ocompress.errors import DataError
from ocompress.io import load_model, save_model
from ocompress.io.loaded import as_loaded
from ocompress.ir import onnx_api, to_proto
from ocompress.runtime import Level, Session
from ocompress.validation import Gate, validate
from passes.quantization.storing import even_block
from passes.quantization.weight_forms import Effect
from tests.build import Builder, InMemory
from tests.graphs import ZOO
from tests.passes.quantization.runs import data_for, executed, sqnr
from tests.passes.quantization.weight_runs import (
    Build,
    codes,
    columns,
    lstm,
    mlp,
    model_of,
    odd_gemm,
    rows_of,
    run,
    stacked,
    table,
    tied,
    transposed,
    weighted,
)

LEAST = {"fp16": 60, "bf16": 42, "int8": 35, "int4": 15, "int2": 0.5}


@pytest.mark.parametrize("kernel", ["auto", "matmulnbits"])
@pytest.mark.parametrize("form", LEAST)
@pytest.mark.parametrize("build", [mlp, table])
def test_every_form_is_faithful_at_every_level(build: Build, form: str, kernel: str) -> None:
    if kernel != "auto" and form in ("fp16", "bf16"):
        pytest.skip("floats have no kernel to choose")
    model = model_of(build, 25)
    result = weighted(model, f"form={form},kernel={kernel}")
    onnx_api.check(to_proto(result.model))
    expected = run(model, Level.DISABLED)
    for level in (Level.ALL, Level.DISABLED):
        assert sqnr(expected, run(result.model, level)) > LEAST[form]
    assert codes(result).count("not-standard-onnx") == (
        3 if kernel != "auto" and build is mlp else 0
    )


def product(op: str, rank: int, bias: tuple[int, ...] | None, activation: str) -> Build:
    def build(b: Builder) -> None:
        x = b.input("x", ["n", "m", 48][-rank:] if rank > 1 else [48])
        if op == "Gemm":
            h = b.op("Gemm", x, b.weight(48, 40), *([b.weight(*bias)] if bias is not None else []))
        else:
            h = b.op("MatMul", x, b.weight(48, 40))
            h = b.op("Add", h, b.weight(*bias)) if bias is not None else h
        if activation == "Clip":
            h = b.op("Clip", h, b.const(np.float32(0)), b.const(np.float32(6)))
        elif activation:
            h = b.op(activation, h)
        b.output(b.op("Abs", h))

    return build


PRODUCTS = [
    (op, rank, bias, activation)
    for op, rank, bias in (
        ("Gemm", 2, None),
        ("Gemm", 2, (40,)),
        ("Gemm", 2, (1, 40)),
        ("Gemm", 2, (1,)),
        ("MatMul", 1, None),
        ("MatMul", 2, None),
        ("MatMul", 2, (40,)),
        ("MatMul", 3, None),
        ("MatMul", 3, (40,)),
    )
    for activation in ("", "Relu", "Clip", "Sigmoid")
]


@pytest.mark.parametrize("form", ["int8", "int4"])
@pytest.mark.parametrize(("op", "rank", "bias", "activation"), PRODUCTS)
def test_what_is_called_fused_is_fused(
    op: str, rank: int, bias: tuple[int, ...] | None, activation: str, form: str, tmp_path: Path
) -> None:
    model = model_of(product(op, rank, bias, activation))
    result = weighted(model, f"form={form}")
    assert [r["latency"] for r in rows_of(result)] == [Effect.FUSED]
    found = executed(result.model, tmp_path)
    assert found["MatMulNBits"] == 1, found
    assert not found["DequantizeLinear"], found
    expected = run(model, Level.DISABLED)
    assert sqnr(expected, run(result.model, Level.ALL)) > LEAST[form]


def test_deep_nets_fuse_as_a_whole(tmp_path: Path) -> None:
    for name in ("mlp", "attention", "if_bodies", "loop_body", "embedding"):
        result = weighted(ZOO[name]())
        assert Effect.EVERY_RUN not in {r["latency"] for r in rows_of(result)}
        found = executed(result.model, tmp_path)
        fused = Counter(r["latency"] for r in rows_of(result))[Effect.FUSED]
        assert found["MatMulNBits"] == fused > 0, (name, found)
        assert not found["DequantizeLinear"], (name, found)


def test_a_large_table_is_never_dequantized_as_a_whole() -> None:
    for form in ("fp16", "int8", "int4", "int2"):
        result = weighted(model_of(partial(table, width=5248)), f"form={form}")
        for node in result.model.graph.nodes:
            if node.is_op("DequantizeLinear", "Cast", "BitwiseAnd"):
                assert node.input(0).constant is None  # type: ignore[union-attr]
        assert rows_of(result)[0]["latency"] == Effect.ROWS


@pytest.mark.parametrize("form", ["fp16", "int8", "int4", "int2"])
@pytest.mark.parametrize("kernel", ["auto", "fold"])
def test_a_small_table_costs_no_operators(form: str, kernel: str, tmp_path: Path) -> None:
    """On a quick model a few operators for each look-up are more than a limit allows."""
    if (form, kernel) == ("fp16", "fold"):
        pytest.skip("contradict each other")
    result = weighted(model_of(table), f"form={form},kernel={kernel}")
    assert rows_of(result)[0]["latency"] == Effect.FOLDED
    assert executed(result.model, tmp_path) == {"Gather": 1}


@pytest.mark.parametrize("options", ["", "block=32", "form=int4", "form=int4,block=0"])
def test_a_product_of_looked_up_rows_fuses(options: str, tmp_path: Path) -> None:
    b = Builder()
    h = b.op("Gather", b.weight(50, 64, scale=1.0), b.input("ids", ["n", 5], T.INT64))
    b.op("MatMul", h, b.weight(64, 40), to="y")
    b.output("y", ["n", 5, 40])
    model = b.model(opset=21, ir_version=10)
    result = weighted(model, options)
    found = executed(result.model, tmp_path)
    assert found["MatMulNBits"] == 1, found
    expected = run(model, Level.DISABLED)
    assert sqnr(expected, run(result.model, Level.ALL)) > 13


@pytest.mark.parametrize("options", ["", "symmetric=false", "block=32", "form=int4,block=0"])
@pytest.mark.parametrize("shape", [[], ["n"], ["n", 2, 3]])
def test_look_ups_of_any_rank(shape: list[Any], options: str) -> None:
    b = Builder()
    ids = b.input("ids", shape, T.INT64)
    b.op("Gather", b.weight(50, 40, scale=1.0), ids, to="y")
    b.output("y")
    model = b.model(opset=21, ir_version=10)
    result = weighted(model, options)
    expected = run(model, Level.DISABLED)
    for level in Level:
        assert sqnr(expected, run(result.model, level)) > 15


def test_rows_say_what_is_on_disk_and_in_memory() -> None:
    def bytes_of(form: str) -> tuple[int, int, int]:
        result = weighted(model_of(product("MatMul", 2, None, "")), form)
        row = rows_of(result)[0]
        assert result.model.weight_bytes == row["disk_bytes"]
        return row["float_bytes"], row["disk_bytes"], row["memory_bytes"]

    assert bytes_of("form=fp16") == (7680, 3840, 7680)
    assert bytes_of("form=int8") == (7680, 1920 + 160, 1920 + 160)
    packed = 960 + 2 * 40 * 4 + 40
    assert bytes_of("form=int4") == (7680, packed, packed)


def test_weights_in_bodies_stand_beside_their_reader() -> None:
    model = ZOO["if_bodies"]()
    result = weighted(model)
    assert len(rows_of(result)) == 3
    for graph, node in result.model.nodes():
        if node.is_op("DequantizeLinear"):
            names = [v.name for v in node.inputs if v is not None]
            assert all(name in graph.initializers for name in names)
    for seed in range(4):  # both branches
        expected = run(model, Level.DISABLED, seed)
        assert sqnr(expected, run(result.model, Level.ALL, seed)) > 30


def test_a_shared_weight_is_stored_once() -> None:
    model = ZOO["shared_weights"]()
    fixed = weighted(model, "kernel=dequantize")
    assert "dequantized-every-run" in codes(fixed)
    assert len(rows_of(fixed)) == 1
    for options in ("keep_slower=true", "kernel=matmulnbits", "form=fp16"):
        result = weighted(model, options)
        assert sorted(len(r["nodes"]) for r in rows_of(result)) == [1, 2]
        assert sum(r["disk_bytes"] for r in rows_of(result)) < model.weight_bytes * 0.6
        expected = run(model, Level.DISABLED)
        assert sqnr(expected, run(result.model, Level.ALL)) > 30


def test_no_float_weight_is_left_behind() -> None:
    for name in ("mlp", "embedding", "if_bodies", "shared_weights"):
        for options in ("keep_slower=true", "form=fp16", "kernel=matmulnbits"):
            result = weighted(ZOO[name](), options)
            floats = [
                v.name
                for graph in result.model.graph.graphs()
                for v in graph.written()
                if v.data is not None
                and v.data.dtype == np.float32
                and v.data.ndim == 2
                and "scale" not in v.name
            ]
            assert floats == [], name


def test_gptq_needs_data_and_uses_it() -> None:
    model = ZOO["mlp"]()
    with pytest.raises(DataError):
        weighted(model, "fit=gptq")
    rng = np.random.default_rng(0)
    mix = rng.standard_normal((4, 16))
    batches = [{"x": (rng.standard_normal((32, 4)) @ mix).astype(np.float32)} for _ in range(4)]
    fresh = {"x": (rng.standard_normal((512, 4)) @ mix).astype(np.float32)}
    options = "form=int8,kernel=matmulnbits,fit="
    errors = {}
    for fit in ("rtn", "gptq"):
        result = weighted(model, options + fit, data=InMemory(batches))
        expected = Session(model, level=Level.DISABLED).run(fresh)
        got = Session(result.model, level=Level.DISABLED).run(fresh)
        errors[fit] = np.square(got["y"] - expected["y"]).mean()
    assert errors["gptq"] < 0.5 * errors["rtn"]
    assert all(0 < row["output_error"] < 0.01 for row in rows_of(result))


@pytest.mark.parametrize("samples", [24, 48, 96])
def test_gptq_on_few_samples_does_no_harm_on_others(samples: int) -> None:
    b = Builder()
    h = b.op("Relu", b.op("MatMul", b.input("x", ["n", 48]), b.weight(48, 64)))
    b.op("MatMul", h, b.weight(64, 32), to="y")
    b.output("y", ["n", 32])
    model = b.model()
    rng = np.random.default_rng(samples)
    data = InMemory([{"x": rng.standard_normal((samples, 48)).astype(np.float32)}])
    fresh = {"x": rng.standard_normal((1024, 48)).astype(np.float32)}
    wanted = Session(model).run(fresh)["y"]
    errors = {}
    for fit in ("rtn", "gptq"):
        result = weighted(model, f"form=int4,fit={fit}", data=data)
        errors[fit] = np.square(Session(result.model).run(fresh)["y"] - wanted).mean()
    assert errors["gptq"] < errors["rtn"]


def test_gptq_rounds_what_no_data_reached() -> None:
    model = ZOO["if_bodies"]()
    batches = [dict(f, flag=np.array(True)) for f in data_for(model)]
    result = weighted(model, "fit=gptq", data=InMemory(batches))
    assert codes(result) == ["not-observed"] or "not-observed" not in codes(result)
    assert {r["fit"] for r in rows_of(result)} <= {"gptq", "rtn"}
    assert len(rows_of(result)) == 3


def test_half_floats_take_what_integers_cannot() -> None:
    for build in (tied, columns, stacked, transposed, odd_gemm()):
        model = model_of(build)
        result = weighted(model, "form=fp16")
        assert rows_of(result)
        expected = run(model, Level.DISABLED)
        for level in (Level.ALL, Level.DISABLED):
            assert sqnr(expected, run(result.model, level)) > 60


def test_convolutions_are_folded_and_dequantized_on_every_run_only_on_request() -> None:
    model = ZOO["conv_bn_relu"]()
    found = {r["op_type"]: r["latency"] for r in rows_of(weighted(model))}
    assert found == {"Conv": Effect.FOLDED, "Gemm": Effect.FUSED}
    for options in ("kernel=dequantize", "form=int4"):
        assert {r["op_type"] for r in rows_of(weighted(model, options))} == {"Gemm"}
    result = weighted(model, "op_types=[Conv],kernel=dequantize")
    assert codes(result) == ["dequantized-every-run"] * 2
    assert {r["latency"] for r in rows_of(result)} == {Effect.EVERY_RUN}
    assert sqnr(run(model, Level.DISABLED), run(result.model, Level.ALL)) > 35


def wide(b: Builder) -> None:
    h = b.op("ConvTranspose", b.input("x", [1, 24, 4, 4]), b.weight(24, 16, 3, 3))
    b.output(h)


@pytest.mark.parametrize("build", [tied, columns, stacked, wide, odd_gemm(), lstm])
@pytest.mark.parametrize(
    ("options", "least", "part"),
    [
        ("form=int4", 15, 0.2),
        ("form=int4,fit=hqq", 15, 0.2),
        ("form=int4,symmetric=true", 12, 0.2),
        ("form=int4,block=16", 17, 0.26),
        ("form=int4,block=0", 10, 0.2),
        ("form=int4,kernel=fold", 15, 0.2),
        ("form=int2,kernel=fold", 2, 0.13),
        ("form=int8,block=32", 38, 0.35),
    ],
)
def test_integers_in_blocks_are_folded(
    build: Build, options: str, least: float, part: float, tmp_path: Path
) -> None:
    """They are restored at load, wherever no kernel reads such integers."""
    model = model_of(build)
    types = "op_types=[MatMul,Gemm,Gather,Conv,ConvTranspose,LSTM]"
    result = weighted(model, f"{options},{types}")
    assert {r["latency"] for r in rows_of(result)} == {Effect.FOLDED}
    size = sum(r["float_bytes"] for r in rows_of(result))
    assert sum(r["disk_bytes"] for r in rows_of(result)) < part * size
    wanted = run(model, Level.DISABLED)
    for level in (Level.ALL, Level.DISABLED):
        assert sqnr(wanted, run(result.model, level)) > least
    plain = as_loaded(model)
    assert as_loaded(result.model).operators == plain.operators
    save_model(result.model, tmp_path / "small.onnx")
    again = load_model(tmp_path / "small.onnx")
    for mine, read in zip(run(result.model, Level.ALL), run(again, Level.ALL), strict=True):
        assert mine.tobytes() == read.tobytes()
    assert not weighted(again, f"{options},{types}").records[-1].changed


def test_what_is_written_is_what_passes_see() -> None:
    """The array of a constant in blocks is what runtimes make of the file, bit for bit."""
    result = weighted(model_of(stacked), "form=int4")
    (value,) = (v for v in result.model.graph.initializers.values() if v.packed)
    found = as_loaded(result.model).constants[value.name]
    assert value.constant is not None
    assert found.tobytes() == value.constant.tobytes()


@pytest.mark.parametrize(("inputs", "width"), [(96, 32), (100, 25), (97, 0), (20, 20), (7, 7)])
def test_blocks_divide_rows(inputs: int, width: int) -> None:
    assert even_block(inputs, 32) == (width if width >= 8 else 0)


@pytest.mark.parametrize(
    ("options", "level", "slow"),
    [
        ("form=int2", 4, 0),
        ("form=int2,accuracy_level=1", 1, 3),
        ("form=int4,accuracy_level=1", 1, 0),
    ],
)
def test_accuracy_level_reaches_the_kernel(options: str, level: int, slow: int) -> None:
    result = weighted(model_of(mlp), f"kernel=matmulnbits,{options}")
    found = [n for n in result.model.graph.nodes if n.op_type == "MatMulNBits"]
    assert [n.attr("accuracy_level") for n in found] == [level] * 3
    assert {n.domain for n in found} == {"com.microsoft"}
    assert result.model.opsets["com.microsoft"] == 1
    assert codes(result).count("slow-kernel") == slow


@pytest.mark.parametrize("form", ["int8", "int4", "int2"])
@pytest.mark.parametrize("opset", [13, 21])
def test_matmulnbits_is_written_although_it_is_no_standard_operator(
    form: str, opset: int, tmp_path: Path
) -> None:
    out = tmp_path / "small.onnx"
    passes = f"quant-weights{{form={form} kernel=matmulnbits smallest=1}}"
    data = [{"x": np.ones((2, 48), np.float32)}]
    model = model_of(mlp, opset)
    record = ocompress.optimize(model, out, passes=passes, data=data, measure=False)
    assert record.validation.passed
    written = ocompress.load(out)
    assert written.domains() == {"ai.onnx", "com.microsoft"}
    strict = Gate(allowed_domains=())
    refused = validate(model, written, gate=strict)
    assert "domains" in [c.name for c in refused.failures]


@pytest.mark.parametrize("form", ["int8", "int4"])
@pytest.mark.parametrize("case", ["input", "product", "row", "relu"])
def test_a_product_fuses_although_something_of_two_axes_is_added(
    case: str, form: str, tmp_path: Path
) -> None:
    """ONNX Runtime would make a float Gemm of a MatMul and an Add, its weight restored each run."""
    b = Builder()
    x = b.input("x", ["n", 64])
    h = b.op("MatMul", x, b.weight(64, 64))
    other = {"input": x, "relu": x, "row": b.weight(1, 64)}.get(case) or b.op("Neg", h)
    h = b.op("Add", other, h)
    b.output(b.op("Relu", h) if case == "relu" else h, ["n", 64])
    model = b.model(opset=21, ir_version=10)
    result = weighted(model, f"form={form}").model
    ran = executed(result, tmp_path)
    assert ran["MatMulNBits"] == 1, ran
    assert not ran["DequantizeLinear"]


def test_a_product_of_unknown_rank_is_left_alone_where_something_is_added() -> None:
    b = Builder()
    x = b.input("x", None)
    b.output(b.op("Add", x, b.op("MatMul", x, b.weight(64, 64))), None)
    result = weighted(b.model(opset=21, ir_version=10), "kernel=dequantize")
    assert codes(result) == ["dequantized-every-run"]

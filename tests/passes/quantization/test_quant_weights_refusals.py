"""What `quant-weights` leaves alone, with which code, and the options it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto as T
from onnx import helper

from ocompress.errors import OptionError
from ocompress.ir import Model, fingerprint, text
from ocompress.ir.onnx_api import infer_types
from ocompress.pipeline import PassManager, Pipeline
from ocompress.runtime import Level
from ocompress.targets import find
from passes.quantization.quant_weights import QuantWeights
from tests.build import Builder
from tests.contract.harness import rerun, run_pass
from tests.graphs import ZOO
from tests.passes.quantization.runs import quantized
from tests.passes.quantization.weight_runs import (
    Build,
    broken,
    codes,
    columns,
    computed,
    experts,
    huge,
    mlp,
    model_of,
    narrow,
    odd_gemm,
    picked,
    rows_of,
    run,
    stacked,
    table,
    tied,
    transposed,
    weighted,
)


def refuse(build: Build, options: str = "", opset: int = 21) -> set[str]:
    model = model_of(build, opset)
    infer_types(model)  # which says what shape outputs have
    result = weighted(model, options)
    assert fingerprint(result.model) == fingerprint(model)
    assert not result.records[-1].changed
    return set(codes(result))


def test_old_opsets_are_declined_with_the_remedy() -> None:
    held = "canonicalize{opset=17},quant-weights{smallest=1,"
    manager = PassManager(target=find("portable"))
    result = manager.run(Pipeline.parse(held + "form=int4}"), model_of(mlp, 17))
    message = next(r.message for r in result.diagnostics if r.code == "old-opset")
    assert "canonicalize{opset=21}" in message
    result = manager.run(Pipeline.parse(held + "block=32}"), model_of(mlp, 17))
    assert set(codes(result)) == {"old-opset"}
    assert refuse(mlp, "form=int2") == {"old-opset"}


def test_a_pipeline_brings_models_to_the_opset_that_a_form_needs() -> None:
    for options, opset in (("form=int8", 17), ("form=int4", 21), ("form=int8,block=32", 21)):
        result = weighted(model_of(mlp, 17), options)
        assert len(rows_of(result)) == 3
        assert result.model.opset == opset


@pytest.mark.parametrize(
    ("build", "options", "code"),
    [
        (mlp, "smallest=9999", "too-small"),
        (mlp, "exclude=[*]", "excluded"),
        (lambda b: table(b, 63), "form=int4,kernel=matmulnbits", "not-divisible"),
        (lambda b: table(b, 66), "form=int2,kernel=dequantize", "not-divisible"),
    ],
)
def test_what_options_and_sizes_rule_out(build: Build, options: str, code: str) -> None:
    model = model_of(build)
    options = options if "smallest" in options else f"smallest=1,{options}"
    result = PassManager(target=find("portable")).run(
        Pipeline.parse(f"quant-weights{{{options}}}"), model
    )
    assert set(codes(result)) == {code}
    assert not result.records[-1].changed


@pytest.mark.parametrize(
    ("build", "options", "code"),
    [
        (odd_gemm(), "kernel=dequantize", "dequantized-every-run"),
        (odd_gemm(transA=1), "kernel=matmulnbits", "scaled-gemm"),
        (computed, "", "dynamic-weight"),
        (stacked, "kernel=dequantize", "not-a-matrix"),
        (stacked, "form=int4,kernel=dequantize", "not-a-matrix"),
        (columns, "kernel=dequantize", "not-a-table"),
        (tied, "kernel=dequantize", "shared-weight"),
        (tied, "form=int4,kernel=matmulnbits", "shared-weight"),
        (lambda b: table(b, 1), "", "larger"),
        (lambda b: table(b, 1), "kernel=fold", "larger"),
        (narrow, "", "larger"),
        (broken, "", "not-finite"),
        (huge, "form=fp16", "out-of-range"),
        (transposed, "op_types=[ConvTranspose],kernel=dequantize", "no-integer-form"),
    ],
)
def test_what_is_left_alone(build: Build, options: str, code: str) -> None:
    assert refuse(build, options) == {code}


@pytest.mark.parametrize("build", [stacked, columns, tied])
def test_what_is_left_alone_may_be_folded_and_hears_so(build: Build) -> None:
    told = weighted(model_of(build, 21), "kernel=dequantize").diagnostics
    assert any("kernel=fold" in r.message for r in told if r.node)
    assert weighted(model_of(build, 21), "kernel=fold").records[-1].counts["int8 weights"] == 1


@pytest.mark.parametrize(("through", "name"), [("", "y"), ("Transpose", "turned")])
def test_what_a_reader_that_is_excluded_needs_stays_in_float(through: str, name: str) -> None:
    found = refuse(lambda b: tied(b, through), f"exclude=[{name}]")
    assert found >= {"shared-weight", "dynamic-weight" if through else "excluded"}


@pytest.mark.parametrize(
    ("build", "told"),
    [
        (stacked, []),
        (columns, []),
        (odd_gemm(), []),
        (experts, []),
        (picked, ["dynamic-weight"]),
        (tied, []),
        (lambda b: tied(b, through="Transpose"), ["dynamic-weight"]),
        (lambda b: tied(b, through="Abs"), ["dynamic-weight"]),
    ],
)
def test_what_no_kernel_reads_in_integers_is_folded(build: Build, told: list[str]) -> None:
    model = model_of(build, 21)
    largest = max(v.data.nbytes for v in model.graph.written() if v.data is not None)
    result = weighted(model)
    assert codes(result) == told
    (row,) = rows_of(result)
    assert row["latency"] == "folded at load"
    assert row["disk_bytes"] < 0.4 * largest == 0.4 * row["float_bytes"]
    assert result.model.weight_bytes < model.weight_bytes - 0.6 * largest
    for wanted, found in zip(run(model, Level.ALL), run(result.model, Level.ALL), strict=True):
        off = np.abs(found - wanted).max(axis=0)
        assert 0 < off.max() < 0.02 * np.abs(wanted).max()
    assert not weighted(result.model).records[-1].changed


def test_other_types_are_left_alone() -> None:
    assert set(codes(weighted(ZOO["double"]()))) == {"not-float32"}


@pytest.mark.parametrize("form", ["int8", "fp16"])
@pytest.mark.parametrize("name", ["mlp", "embedding"])
def test_a_second_run_finds_nothing(name: str, form: str) -> None:
    item = QuantWeights(form=form, smallest=1)
    outcome, again = rerun(run_pass(item, ZOO[name]), item)
    assert not outcome
    assert again == text(run_pass(item, ZOO[name]).after)


def test_quantized_models_are_left_alone() -> None:
    assert set(codes(weighted(ZOO["already_quantized"]()))) == {"already-quantized"}


def restored(domain: str, kind: int) -> Model:
    """Layers whose weights a DequantizeLinear makes of integers."""
    b = Builder()
    h = b.input("x", ["n", 8, 12, 12])
    for at, shape in enumerate(((16, 8, 3, 3), (16, 16, 3, 3))):
        integers = b.rng.integers(-7, 8, shape).astype(np.int8)
        weight = b.op(
            "DequantizeLinear",
            b.const(integers.astype(helper.tensor_dtype_to_np_dtype(kind))),
            b.const(np.full(1, 0.01, np.float32)[0]),
            to=f"restored{at}",
            domain=domain,
        )
        h = b.op("Conv", h, weight, to=f"conv{at}")
    b.output(h, ["n", 16, 8, 8])
    return b.model(com_microsoft=1)


@pytest.mark.parametrize(
    ("domain", "kind"), [("", T.INT8), ("com.microsoft", T.INT8), ("com.microsoft", T.INT4)]
)
@pytest.mark.parametrize("passes", ["quant-weights", "quant-dynamic", "prune", "quant"])
def test_integers_of_whichever_domain_are_named_as_such(
    domain: str, kind: int, passes: str
) -> None:
    model = restored(domain, kind)
    result = quantized(model, passes)
    assert not result.records[-1].changed
    told = result.diagnostics.declined(passes)
    assert set(told) == {"already-quantized"}
    assert told["already-quantized"] == (1 if passes == "quant" else 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("block=24", "block=24"),
        ("block=0,kernel=matmulnbits", "block=0"),
        ("op_types=[Relu]", "'Relu'"),
        ("accuracy_level=4", "kernel=matmulnbits"),
        ("form=fp16,fit=hqq", "form=fp16"),
        ("exclude=[nothing]", "'nothing'"),
        ("form=int3", "int3"),
    ],
)
def test_wrong_options_are_named(options: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        weighted(ZOO["mlp"](), options)


def test_a_model_that_stays_as_it_is_hears_why() -> None:
    assert codes(weighted(ZOO["no_weights"]())) == ["nothing-to-store"]
    every = codes(weighted(ZOO["depthwise_residual"](), "form=int4"))
    assert every == ["dequantized-every-run"] * 3  # a remark for each convolution
    assert codes(weighted(ZOO["depthwise_residual"](), "form=fp16")) == []
    assert codes(weighted(ZOO["recurrent"](), "form=int4")) == [
        *("no-integer-form", "nothing-to-store")
    ]


def test_what_has_no_integer_kernel_is_stored_by_default() -> None:
    for name in ("depthwise_residual", "recurrent"):
        result = weighted(ZOO[name]())
        assert {row["latency"] for row in rows_of(result)} == {"folded at load"}
        assert not codes(result)

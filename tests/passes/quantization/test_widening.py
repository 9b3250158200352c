"""Models that compute in 16-bit floats."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto as T
from onnx import helper, numpy_helper

from ocompress.ir import DType, Model, to_proto
from ocompress.ir.onnx_api import infer_types
from passes.quantization.widening import is_narrow, why_not_widened, widen
from tests.build import Array, Builder
from tests.passes.quantization.runs import outputs, quantized, sqnr

HALF = np.float16


def attention(b: Builder) -> None:
    """A mask, constants of several kinds and a body, all in float16."""
    x = b.input("x", ["n", 6, 64], T.FLOAT16)
    keep = b.input("keep", ["n", 6], T.BOOL)
    q, k, v = (b.op("MatMul", x, b.weight(64, 64, dtype=HALF)) for _ in range(3))
    scores = b.op("MatMul", q, b.op("Transpose", k, perm=[0, 2, 1]))
    mask = b.op("Where", keep, b.const(HALF(0)), b.const(HALF(-np.inf)))
    mask = b.op("Unsqueeze", mask, b.const(np.array([1])))
    soft = b.op("Softmax", b.op("Add", scores, mask), axis=-1)
    h = b.op("Add", b.op("MatMul", soft, v), ones_like(b, x))
    then, other = Builder(1), Builder(2)
    then.output(then.op("Mul", h, then.const(HALF(0.5)), to="half"), None, T.FLOAT16)
    other.output(other.op("Identity", h, to="same"), None, T.FLOAT16)
    condition = b.const(np.array(True))
    h = b.op("If", condition, then_branch=then.graph("t"), else_branch=other.graph("o"))
    b.output(h, ["n", 6, 64], T.FLOAT16)
    b.output(b.op("ReduceMax", h, axes=[1], keepdims=0), ["n", 64], T.FLOAT16)


def ones_like(b: Builder, x: str) -> str:
    """Return ones in float16, cast back and forth."""
    one = numpy_helper.from_array(np.ones(1, HALF))
    made = b.op("ConstantOfShape", b.op("Shape", x), value=one)
    for name, kind in (("wide", T.FLOAT), ("narrow", T.FLOAT16)):
        b.nodes.append(helper.make_node("Cast", [made], [name], name=name, to=kind))
        made = name
    return made


def convolutions(b: Builder) -> None:
    h, width = b.input("x", ["n", 8, 12, 12], T.FLOAT16), 8
    for _ in range(3):
        h = b.op("Conv", h, b.weight(32, width, 3, 3, dtype=HALF), b.weight(32, dtype=HALF))
        h, width = b.op("Relu", h), 32
    b.output(h, None, T.FLOAT16)


def model_of(build: Any) -> Model:
    b = Builder()
    build(b)
    model = b.model()
    infer_types(model)
    return model


def batch(seed: int, build: Any) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    if build is convolutions:
        return {"x": rng.standard_normal((2, 8, 12, 12)).astype(HALF)}
    keep = rng.random((2, 6)) < 0.7
    keep[:, 0] = True
    return {"x": rng.standard_normal((2, 6, 64)).astype(HALF), "keep": keep}


@pytest.mark.parametrize("build", [attention, convolutions])
def test_widening_keeps_the_interface_the_numbers_and_the_bytes(build: Any) -> None:
    model = model_of(build)
    assert is_narrow(model)
    assert why_not_widened(model) == ""
    wide = model.clone()
    widen(wide)
    wide.verify()
    assert not is_narrow(wide)
    made = [v for n in wide.graph.nodes for v in n.outputs if v is not None]
    inner = [v for v in made if not v.is_output]
    assert DType.FLOAT16 not in {v.dtype for v in inner}
    for old, new in zip(model.graph.outputs, wide.graph.outputs, strict=True):
        assert (old.name, old.dtype, old.shape) == (new.name, new.dtype, new.shape)
    feed = batch(5, build)
    before, after = outputs(model, feed), outputs(wide, feed)
    assert [a.dtype for a in after] == [np.float16] * len(after)
    assert sqnr(before, after) > 55
    sizes = [to_proto(m).ByteSize() for m in (model, wide)]
    assert sizes[1] < sizes[0] + 1500


@pytest.mark.parametrize(
    ("text", "build"),
    [
        ("quant{keep_slower=true}", attention),
        ("quant{keep_slower=true}", convolutions),
        ("quant", convolutions),
        ("quant-weights{kernel=fold}", attention),
        ("quant-weights{form=int8 kernel=matmulnbits}", attention),
        ("quant-dynamic{smallest=1}", attention),
    ],
)
def test_models_of_float16_are_quantized(text: str, build: Any) -> None:
    model = model_of(build)
    batches = [batch(seed, build) for seed in range(4)]
    result = quantized(model.clone(), text, batches=batches)
    assert result.records[-1].changed
    assert "computes-in-float32" in {r.code for r in result.diagnostics}
    assert [(v.name, v.dtype) for v in result.model.graph.outputs] == [
        (v.name, v.dtype) for v in model.graph.outputs
    ]
    feed = batch(7, build)
    assert sqnr(outputs(model, feed), outputs(result.model, feed)) > 22
    smaller = [to_proto(m).ByteSize() for m in (result.model, model)]
    assert smaller[0] < smaller[1]


def test_what_stays_in_float_stays_in_sixteen_bits_in_the_file() -> None:
    model = model_of(convolutions)
    batches = [batch(seed, convolutions) for seed in range(3)]
    last = model.graph.outputs[0].producer
    assert last is not None
    text = "quant{keep_slower=true rest=float exclude_ops=[Conv] op_types=[]}"
    result = quantized(model.clone(), text, batches=batches)
    assert not result.records[-1].changed
    assert is_narrow(result.model)
    held = [t.data_type for t in to_proto(result.model).graph.initializer]
    assert set(held) == {T.FLOAT16}

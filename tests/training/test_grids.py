"""Models that hold grids themselves: steps and integers are trained, and stay what they are."""

from __future__ import annotations

from functools import cache

import ml_dtypes
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install ocompress[tune]")

from ocompress.io import Split
from ocompress.ir import Model, edit
from ocompress.pipeline import PassManager, Pipeline
from ocompress.runtime import Session
from ocompress.targets import find
from ocompress.training.distillation import distill
from ocompress.training.network import Network
from ocompress.training.settings import Settings, Tuned
from tests.build import Builder, InMemory

Array = np.ndarray
STEP = np.float32(0.05)


def _draw(*shape: int) -> Array:
    found: Array = np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)
    return found


WEIGHTS = _draw(6, 2, 3, 3) / 4, _draw(6) / 4, _draw(6 * 16, 5) / 8


def original() -> Model:
    b = Builder()
    kernel, bias, last = (b.const(w) for w in WEIGHTS)
    h = b.op("Relu", b.op("Conv", b.input("x", ["n", 2, 6, 6]), kernel, bias))
    b.op("MatMul", b.op("Flatten", h), last, to="y")
    b.output("y", ["n", 5])
    return b.model(opset=21, ir_version=10)


def on_grids(bits: int = 3) -> Model:
    """Make the net with activations of 8 bits, kernels of a few and a matrix of 4."""
    b = Builder()
    kernel, bias, last = WEIGHTS
    most = 2 ** (bits - 1) - 1
    steps = np.abs(kernel).max(axis=(1, 2, 3)) / most
    levels = np.rint(kernel / steps[:, None, None, None]).astype(np.int8)
    grid = b.const(STEP, "x_s"), b.const(np.int8(3), "x_zp")
    x = b.op("DequantizeLinear", b.op("QuantizeLinear", b.input("x", ["n", 2, 6, 6]), *grid), *grid)
    w = b.op("DequantizeLinear", b.const(levels, "w_q"), b.const(steps, "w_s"), axis=0)
    whole = np.rint(bias / (STEP * steps)).astype(np.int32)
    c = b.op("DequantizeLinear", b.const(whole, "b_q"), b.const(STEP * steps, "b_s"), axis=0)
    h = b.op("Flatten", b.op("Relu", b.op("Conv", x, w, c)))
    each = (np.abs(last.reshape(6, 16, 5)).max(axis=1) / 7).astype(np.float32)
    packed = np.rint(last / np.repeat(each, 16, axis=0)).astype(ml_dtypes.int4)
    more = {"axis": 0, "block_size": 16}
    matrix = b.op("DequantizeLinear", b.const(packed, "m_q"), b.const(each, "m_s"), **more)  # type: ignore[arg-type]
    b.op("MatMul", h, matrix, to="y")
    b.output("y", ["n", 5])
    return b.model(opset=21, ir_version=10)


@cache
def _trained() -> tuple[Model, Model, Tuned]:
    before, after = on_grids(), on_grids()
    data = InMemory([{"x": _draw(1024, 2, 6, 6)}])
    settings = Settings(epochs=8, batch=16, rate=0.02)
    tuned = distill(before, original(), Split(data, data), settings, lambda *_: None)
    for name, array in tuned.values.items():
        value = after.graph.initializers[name]
        assert value.data is not None
        edit.set_weight(value, array.astype(value.data.dtype))
    return before, after, tuned


def data_of(model: Model) -> dict[str, Array]:
    return {n: np.asarray(v.data) for n, v in model.graph.initializers.items()}


def test_steps_and_integers_are_trained_and_keep_their_types() -> None:
    before, after, tuned = _trained()
    assert tuned.after < 0.85 * tuned.before
    assert {name: form for name, (form, _, _) in tuned.forms.items()} == {
        **dict.fromkeys(("x_s", "w_s", "m_s"), "steps"),
        **dict.fromkeys(("w_q", "m_q"), "integers"),
    }
    old, new = data_of(before), data_of(after)
    assert {n: (a.dtype, a.shape) for n, a in old.items()} == {
        n: (a.dtype, a.shape) for n, a in new.items()
    }
    for name in tuned.forms:
        assert not np.array_equal(old[name], new[name]), name
    assert old["x_zp"] == new["x_zp"]
    assert all((new[n] > 0).all() for n in ("x_s", "w_s", "m_s"))


def test_onnx_runtime_sees_what_was_trained() -> None:
    before, after, _ = _trained()
    x = np.random.default_rng(3).standard_normal((300, 2, 6, 6)).astype(np.float32)
    want, old, new = (Session(m).run({"x": x})["y"] for m in (original(), before, after))
    old, new = (y - want for y in (old, new))
    errors = [np.square(y - y.mean(1, keepdims=True)).mean() for y in (old, new)]
    assert errors[1] < 0.9 * errors[0]  # what all scores have in common says nothing


def test_steps_of_integer_biases_follow_those_of_inputs_and_weight() -> None:
    before, after, _ = _trained()
    old, new = data_of(before), data_of(after)
    np.testing.assert_array_equal(new["b_s"], new["x_s"] * new["w_s"])
    assert not np.array_equal(new["b_s"], old["b_s"])
    gaps = np.abs(new["b_q"] * new["b_s"] - old["b_q"] * old["b_s"])
    assert (gaps <= 0.51 * new["b_s"]).all()


def test_integers_stay_within_their_type() -> None:
    _, after, _ = _trained()
    new = data_of(after)
    assert np.abs(new["m_q"].astype(np.int32)).max() <= 8
    assert np.abs(new["w_q"].astype(np.int32)).max() <= 127


def test_the_gradient_of_a_step_is_that_of_lsq() -> None:
    """Distance to the grid inside the range, the limit of the range outside."""
    b = Builder()
    step = b.const(np.float32(0.5), "s")
    levels = b.op("QuantizeLinear", b.input("x", [3]), step, b.const(np.int8(0)))
    b.op("DequantizeLinear", levels, step, b.const(np.int8(0)), to="y")
    b.output("y", [3])
    feeds = {"x": np.array([0.6, -1.9, 900.0], np.float32)}
    network = Network(b.model(), feeds, threads=1)
    assert network.trained == ["s"]
    s = torch.tensor(0.5, requires_grad=True)
    made = network.run(feeds, {"s": s})["y"]
    expected = [1 - 1.2, -4 + 3.8, 127.0]
    for at, want in enumerate(expected):
        (found,) = torch.autograd.grad(made[at], s, retain_graph=True)
        assert float(found) == pytest.approx(want, abs=1e-4)


def test_steps_stay_where_others_read_a_bias_of_theirs() -> None:
    model = on_grids()
    bias = model.graph.initializers["b_s"]
    model.graph.add_op("Mul", [bias, bias], name="other")
    data = InMemory([{"x": _draw(64, 2, 6, 6)}])
    parts = Split(data, data)
    tuned = distill(model, original(), parts, Settings(epochs=1), lambda *_: None)
    assert not {"x_s", "w_s"} & tuned.forms.keys()


def test_integers_in_blocks_that_files_alone_hold_stay_so() -> None:
    """A table that is also the last layer has 4 bits in the file, and floats for its readers."""
    b = Builder(4)
    words = b.weight(60, 64)
    h = b.op("Gather", words, b.input("ids", ["n"], 7))
    h = b.op("Add", h, b.op("Relu", b.op("MatMul", h, b.weight(64, 64))))
    b.op("Gemm", h, words, to="y", transB=1)
    b.output("y", ["n", 60])
    model = b.model(opset=21, ir_version=10)
    ids = np.random.default_rng(0).integers(0, 60, (8, 16))
    data = InMemory([{"ids": row} for row in ids])
    manager = PassManager(target=find("portable"), data=data)
    result = manager.run(Pipeline.parse("quant-weights{form=int4},tune{epochs=1}"), model)
    table = next(v for v in result.model.graph.initializers.values() if v.shape == (60, 64))
    assert table.file_bytes < 0.25 * 4 * 60 * 64
    told = [r.code for r in result.diagnostics if r.source == "tune"]
    assert "unknown-form" in told

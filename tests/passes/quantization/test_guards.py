"""What is meant to stay in float stays in float when ONNX Runtime runs the model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from ocompress.ir import Model, from_proto, to_proto
from ocompress.targets import find
from passes.quantization.guards import pool_to_guard
from passes.quantization.matching import find_units
from passes.quantization.placement import PlacementProblem
from tests.build import Builder
from tests.passes.quantization.runs import data_for, executed, outputs, quantized, sqnr

Between = Callable[[Builder, str], str]


def nothing(_: Builder, h: str) -> str:
    return h


MOVES: dict[str, Between] = {
    "nothing": nothing,
    "transpose": lambda b, h: b.op("Transpose", h, perm=[0, 1, 3, 2]),
    "reshape": lambda b, h: b.op("Reshape", h, b.const(np.array([0, 0, 4, 16]))),
    "slice": lambda b, h: b.op(
        "Slice", h, b.const(np.array([1])), b.const(np.array([7])), b.const(np.array([3]))
    ),
    "two": lambda b, h: b.op(
        "Transpose", b.op("Transpose", h, perm=[0, 2, 3, 1]), perm=[0, 3, 1, 2]
    ),
}


def pooled(between: Between = nothing, *, read_twice: bool = False) -> Model:
    """Return a float convolution and pooling, with something between it and integers."""
    b = Builder()
    h = b.op("Relu", b.op("Conv", b.input("x", ["n", 3, 16, 16]), b.weight(16, 3, 3, 3), to="c0"))
    h = b.op("MaxPool", h, to="pool", kernel_shape=[2, 2], strides=[2, 2], pads=[1, 1, 1, 1])
    if read_twice:
        b.output(b.op("Tanh", h))
    h = b.op("Conv", between(b, h), b.weight(16, 16, 3, 3), to="c1")
    b.output(b.op("Conv", b.op("Relu", h), b.weight(16, 16, 1, 1), to="c2"))
    return b.model()


def pool_inputs(model: Model, folder: Path) -> list[str]:
    """Return what makes the input of each MaxPool that ONNX Runtime runs."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    data = to_proto(model).SerializeToString()
    ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    graph = onnx.load(folder / "optimized.onnx").graph
    made = {name: node.op_type for node in graph.node for name in node.output}
    return [made[n.input[0]] for n in graph.node if n.op_type.endswith("MaxPool")]


@pytest.mark.parametrize("between", MOVES.values(), ids=MOVES)
def test_a_float_pooling_before_integers_stays_float(between: Between, tmp_path: Path) -> None:
    model = pooled(between)
    text = "quant{keep_slower=true,noise_price=0,exclude=[c0],op_types=[Conv]}"
    result = quantized(from_proto(to_proto(model)), text)
    assert result.records[-1].counts["int8 Conv"] == 2
    assert "QuantizeLinear" not in pool_inputs(result.model, tmp_path)
    feed = data_for(model)[0]
    assert sqnr(outputs(model, feed), outputs(result.model, feed)) > 30


def test_a_pooling_that_integers_make_needs_no_guard(tmp_path: Path) -> None:
    result = quantized(pooled(), "quant{keep_slower=true,rest=float}")
    assert result.records[-1].counts["int8 MaxPool"] == 1
    assert not executed(result.model, tmp_path)["LeakyRelu"]


@pytest.mark.parametrize("between", [v for k, v in MOVES.items() if k != "two"])
def test_float_weights_between_integers_stay_float(between: Between, tmp_path: Path) -> None:
    b = Builder()
    h = b.op("Conv", b.input("x", ["n", 8, 10, 10]), b.weight(16, 8, 3, 3), to="c0")
    h = b.op("Relu", b.op("Conv", b.op("Relu", h), b.weight(16, 16, 1, 1), to="kept"))
    b.output(b.op("Conv", between(b, h), b.weight(8, 16, 3, 3), to="c1"))
    text = "quant{keep_slower=true,noise_price=0,exclude=[kept],op_types=[Conv],rest=float}"
    result = quantized(b.model(), text)
    assert executed(result.model, tmp_path)["QLinearConv"] == 2


def test_a_guard_has_its_price() -> None:
    def spent(model: Model) -> float:
        units = find_units(model, lambda *_: None, exclude=["c0", "pool"])
        return PlacementProblem(units, lambda _: 1e6, find("x86-avx2")).everything().ns

    guard = find("x86-avx2").float_costs["guard"].time_ns(0, 1e6)
    assert spent(pooled()) - spent(pooled(read_twice=True)) == pytest.approx(guard)
    values = {n.output.name: n.output for _, n in pooled().nodes()}
    assert pool_to_guard(values["pool"]) is not None
    assert pool_to_guard(values["c1"]) is None

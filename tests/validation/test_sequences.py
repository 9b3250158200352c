"""Outputs that are sequences of tensors, or maps from classes to scores."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import TensorProto as T
from onnx import helper

from ocompress.ir import Model, edit, from_proto
from ocompress.runtime import Level
from ocompress.validation import AccuracyGuard, validate
from ocompress.validation.sources import LiveSource
from tests.build import Builder, InMemory

X = np.random.default_rng(2).standard_normal((80, 6)).astype(np.float32)
DATA = InMemory([{"x": X[:30]}, {"x": X[30:]}])


def pair() -> Model:
    """Two tensors in a sequence, and nothing else."""
    b = Builder()
    x = b.input("x", ["n", 6])
    tensors = [b.op("Tanh", b.op("MatMul", x, b.weight(6, n), to=f"h{n}")) for n in (4, 5)]
    b.op("SequenceConstruct", *tensors, to="y")
    b.outputs.append(helper.make_tensor_sequence_value_info("y", T.FLOAT, None))
    return b.model()


def scores() -> Model:
    """Probabilities of three classes as scikit-learn's converter gives them."""
    b = Builder()
    h = b.op("MatMul", b.input("x", ["n", 6]), b.weight(6, 3, scale=3.0), to="h")
    b.op("Softmax", h, to="p", axis=1)
    b.nodes.append(
        helper.make_node("ZipMap", ["p"], ["y"], domain="ai.onnx.ml", classlabels_int64s=[7, 2, 5])
    )
    kind = helper.make_map_type_proto(T.INT64, helper.make_tensor_type_proto(T.FLOAT, []))
    kind = helper.make_sequence_type_proto(kind)
    b.outputs.append(onnx.ValueInfoProto(name="y", type=kind))
    return from_proto(b.proto(ai_onnx_ml=1))


def scaled(model: Model, name: str, by: float) -> Model:
    found = model.clone()
    (node,) = (n for n in found.graph.nodes if n.output.name == name)
    weight = node.inputs[1]
    assert weight is not None
    assert weight.data is not None
    edit.set_weight(weight, weight.data * np.float32(by))
    return found


def test_what_is_compared_of_them() -> None:
    found = LiveSource(pair(), Level.ALL, 1).outputs({"x": X})
    assert {n: a.shape for n, a in found.items()} == {"y[0]": (80, 4), "y[1]": (80, 5)}
    (table,) = LiveSource(scores(), Level.ALL, 1).outputs({"x": X}).values()
    assert table.shape == (80, 3)
    np.testing.assert_allclose(table.sum(1), 1, rtol=1e-5)


@pytest.mark.parametrize(("build", "name"), [(pair, "h5"), (scores, "h")])
def test_what_they_lose_counts(build: Callable[[], Model], name: str) -> None:
    model = build()
    guard = AccuracyGuard(model, DATA, 0.01)
    assert guard.judge(scaled(model, name, 0.999), model).held
    lost = scaled(model, name, 0.5 if name == "h5" else -1)
    assert not guard.judge(lost, model).held
    found = validate(model, lost, DATA)
    assert not any("not compared" in text for text in found.remarks)
    assert max(loss.drop.value for o in found.levels[0].outputs for loss in o.losses) > 0.05

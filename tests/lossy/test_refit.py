"""A layer is fitted to the original's at the same places, or left alone with a reason."""

from __future__ import annotations

import numpy as np
import pytest

from ocompress.analysis import AnalysisManager
from ocompress.analysis.lockstep import Lost
from ocompress.diagnostics import Diagnostics
from ocompress.ir import Model, edit, onnx_api
from ocompress.lossy.refit import Job, refit
from ocompress.pipeline import Context
from tests.build import Builder, InMemory
from tests.contract.harness import TARGET

GONE = np.array([1, 4])


def mixer(channels: np.ndarray) -> Model:
    """A layer over time behind some of six channels, [n, channels, time]."""
    b = Builder(1)
    kernel = b.rng.standard_normal((6, 3, 1)).astype("f")[channels]
    h = b.op("Conv", b.input("x", ["n", 3, 5]), b.const(kernel), to="wide")
    h = b.op("Relu", b.op("MatMul", h, b.weight(5, 5), to="time"))
    b.output(h, ["n", len(channels), 5])
    model = b.model()
    onnx_api.infer_types(model)
    return model


@pytest.mark.parametrize("lost", [{"time": {1: GONE}}, None])
def test_a_layer_is_fitted_to_the_places_it_has(lost: Lost | None) -> None:
    reference, model = mixer(np.arange(6)), mixer(np.setdiff1d(np.arange(6), GONE))
    wanted = reference.graph.nodes[1].inputs[1]
    weight = model.graph.nodes[1].inputs[1]
    assert wanted is not None
    assert weight is not None
    assert wanted.data is not None
    edit.set_weight(weight, wanted.data * np.float32(0.8))
    rng = np.random.default_rng(0)
    feeds = [{"x": rng.standard_normal((16, 3, 5)).astype("f")} for _ in range(3)]
    ctx = Context(
        target=TARGET, analyses=AnalysisManager(InMemory(feeds)), diagnostics=Diagnostics()
    )
    pairs = zip(model.graph.nodes, reference.graph.nodes, strict=True)
    twins = {id(node): twin for node, twin in pairs}
    jobs = [Job([model.graph.nodes[1]], masked=False)]
    fits = refit(reference, model, twins, jobs, ctx, lost=lost)
    codes = [remark.code for remark in ctx.diagnostics.remarks]
    now = model.graph.nodes[1].inputs[1]
    assert now is not None
    assert now.data is not None
    if lost is None:
        assert (codes, fits) == (["other-places"], {})
        np.testing.assert_array_equal(now.data, wanted.data * np.float32(0.8))
    else:
        assert (codes, len(fits)) == ([], 1)
        np.testing.assert_allclose(now.data, wanted.data, atol=0.01)


def test_what_is_fitted_comes_on_top_of_a_bias_that_is_added_behind() -> None:
    def net(scale: float) -> Model:
        b = Builder(2)
        weight = (scale * b.rng.standard_normal((4, 5))).astype("f")
        h = b.op("MatMul", b.input("x", ["n", 3, 4]), b.const(weight), to="product")
        b.output(b.op("Add", h, b.const(np.arange(5, dtype="f")), to="y"), ["n", 3, 5])
        model = b.model()
        onnx_api.infer_types(model)
        return model

    reference, model = net(1.0), net(0.8)
    rng = np.random.default_rng(0)
    feeds = [{"x": 1 + rng.standard_normal((16, 3, 4)).astype("f")} for _ in range(3)]
    ctx = Context(
        target=TARGET, analyses=AnalysisManager(InMemory(feeds)), diagnostics=Diagnostics()
    )
    twins = {id(model.graph.nodes[0]): reference.graph.nodes[0]}
    assert refit(reference, model, twins, [Job([model.graph.nodes[0]])], ctx)
    for node, twin in zip(model.graph.nodes, reference.graph.nodes, strict=True):
        made, wanted = node.inputs[1], twin.inputs[1]
        assert made is not None
        assert wanted is not None
        assert made.data is not None
        assert wanted.data is not None
        np.testing.assert_allclose(made.data, wanted.data, atol=0.01)


def test_a_matrix_and_its_transpose_are_not_fitted_as_one() -> None:
    def net(scale: float) -> Model:
        b = Builder(4)
        weight = b.const((scale * b.rng.standard_normal((6, 6))).astype("f"))
        h = b.op("Gemm", b.input("x", ["n", 6]), weight, transB=1)
        b.output(b.op("Gemm", b.op("Tanh", h), weight, to="y"), ["n", 6])
        model = b.model()
        onnx_api.infer_types(model)
        return model

    reference, model = net(1.0), net(0.8)
    rng = np.random.default_rng(0)
    feeds = [{"x": rng.standard_normal((16, 6)).astype("f")} for _ in range(3)]
    ctx = Context(
        target=TARGET, analyses=AnalysisManager(InMemory(feeds)), diagnostics=Diagnostics()
    )
    pairs = zip(model.graph.nodes, reference.graph.nodes, strict=True)
    twins = {id(node): twin for node, twin in pairs}
    both = [node for node in model.graph.nodes if node.is_op("Gemm")]
    assert not refit(reference, model, twins, [Job(both)], ctx)

"""Evening out channels: the same function, narrower ranges, better integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ocompress.errors import OptionError
from ocompress.ir import Model, from_proto, to_proto
from ocompress.pipeline import PassManager, Pipeline, PipelineResult
from ocompress.targets import find
from passes.quantization.channel_chains import ChannelChain, find_chain
from tests.build import Builder, InMemory
from tests.passes.quantization.runs import data_for, outputs, quantized, sqnr


def uneven(b: Builder, size: int) -> np.ndarray:
    return np.asarray(np.exp2(b.rng.uniform(-5, 5, size)), np.float32)


def conv_net(activation: str = "Relu") -> Model:
    """Return two convolutions whose channels in between differ a thousandfold."""
    b = Builder()
    x = b.input("x", ["n", 8, 10, 10])
    scales = uneven(b, 16)
    first = b.rng.standard_normal((16, 8, 3, 3)).astype(np.float32) * scales[:, None, None, None]
    second = b.rng.standard_normal((8, 16, 3, 3)).astype(np.float32) / scales[:, None, None]
    h = b.op("Conv", x, b.const(first), b.const(scales * 0.3), pads=[1, 1, 1, 1])
    h = b.op(activation, h) if activation else h
    h = b.op("MaxPool", h, kernel_shape=[2, 2], strides=[2, 2])
    b.output(b.op("Conv", h, b.const(second), b.weight(8)))
    return b.model()


def normed() -> Model:
    """Return three products of one normalization, as in attention before its residual."""
    b = Builder()
    x = b.input("x", ["n", 6, 32])
    gamma = uneven(b, 32)
    h = b.op("LayerNormalization", x, b.const(gamma), b.const(gamma * 0.5), axis=-1)
    for _ in range(3):
        weight = b.rng.standard_normal((32, 24)).astype(np.float32) / gamma[:, None]
        b.output(b.op("MatMul", h, b.const(weight)))
    return b.model()


def equalized(model: Model, options: str = "") -> PipelineResult:
    manager = PassManager(target=find("portable"), data=InMemory(data_for(model)))
    return manager.run(Pipeline.parse(f"equalize{options}"), from_proto(to_proto(model)))


@pytest.mark.parametrize("options", ["", "{by=activations}", "{absorb=true}"])
@pytest.mark.parametrize("build", [conv_net, normed])
def test_the_function_stays_and_integers_fit_better(build: Any, options: str) -> None:
    if build is normed and "by" not in options:
        pytest.skip("what a normalization makes is as wide as its scales")
    model = build()
    result = equalized(model, options)
    assert result.records[-1].counts["chains equalized"] >= 1
    feed = data_for(model)[0]
    wanted = outputs(model, feed)
    assert sqnr(wanted, outputs(result.model, feed)) > 100
    text = "quant{keep_slower=true,fit=rtn}"
    plain = outputs(quantized(from_proto(to_proto(model)), text).model, feed)
    even = outputs(quantized(result.model, text, batches=data_for(model)).model, feed)
    assert sqnr(wanted, even) > sqnr(wanted, plain) + 6


def test_weights_on_both_sides_become_equally_wide() -> None:
    result = equalized(conv_net())
    chain = next(c for _, n in result.model.nodes() if isinstance(c := find_chain(n), ChannelChain))
    ratio = chain.makers[0].peaks() / chain.weighers[0].peaks()
    assert ratio.max() / ratio.min() <= 4.01  # powers of two on either side
    assert equalized(result.model).records[-1].counts.get("chains equalized") is None


def test_absorbing_moves_what_channels_never_fall_below() -> None:
    b = Builder()
    x = b.input("x", ["n", 4])
    first = b.const(b.rng.standard_normal((6, 4)).astype(np.float32) * 0.1)
    h = b.op("Relu", b.op("Gemm", x, first, b.const(np.full(6, 3.0, np.float32)), transB=1))
    b.output(b.op("Gemm", h, b.weight(5, 6), b.weight(5), transB=1))
    model = b.model()
    result = equalized(model, "{absorb=true}")
    assert result.records[-1].counts["biases absorbed"] == 1
    feed = data_for(model)[1]
    assert sqnr(outputs(model, feed), outputs(result.model, feed)) > 80
    bias = result.model.graph.nodes[0].input(2)
    assert bias is not None
    assert bias.constant is not None
    plain = equalized(model).model.graph.nodes[0].input(2)
    assert plain is not None
    assert plain.constant is not None
    assert np.abs(bias.constant).max() < 0.5 * np.abs(plain.constant).min()


@pytest.mark.parametrize("activation", ["Sigmoid", "HardSwish", "Softplus"])
def test_what_is_not_homogeneous_is_refused(activation: str) -> None:
    result = equalized(conv_net(activation))
    assert not result.records[-1].changed
    assert "not-homogeneous" in {r.code for r in result.diagnostics if r.source == "equalize"}


def test_outputs_shared_weights_and_exclusions_are_refused() -> None:
    b = Builder()
    x = b.input("x", ["n", 8])
    shared = b.weight(8, 8)
    h = b.op("Relu", b.op("MatMul", x, shared))
    b.output(b.op("MatMul", h, shared))
    result = equalized(b.model())
    codes = {r.code for r in result.diagnostics if r.source == "equalize"}
    assert {"shared-weight", "is-output", "nothing-to-equalize"} <= codes
    assert not result.records[-1].changed
    first = next(n.label for _, n in conv_net().nodes())
    assert not equalized(conv_net(), f"{{exclude=[{first}]}}").records[-1].changed


def test_a_bias_that_absorbing_makes_is_scaled_like_any_other() -> None:
    b = Builder()
    x = b.input("x", ["n", 4, 6, 6])
    gains = np.array([1e-2, 1e2] * 4, np.float32)
    middle = b.rng.standard_normal((8, 8, 1, 1)).astype(np.float32) * gains[:, None, None, None]
    last = b.rng.standard_normal((4, 8, 1, 1)).astype(np.float32) / gains[:, None, None]
    h = b.op("Conv", x, b.weight(8, 4, 1, 1), b.const(np.full(8, 100.0, np.float32)))
    h = b.op("Relu", b.op("Conv", b.op("Relu", h), b.const(middle)))
    b.output(b.op("Conv", h, b.const(last), b.weight(4)))
    model = b.model()
    result = equalized(model, "{absorb=true}")
    assert result.records[-1].counts["biases absorbed"] == 1
    assert result.records[-1].counts["chains equalized"] >= 1
    feed = data_for(model)[0]
    assert sqnr(outputs(model, feed), outputs(result.model, feed)) > 80


@pytest.mark.parametrize("case", ["behind", "branch", "computed", "rank", "empty"])
def test_what_would_change_the_function_is_left_alone(case: str) -> None:
    b = Builder()
    large = b.const(np.full(6, 5.0, np.float32))
    x = b.input("x", ["n", 0 if case == "empty" else 4])
    if case == "rank":
        image = b.input("image", [1, 4, 8, 8])
        h = b.op(
            "Conv",
            image,
            b.const(uneven(b, 6)[:, None, None, None] * np.ones((6, 4, 1, 1), np.float32)),
        )
        h = b.op("Add", h, b.const(np.ones((1, 6, 1, 1, 1), np.float32)))
        b.output(b.op("Conv", h, b.weight(3, 6, 1, 1, 1)))
    elif case == "empty":
        h = b.op("Relu", b.op("MatMul", x, b.const(np.zeros((0, 6), np.float32))))
        b.output(b.op("MatMul", h, b.weight(6, 3)))
    elif case == "branch":
        h = b.op("MatMul", x, b.const(np.abs(b.rng.standard_normal((4, 6))).astype(np.float32)))
        for end in (h, b.op("Add", h, large)):
            b.output(b.op("Gemm", b.op("Relu", end), b.weight(6, 3), b.weight(3)))
    else:
        bias = large if case != "behind" else b.weight(6)
        h = b.op("Relu", b.op("Gemm", x, b.weight(4, 6), bias))
        if case == "behind":
            h = b.op("Relu", b.op("Add", h, large))
        end = b.op("ReduceMean", x, axes=[0, 1], keepdims=0) if case == "computed" else b.weight(3)
        b.output(b.op("Gemm", h, b.weight(6, 3), end))
    model = b.model()
    result = equalized(model, "{absorb=true}")
    assert not result.records[-1].counts.get("biases absorbed")
    feed = data_for(model)[2]
    if case != "empty":
        assert sqnr(outputs(model, feed), outputs(result.model, feed)) > 90


def test_absorbing_and_activations_exclude_each_other() -> None:
    with pytest.raises(OptionError, match="absorb"):
        Pipeline.parse("equalize{by=activations,absorb=true}")

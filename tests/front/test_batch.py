"""Batches other than one sample can be timed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ocompress.errors import OptionError
from ocompress.front import optimize, profile
from ocompress.io import as_dataset, one_call
from ocompress.ir import Model
from tests.build import Builder

DATA = {"x": np.random.default_rng(0).standard_normal((40, 4)).astype(np.float32)}


def net(batch: Any = "n") -> Model:
    b = Builder()
    b.output(b.op("Relu", b.op("MatMul", b.input("x", [batch, 4]), b.weight(4, 4))))
    return b.model()


def baked() -> Model:
    """Return a model whose input says that the batch is free, and a Reshape that it is not."""
    b = Builder()
    flat = b.op("Reshape", b.input("x", ["n", 4]), b.const(np.array([1, 4])))
    b.output(b.op("MatMul", flat, b.weight(4, 4)))
    return b.model()


@pytest.mark.parametrize("data", [DATA, None], ids=["data", "random"])
def test_the_feed_that_is_timed_holds_as_many_samples(data: Any) -> None:
    found = profile(net(), against=net(), data=data, batch=8, seconds=0.01)
    assert [i.shape for i in found.inputs] == [(8, 4)]
    assert found.inputs[0].origin == ("given" if data is None else "data")
    assert found.model.latency.samples == 8
    done = optimize(net(), passes="canonicalize", data=data, batch=8)
    assert done.profile is not None
    assert done.profile.inputs[0].shape == (8, 4)
    assert done.profile.model.latency.samples == 8
    assert done.cost[1].total_macs == 16  # of one sample
    assert done.settings["batch"] == 8


@pytest.mark.parametrize("model", [net(1), baked()], ids=["declared", "baked"])
@pytest.mark.parametrize("data", [DATA, None], ids=["data", "random"])
def test_a_batch_that_the_model_fixes_is_said(model: Model, data: Any) -> None:
    with pytest.raises(OptionError, match="fixes its batch at 1, so a batch of 8 cannot"):
        profile(model, data=data, batch=8, seconds=0.01)
    with pytest.raises(OptionError, match="fixes its batch at 1, so a batch of 8 cannot"):
        optimize(model, passes="canonicalize", data=data, batch=8)


def test_a_fixed_batch_of_that_number_is_taken() -> None:
    found = profile(net(8), data=DATA, batch=8, seconds=0.01)
    assert found.model.latency.samples == 8


@pytest.mark.parametrize("count", [3, 40, 100], ids=["too few", "some", "several feeds"])
def test_samples_are_joined_in_order_and_come_again(count: int) -> None:
    array = np.arange(4 * count, dtype=np.float32).reshape(count, 4)
    found = one_call(net(), as_dataset({"x": array}, net()), 70)
    np.testing.assert_array_equal(found.feed["x"], np.resize(array, (70, 4)))


def test_states_are_joined_where_their_samples_are() -> None:
    b = Builder()
    b.output(b.op("Add", b.input("x", ["n", 4]), b.input("h", [2, "n", 4])))
    feeds = [{"x": np.full((1, 4), i, np.float32), "h": np.ones((2, 1, 4), "f")} for i in (0, 1)]
    found = one_call(b.model(), as_dataset(feeds, b.model()), 2).feed
    assert (found["x"].shape, found["h"].shape) == ((2, 4), (2, 2, 4))


def test_layers_are_timed_on_the_same_call(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, ...]] = []

    def times(models: Any, feeds: Any, **_: Any) -> list[dict[Any, float]]:
        seen.append(feeds["x"].shape)
        return [{} for _ in models]

    monkeypatch.setattr("passes.quantization.timing.time_layers", times)
    optimize(net(), passes="quant{costs=measured}", data=DATA, batch=8, max_latency="1000x")
    assert set(seen) == {(8, 4)}  # not empty: layers were timed


def test_chains_are_timed_on_as_many_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, ...]] = []

    def times(models: Any, shape: Any, *_: Any) -> list[float]:
        declared = {tuple(m.graph.inputs[0].shape or ()) for m in models if m is not None}
        assert declared == {tuple(shape)}
        seen.append(tuple(shape))
        return [1.0] * len(models)

    monkeypatch.setattr("passes.factorization.timing.milliseconds", times)
    b = Builder()
    h = b.op("Relu", b.op("MatMul", b.input("x", ["n", 32]), b.weight(32, 32)))
    b.output(b.op("MatMul", h, b.weight(32, 32)))
    data = {"x": np.random.default_rng(0).standard_normal((40, 32)).astype(np.float32)}
    for batch in (1, 8):
        optimize(b.model(), passes="factorize", data=data, batch=batch, max_latency="1000x")
    assert list(dict.fromkeys(seen)) == [(1, 32), (8, 32)]


def test_nonsense_is_refused() -> None:
    with pytest.raises(OptionError, match="batch 0 must be at least 1"):
        profile(net(), batch=0)
    with pytest.raises(OptionError, match="batch 0 must be at least 1"):
        optimize(net(), passes="canonicalize", batch=0)
    with pytest.raises(OptionError, match="mutually exclusive"):
        profile(net(), batch=2, shapes={"x": [2, 4]})


def test_one_sample_is_timed_as_one_whatever_its_other_axes() -> None:
    """Where rows of one sample are apart, too, data of several samples tell which are samples."""
    b = Builder()
    b.output(b.op("MatMul", b.input("x", ["n", "t", 4]), b.weight(4, 4)))
    data = np.random.default_rng(0).standard_normal((6, 5, 4)).astype(np.float32)
    done = optimize(b.model(), passes="canonicalize", data={"x": data})
    assert done.profile is not None
    assert done.profile.model.latency.samples == 1

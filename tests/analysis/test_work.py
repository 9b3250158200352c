"""One sample of a feed: which axes count samples, and which are part of one."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto as T

from ocompress.analysis.work import first_sample
from ocompress.ir import Model
from passes.factorization.factorize import Factorize
from tests.build import Builder
from tests.passes.factorization.replaced import run, smooth

FEEDS = {
    "x": np.random.default_rng(0).standard_normal((5, 16, 30)).astype(np.float32),
    "state": np.random.default_rng(1).standard_normal((2, 5, 32)).astype(np.float32),
    "length": np.array([30] * 5),
    "rate": np.array(16000),
}
"""Five samples, as states and lengths of recurrent nets count them."""


def recurrent() -> Model:
    """A convolution of as many steps as an input says, added to a state."""
    b = Builder()
    x, state = b.input("x", ["n", 16, "steps"]), b.input("state", [2, "n", 32])
    length, rate = b.input("length", ["n"], T.INT64), b.input("rate", [], T.INT64)
    last = b.op("ReduceMax", length, keepdims=1)
    kept = b.op("Slice", x, b.const(np.array([0])), last, b.const(np.array([2])))
    made = b.op("Conv", kept, b.const(smooth(b.rng, (32, 16, 3))), to="conv")
    pooled = b.op("ReduceMax", made, axes=[2], keepdims=0)
    b.ops("Cast", [rate], ["float_rate"], to=T.FLOAT)
    scaled = b.op("Div", pooled, "float_rate")
    b.output(b.op("Add", scaled, state, to="y"), [2, "n", 32])
    return b.model()


def test_samples_on_other_axes_than_the_first() -> None:
    found = first_sample(recurrent(), FEEDS)
    shapes = {"x": (1, 16, 30), "state": (2, 1, 32), "length": (1,), "rate": ()}
    assert {n: a.shape for n, a in found.items()} == shapes


def test_an_input_that_is_a_sample_as_a_whole() -> None:
    b = Builder()
    b.input("x", ["n"])
    b.output(b.op("Relu", "x"), ["n"])
    assert first_sample(b.model(), {"x": np.zeros(7, np.float32)})["x"].shape == (7,)


@pytest.mark.parametrize("samples", [1, 5])
def test_shapes_come_from_the_data_where_random_numbers_would_not_run(samples: int) -> None:
    feeds = {
        n: a[:, :samples] if n == "state" else a[:samples] if a.ndim else a
        for n, a in FEEDS.items()
    }
    _, outcome, ctx = run(Factorize(max_weights=0.5), recurrent(), data=[feeds] * 4)
    assert not ctx.diagnostics.declined().get("unknown-shape")
    assert [r["name"] for r in outcome.details["candidates"] if r["taken"]] == ["conv"]

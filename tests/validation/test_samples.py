"""Samples are counted wherever an output has them."""

from __future__ import annotations

import numpy as np
import pytest

from ocompress.io import as_dataset
from ocompress.ir import Model
from ocompress.validation import AccuracyGuard
from ocompress.validation.validate import validate
from tests.build import Builder

STEPS = np.random.default_rng(0).standard_normal((48, 6, 8)).astype(np.float32)


def scores(form: str, wrong: int = 0) -> Model:
    """Return a model `x [n, 6, 8]` of five classes a step, wrong where the first number is large.

    Args:
        form: `steps-first` [6, n, 5], `flat` [n * 6, 5], or `samples-first` [n, 6, 5].
        wrong: How much class 0 gains from the first number of every step.
    """
    b = Builder()
    weight = b.rng.standard_normal((8, 5)).astype(np.float32)
    weight[0, 0] += wrong
    made = b.op("MatMul", b.input("x", ["n", 6, 8]), b.const(weight))
    made = b.op("Softmax", made, axis=-1)
    if form == "steps-first":
        made = b.op("Transpose", made, perm=[1, 0, 2])
    elif form == "flat":
        made = b.op("Reshape", made, b.const(np.array([-1, 5])))
    b.output(made, None)
    return b.model()


@pytest.mark.parametrize("form", ["steps-first", "flat"])
def test_outputs_whose_samples_are_not_on_the_first_axis_count_the_same(form: str) -> None:
    found = {}
    for kind in (form, "samples-first"):
        model = scores(kind)
        data = as_dataset({"x": STEPS}, model)
        assert [len(feed["x"]) for feed in data] == [32, 16]
        result = validate(model, scores(kind, wrong=3), data)
        (output,) = result.levels[0].outputs
        assert output.agreement is not None
        assert output.losses[0].count == result.samples == 48
        assert not any("one result" in remark for remark in result.remarks)
        drop = AccuracyGuard(model, data, 0.01).judge(scores(kind, wrong=3), model)
        assert not drop.held
        found[kind] = output.agreement, output.losses[0].drop, output.worst_sample
        worst = [w.index for w in result.levels[0].worst]
        assert len(worst) == 5
    assert found[form] == found["samples-first"]


def test_one_result_for_a_feed_is_said_to_be_one() -> None:
    b = Builder()
    x = b.input("x", ["n", 3])
    b.output(b.op("Relu", x, to="y"), ["n", 3])
    b.output(b.op("ReduceMean", x, to="loss", keepdims=0), [])
    model = b.model()
    result = validate(model, model, as_dataset({"x": STEPS[:, 0, :3]}, model))
    assert result.samples == 48
    assert "one result for all samples of a feed, which counts as one: 'loss'" in result.remarks

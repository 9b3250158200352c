"""Nets that nearly always decide alike lose nothing to a constant, which is refused."""

from __future__ import annotations

import numpy as np
import pytest

from ocompress.ir import Model, edit
from ocompress.validation import AccuracyGuard, validate, wanted_by
from ocompress.validation.measures import LossUnit
from tests.build import Builder, InMemory

X = np.random.default_rng(3).standard_normal((256, 64)).astype(np.float32)


def net() -> Model:
    """Two classes, of which the first wins on every sample."""
    b = Builder(5)
    h = b.op("Relu", b.op("Gemm", b.input("x", ["n", 64]), b.weight(96, 64), transB=1, to="first"))
    b.op("Gemm", h, b.weight(2, 96), b.const(np.array([3, -3], np.float32)), transB=1, to="y")
    b.output("y", ["n", 2])
    return b.model()


def scaled(model: Model, by: float) -> Model:
    """Return it with what tells inputs apart so much smaller."""
    found = model.clone()
    weight = found.graph.nodes[-1].inputs[1]
    assert weight is not None
    assert weight.data is not None
    edit.set_weight(weight, weight.data * np.float32(by))
    return found


@pytest.mark.parametrize("labels", [False, True])
@pytest.mark.parametrize("fitted", [False, True])
def test_constants_are_refused(*, labels: bool, fitted: bool) -> None:
    model = net()
    classes = np.zeros(256, np.int64) if labels else None
    data = InMemory([{"x": X}], classes) if labels else InMemory([{"x": X}])
    guard = AccuracyGuard(model, data, 0.01, fitted=InMemory([{"x": X[::2]}]) if fitted else None)
    assert guard.judge(scaled(model, 0.5), model).held is labels  # numbers count, not decisions
    assert guard.judge(scaled(model, 0.97), model).held
    verdict = guard.judge(scaled(model, 0.0), model)
    assert not verdict.held
    assert verdict.message == "output 'y' became the same for every input"


@pytest.mark.parametrize(
    ("metric", "others", "unit"),
    [
        ("auto", 0, LossUnit.ERROR),
        ("auto", 1, LossUnit.EXPECTED),
        ("expected", 0, LossUnit.EXPECTED),
    ],
)
def test_decisions_that_tell_no_sample_from_another_do_not_count(
    metric: str, others: int, unit: LossUnit
) -> None:
    b = Builder()
    b.op("MatMul", b.input("x", ["n", 3]), b.const(4 * np.eye(3, dtype=np.float32)), to="y")
    b.output("y", ["n", 3])
    x = np.random.default_rng(1).random((60, 3)).astype(np.float32) + np.array(
        [2, 0, 0], np.float32
    )
    x[:others] = [0, 0, 3]
    guard = AccuracyGuard(b.model(), InMemory([{"x": x[:1]}, {"x": x[1:]}]), 0.01, metric=metric)
    assert [f"counted by {unit}" in why for why in guard.reasons] == [True]
    milder = scaled(b.model(), 0.8)
    assert guard.judge(milder, b.model()).held is (unit is LossUnit.EXPECTED)
    found = validate(
        b.model(), milder, InMemory([{"x": x[:1]}, {"x": x[1:]}]), metric=wanted_by(metric)
    )
    assert {loss.unit for o in found.levels[0].outputs for loss in o.losses} == {unit}

"""Nets that nearly always decide alike lose nothing to a constant, which is refused."""

from __future__ import annotations

import numpy as np
import pytest

from ocompress.ir import Model, edit
from ocompress.validation import AccuracyGuard
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
    assert guard.judge(scaled(model, 0.5), model).held
    verdict = guard.judge(scaled(model, 0.0), model)
    assert not verdict.held
    assert verdict.message == "output 'y' became the same for every input"

"""Range with vectors for scalars."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto as T

from ocompress.ir import Model
from ocompress.pipeline import find
from ocompress.runtime import Session
from tests.build import Builder
from tests.contract.harness import context
from tests.passes.canonical.exact import run


def _model() -> Model:
    b = Builder()
    count = b.op("Shape", b.input("x", [5]))
    start, step = b.const(np.asarray(0)), b.const(np.asarray(1))
    b.op("Range", start, count, step, to="y")
    b.output("y", ["k"], T.INT64)
    return b.model()


@pytest.mark.parametrize("name", ["canonicalize"])
def test_folding_does_not_break_it(name: str) -> None:
    model = _model()
    context(model).run_one(find(name)(), model)
    got = Session(model).run({"x": np.zeros(5, np.float32)})["y"]
    assert got.tolist() == [0, 1, 2, 3, 4]


def test_constant_vectors_become_scalars() -> None:
    b = Builder()
    start, step = b.const(np.asarray([1])), b.const(np.asarray(2))
    b.op("Range", start, b.input("limit", [], T.INT64), step, to="y")
    b.output("y", ["k"], T.INT64)
    ran = run("scalarize-range", b.model(), types=False)
    assert ran.outcome.counts == {"operands made scalars": 1}
    node = ran.after.graph.nodes[0]
    assert [v.shape for v in node.inputs if v is not None] == [(), (), ()]


def test_computed_operands_stay() -> None:
    assert not run("scalarize-range", _model()).outcome

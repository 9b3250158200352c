"""Constant nodes in every spelling."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto as T
from onnx import helper, numpy_helper

from ocompress.ir import Model, to_proto
from tests.build import Builder
from tests.passes.canonical.exact import run

SPARSE = helper.make_sparse_tensor(
    numpy_helper.from_array(np.asarray([5, 7], np.float32), "values"),
    numpy_helper.from_array(np.asarray([1, 3], np.int64), "indices"),
    [4],
)


def _model(dtype: int, shape: list[int], **attribute: Any) -> Model:
    b = Builder()
    b.op("Identity", b.op("Constant", to="c", **attribute), to="y")
    b.output("y", shape, dtype)
    return b.model()


@pytest.mark.parametrize(
    ("dtype", "shape", "attribute"),
    [
        (T.FLOAT, [2], {"value": numpy_helper.from_array(np.asarray([1, -0.0], np.float32))}),
        (T.FLOAT16, [], {"value": numpy_helper.from_array(np.asarray(3, np.float16))}),
        (T.FLOAT, [4], {"sparse_value": SPARSE}),
        (T.FLOAT, [], {"value_float": 1.5}),
        (T.FLOAT, [2], {"value_floats": [1.5, 2.5]}),
        (T.INT64, [], {"value_int": -3}),
        (T.INT64, [3], {"value_ints": [1, 2, 3]}),
        (T.STRING, [], {"value_string": "word"}),
        (T.STRING, [2], {"value_strings": ["a", "b"]}),
    ],
)
def test_every_spelling(dtype: int, shape: list[int], attribute: dict[str, Any]) -> None:
    ran = run("lift-constants", _model(dtype, shape, **attribute))
    assert ran.ops == {"Identity": 1}
    assert list(ran.after.graph.initializers) == ["c"]
    if dtype == T.STRING:
        data = ran.after.graph.initializers["c"].data
        assert data is not None
        assert data.shape == tuple(shape)
    else:
        ran.same_bits()


def test_sparse_values_stay_sparse() -> None:
    ran = run("lift-constants", _model(T.FLOAT, [4], sparse_value=SPARSE))
    assert [s.values.name for s in to_proto(ran.after).graph.sparse_initializer] == ["c"]


def test_bodies() -> None:
    def branch(number: float) -> onnx.GraphProto:
        inner = Builder()
        inner.op("Mul", "x", inner.op("Constant", value_float=float(number)), to=f"out{number}")
        inner.output(f"out{number}", [3])
        return inner.graph("branch")

    b = Builder()
    b.input("x", [3])
    b.op("If", b.input("c", [], T.BOOL), to="y", then_branch=branch(2), else_branch=branch(3))
    b.output("y", [3])
    ran = run("lift-constants", b.model())
    assert "Constant" not in ran.ops
    ran.same_bits(c=np.asarray(True))
    ran.same_bits(c=np.asarray(False))


def test_a_formal_output_keeps_its_node() -> None:
    b = Builder()
    b.op("Constant", to="y", value_float=1.0)
    b.output("y", [])
    assert not run("lift-constants", b.model()).outcome

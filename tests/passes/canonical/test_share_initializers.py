"""Equal constants become one; those that only look equal do not."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto as T

from ocompress.runtime import Session
from tests.build import Builder
from tests.passes.canonical.exact import Ran, run


def _run(left: Any, right: Any, dtype: int = T.FLOAT) -> Ran:
    b = Builder()
    for name, array in (("a", left), ("b", right)):
        b.op("Identity", b.const(array, name), to=f"y{name}")
        b.output(f"y{name}", list(array.shape), dtype)
    return run("share-initializers", b.model(opset=19))


@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.float16, bool, ml_dtypes.bfloat16])
def test_equal(dtype: Any) -> None:
    array = np.asarray([[0, 1, 2]]).astype(dtype)
    ran = _run(array, array.copy(), onnx.helper.np_dtype_to_tensor_dtype(array.dtype))
    assert list(ran.after.graph.initializers) == ["a"]
    if array.dtype != ml_dtypes.bfloat16:  # the runtime hands out none
        ran.same_bits()


def test_large_ones_differ_in_the_last_element() -> None:
    left = np.zeros(5000, np.float32)
    right = left.copy()
    right[-1] = 1
    assert not _run(left, right).outcome
    assert _run(left, left.copy()).outcome


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (np.zeros(2, np.float32), -np.zeros(2, np.float32)),
        (np.zeros(2, np.float32), np.zeros(2, np.int32)),
        (np.zeros(2, np.float32), np.zeros((1, 2), np.float32)),
        (np.asarray([0x7FC00000], np.uint32).view("f4"), np.asarray([0x7FC00001], "u4").view("f4")),
    ],
)
def test_unequal(left: np.ndarray, right: np.ndarray) -> None:
    assert not _run(left, right).outcome


def test_equal_nans_are_one() -> None:
    nan = np.asarray([np.nan], np.float32)
    assert _run(nan, nan.copy()).outcome


def test_bodies_read_the_outer_constant() -> None:
    def branch(op: str) -> onnx.GraphProto:
        inner = Builder()
        inner.op(op, "x", inner.const(np.ones(3, np.float32), f"k{op}"), to=f"o{op}")
        inner.output(f"o{op}", [3])
        return inner.graph(op)

    b = Builder()
    b.input("x", [3])
    c = b.input("c", [], T.BOOL)
    h = b.op("If", c, then_branch=branch("Add"), else_branch=branch("Sub"))
    b.op("Mul", h, b.const(np.ones(3, np.float32), "k"), to="y")
    b.output("y", [3])
    ran = run("share-initializers", b.model())
    assert ran.outcome.counts == {"constants shared": 2}
    for choice in (True, False):
        ran.same_bits(c=np.asarray(choice))


def test_defaults_of_inputs_are_left_alone() -> None:
    b = Builder()
    b.input("w", [2])
    b.const(np.ones(2, np.float32), "w")
    b.op("Add", "w", b.const(np.ones(2, np.float32), "k"), to="y")
    b.output("y", [2])
    assert not run("share-initializers", b.model()).outcome


@pytest.mark.parametrize("training", [0, 1])
def test_what_a_training_writes_to_is_shared_with_nothing(training: int) -> None:
    """ONNX Runtime writes the running variance where the constant is: a scale would go with it."""
    b = Builder()
    x = b.input("x", [4, 6, 5, 5])
    ones = [b.const(np.ones(6, np.float32), name) for name in ("scale", "variance")]
    operands = [x, ones[0], b.weight(6), b.weight(6), ones[1]]
    outputs = ["y", "mean", "var"] if training else ["y"]
    b.ops("BatchNormalization", operands, outputs, training_mode=training)
    b.output("y", [4, 6, 5, 5])
    ran = run("share-initializers", b.model(opset=15))
    assert bool(ran.outcome) == (not training)
    session, before = Session(ran.after), Session(ran.before)
    given = {"x": b.rng.standard_normal((4, 6, 5, 5)).astype(np.float32)}
    for _ in range(3):
        np.testing.assert_array_equal(session.run(given)["y"], before.run(given)["y"])

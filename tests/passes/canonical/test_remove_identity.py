"""Nodes that hand on their input, and those that only seem to."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto as T

from ocompress.ir import Model
from passes.canonical.identities import STAND_INS, same_extents
from tests.build import Builder
from tests.passes.canonical.exact import run

X = [2, 3, 4]


def _floats(*numbers: float) -> np.ndarray:
    return np.asarray(numbers, np.float32)


def _ints(*numbers: int) -> np.ndarray:
    return np.asarray(numbers, np.int64)


def _model(op: str, *operands: Any, shape: Any = X, swap: bool = False, **attrs: Any) -> Model:
    b = Builder()
    h = b.op("Neg", b.input("x", list(shape)))
    names = [h, *(b.const(o) if isinstance(o, np.ndarray) else o for o in operands)]
    b.ops(op, names[::-1] if swap else names, ["made"], **attrs)
    b.op("Abs", "made", to="y")
    b.output("y", [None] * len(shape))
    return b.model()


HANDED_ON: dict[str, Model] = {
    "identity": _model("Identity"),
    "dropout": _model("Dropout"),
    "dropout_not_training": _model("Dropout", _floats(0.5).reshape(()), np.asarray(False)),
    "cast": _model("Cast", to=T.FLOAT),
    "cast_like": _model("CastLike", _floats(1)),
    "concat": _model("Concat", axis=1),
    "transpose": _model("Transpose", perm=[0, 1, 2]),
    "pad": _model("Pad", _ints(0, 0, 0, 0, 0, 0)),
    "slice_to_the_end": _model("Slice", _ints(0), _ints(2**63 - 1), _ints(2)),
    "slice_by_extent": _model("Slice", _ints(0, 0), _ints(3, 4), _ints(1, -1), _ints(1, 1)),
    "reshape": _model("Reshape", _ints(2, 3, 4)),
    "reshape_copying": _model("Reshape", _ints(0, 0, -1), shape=("n", "m", 4)),
    "reshape_batch": _model("Reshape", _ints(-1, 3, 4), shape=("n", 3, 4)),
    "flatten": _model("Flatten", shape=("n", 8)),
    "expand": _model("Expand", _ints(3, 1)),
    "expand_ones": _model("Expand", _ints(1, 1), shape=("n", "m", "k")),
    "tile": _model("Tile", _ints(1, 1, 1)),
    "mul_one": _model("Mul", _floats(1)),
    "one_mul": _model("Mul", _floats(1, 1, 1, 1), swap=True),
    "div_one": _model("Div", _floats(1).reshape(1, 1, 1)),
    "sub_zero": _model("Sub", _floats(0)),
    "add_negative_zero": _model("Add", _floats(-0.0)),
    "sum_of_one": _model("Sum"),
}

CHANGED: dict[str, Model] = {
    "dropout_training": _model("Dropout", _floats(0.5).reshape(()), np.asarray(True)),
    "add_positive_zero": _model("Add", _floats(0)),
    "sub_negative_zero": _model("Sub", _floats(-0.0)),
    "zero_sub": _model("Sub", _floats(0), swap=True),
    "one_div": _model("Div", _floats(1), swap=True),
    "mul_not_one": _model("Mul", _floats(1, 1, 1, 2)),
    "mul_broadcasts": _model("Mul", np.ones((2, 3, 4), np.float32), shape=(2, 1, 4)),
    "mul_adds_an_axis": _model("Mul", np.ones((1, 1, 1, 1), np.float32)),
    "transpose": _model("Transpose", perm=[0, 2, 1], shape=(2, 3, 3)),
    "slice_backwards": _model("Slice", _ints(-1), _ints(-9), _ints(2), _ints(-1)),
    "slice_short": _model("Slice", _ints(0), _ints(3), _ints(2)),
    "pad_shift": _model("Pad", _ints(0, 0, 1, 0, 0, -1)),
    "reshape_other": _model("Reshape", _ints(3, 2, 4), shape=(2, 3, 4)),
    "reshape_unknown": _model("Reshape", _ints(-1, 4, 3), shape=("n", 3, 4)),
    "expand_dynamic": _model("Expand", _ints(2, 1, 1), shape=("n", 3, 4)),
    "tile": _model("Tile", _ints(1, 2, 1)),
}


@pytest.mark.parametrize("case", HANDED_ON)
def test_handed_on(case: str) -> None:
    ran = run("remove-identity", HANDED_ON[case])
    assert ran.ops == {"Neg": 1, "Abs": 1}
    ran.same_bits()


@pytest.mark.parametrize("case", CHANGED)
def test_not_an_identity(case: str) -> None:
    ran = run("remove-identity", CHANGED[case])
    assert not ran.outcome
    assert ran.codes == ({"signed-zero"} if case == "add_positive_zero" else set())


def test_integers_have_one_zero() -> None:
    b = Builder()
    b.op("Neg", b.op("Add", b.op("Neg", b.input("x", [3], T.INT64)), b.const(_ints(0))), to="y")
    b.output("y", [3], T.INT64)
    ran = run("remove-identity", b.model())
    assert ran.ops == {"Neg": 2}
    ran.same_bits()


def test_read_mask_keeps_dropout() -> None:
    b = Builder()
    b.ops("Dropout", [b.input("x", X)], ["y", "mask"])
    b.output("y", X)
    b.output("mask", X, T.BOOL)
    assert not run("remove-identity", b.model()).outcome


def test_formal_outputs_keep_their_names() -> None:
    b = Builder()
    h = b.op("Neg", b.input("x", X))
    b.op("Identity", h, to="y")
    b.op("Identity", h, to="z")
    b.op("Identity", "x", to="same")
    for name in ("y", "z", "same"):
        b.output(name, X)
    ran = run("remove-identity", b.model())
    assert [v.name for v in ran.after.graph.outputs] == ["y", "z", "same"]
    assert ran.ops == {"Neg": 1, "Identity": 2}
    ran.same_bits()


def test_same_extents() -> None:
    assert same_extents((2, "n"), (2, None))
    assert not same_extents((2, "n", "m"), (2, None, None))
    assert not same_extents((0, "n"), (0, None))  # no elements: the other extent is free
    assert not same_extents((2, 3), (3, 2))
    assert not same_extents((6,), (2, 3))
    assert not same_extents(None, (2,))


@pytest.mark.parametrize(
    ("op", "operands"),
    [
        ("Slice", (_ints(0), _ints(3), np.int64(1), _ints(1))),
        ("Slice", (np.int64(0), np.int64(3))),
        ("Slice", (_ints(0, 0), _ints(3, 4), _ints(1), _ints(1, 1))),
        ("Reshape", (np.int64(24),)),
        ("Expand", (np.int64(1),)),
        ("Tile", (np.int64(1),)),
        ("Pad", (np.int64(0),)),
    ],
)
def test_what_holds_a_number_in_place_of_a_list_is_left_alone(
    op: str, operands: tuple[Any, ...]
) -> None:
    model = _model(op, *map(np.asarray, operands))
    node = next(n for _, n in model.nodes() if n.is_op(op))
    assert STAND_INS[op](node) is None

"""Constant subgraphs are computed, within bounds."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from onnx import TensorProto as T

from ocompress import runtime
from ocompress.ir import DType, Model, Value, from_proto, to_proto
from ocompress.ir.serialized_size import serialized_bytes
from passes.canonical import fold_constants
from tests.build import Builder
from tests.passes.canonical.exact import Ran, run


def _after_x(b: Builder, value: str, shape: list[int]) -> Model:
    b.op("Mul", b.input("x", shape), value, to="y")
    b.output("y", None if not shape else ["a"] * len(shape))
    return b.model()


def test_chain_becomes_one_weight() -> None:
    b = Builder()
    w = b.op("Transpose", b.op("Tanh", b.weight(3, 4)), perm=[1, 0])
    ran = run("fold-constants", _after_x(b, b.op("Exp", w), [4, 3]))
    assert ran.ops == {"Mul": 1}
    assert ran.outcome.counts == {"nodes folded": 3}
    ran.same_bits()


def test_one_session_computes_all(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    class Counting(runtime.Session):
        def __init__(self, *args: object, **kwargs: object) -> None:
            made.append(1)
            super().__init__(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(fold_constants, "Session", Counting)
    b = Builder()
    parts = [b.op("Sin", b.weight(4)) for _ in range(20)]
    assert run("fold-constants", _after_x(b, b.op("Sum", *parts), [4])).ops == {"Mul": 1}
    assert len(made) == 1


def test_several_outputs_and_readers_in_a_body() -> None:
    body = Builder()
    body.op("Add", "x", "left", to="out")
    body.output("out", [2])
    other = Builder()
    other.op("Sub", "x", "right", to="out2")
    other.output("out2", [2])
    b = Builder()
    b.input("x", [2])
    b.ops("Split", [b.weight(4)], ["left", "right"])
    b.op(
        "If",
        b.input("c", [], T.BOOL),
        to="y",
        then_branch=body.graph("t"),
        else_branch=other.graph("e"),
    )
    b.output("y", [2])
    ran = run("fold-constants", b.model())
    assert "Split" not in ran.ops
    ran.same_bits(c=np.asarray(True))
    ran.same_bits(c=np.asarray(False))


def test_constants_inside_a_body() -> None:
    def branch(op: str) -> onnx.GraphProto:
        inner = Builder()
        inner.op("Mul", "x", inner.op(op, inner.weight(2), to=f"w{op}"), to=f"out{op}")
        inner.output(f"out{op}", [2])
        return inner.graph(op)

    b = Builder()
    b.input("x", [2])
    c = b.input("c", [], T.BOOL)
    b.op("If", c, to="y", then_branch=branch("Sin"), else_branch=branch("Cos"))
    b.output("y", [2])
    ran = run("fold-constants", b.model())
    assert ran.ops == {"If": 1, "Mul": 2}
    ran.same_bits(c=np.asarray(True))
    ran.same_bits(c=np.asarray(False))


def test_formal_output_stays_made_by_a_node() -> None:
    b = Builder()
    b.op("Exp", b.weight(3), to="y")
    b.output("y", [3])
    ran = run("fold-constants", b.model())
    assert ran.ops == {"Constant": 1}
    ran.same_bits()


def _size(model: Model) -> int:
    return serialized_bytes(model)


def _constant(ran: Ran) -> Value:
    """Return the operand of the Mul that `_after_x` adds."""
    value = ran.after.graph.nodes[-1].inputs[1]
    assert value is not None
    return value


def test_a_constant_that_would_be_larger_is_written_as_it_was() -> None:
    b = Builder()
    big = b.op("Expand", b.weight(1), b.const(np.asarray([1 << 19], np.int64)))
    ran = run("fold-constants", _after_x(b, big, [1 << 19]))
    assert ran.ops == {"Mul": 1}
    assert _constant(ran).constant is not None
    assert _size(ran.after) <= _size(ran.before)
    assert [n.op_type for n in to_proto(ran.after).graph.node] == ["Expand", "Mul"]
    ran.same_bits()


def test_what_is_enormous_is_left_alone() -> None:
    b = Builder()
    big = b.op("Expand", b.weight(1), b.const(np.asarray([1 << 26], np.int64)))
    ran = run("fold-constants", _after_x(b, big, [1 << 26]))
    assert not ran.outcome
    assert ran.codes == {"grows"}


def test_moderate_growth_is_folded() -> None:
    b = Builder()
    ran = run("fold-constants", _after_x(b, b.op("Expand", b.weight(1), b.const(_i(200))), [200]))
    assert ran.ops == {"Mul": 1}
    ran.same_bits()


def test_a_chain_that_grows_is_written_as_it_was() -> None:
    b = Builder()
    angles = b.op("Mul", b.weight(64, 1), b.weight(1, 64))
    ran = run("fold-constants", _after_x(b, b.op("Cos", angles), [64, 64]))
    assert ran.ops == {"Mul": 1}
    assert _size(ran.after) <= _size(ran.before)
    ran.same_bits()


def test_growth_of_an_output_is_declined() -> None:
    b = Builder()
    b.op("Mul", b.weight(64, 1), b.weight(1, 64), to="y")
    b.output("y", [64, 64])
    ran = run("fold-constants", b.model())
    assert not ran.outcome
    assert [(r.code, r.op_type) for r in ran.remarks] == [("grows", "Mul")]


def test_small_beginning_of_a_chain_that_grows_is_folded() -> None:
    b = Builder()
    big = b.op("Expand", b.op("Sin", b.op("Exp", b.weight(1))), b.const(_i(1000)))
    ran = run("fold-constants", _after_x(b, big, [1000]))
    assert ran.outcome.counts == {"nodes folded": 2, "constants kept in their smaller form": 1}
    assert [n.op_type for n in to_proto(ran.after).graph.node] == ["Expand", "Mul"]
    ran.same_bits()


@pytest.mark.parametrize("half", [np.float16, ml_dtypes.bfloat16])
@pytest.mark.parametrize("turned", [False, True])
def test_weights_of_fewer_bits_are_constants(half: Any, turned: bool) -> None:
    b = Builder()
    b.ops("Cast", [b.const(b.rng.standard_normal((40, 50)).astype(half))], ["w"], to=T.FLOAT)
    w = b.op("Transpose", "w", perm=[1, 0]) if turned else "w"
    b.op("MatMul", b.input("x", ["n", 50 if turned else 40]), w, to="y")
    b.output("y", ["n", 40 if turned else 50])
    ran = run("fold-constants", b.model())
    assert ran.ops == {"MatMul": 1}
    assert _constant(ran).dtype is DType.FLOAT
    assert _size(ran.after) <= _size(ran.before)
    ran.same_bits()
    written = to_proto(ran.after)
    again = run("fold-constants", from_proto(written))
    assert again.ops == {"MatMul": 1}
    assert to_proto(again.after) == written


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_integers_behind_a_cast_stay_visible(dtype: Any) -> None:
    b = Builder()
    b.ops("Cast", [b.const(np.ones((40, 50), dtype))], ["w"], to=T.FLOAT)
    ran = run("fold-constants", _after_x(b, "w", [40, 50]))
    assert not ran.outcome
    assert ran.codes == {"grows"}


def test_weights_of_a_body_go_where_their_constants_are() -> None:
    body = Builder()
    body.ops("Cast", ["half"], ["w"], to=T.FLOAT)
    body.op("MatMul", "x", "w", to="out")
    body.output("out", [2, 50])
    other = Builder()
    other.op("MatMul", "x", other.weight(40, 50), to="other")
    other.output("other", [2, 50])
    b = Builder()
    b.input("x", [2, 40])
    b.const(b.rng.standard_normal((40, 50)).astype(np.float16), "half")
    flag = b.input("c", [], T.BOOL)
    b.op("If", flag, to="y", then_branch=body.graph("t"), else_branch=other.graph("e"))
    b.output("y", [2, 50])
    ran = run("fold-constants", b.model())
    assert ran.ops == {"If": 1, "MatMul": 2}
    assert _size(ran.after) <= _size(ran.before) + 64
    for choice in (True, False):
        ran.same_bits(c=np.asarray(choice))


def test_two_readers_of_a_small_form_stay_as_they_are() -> None:
    """They are one weight; as two constants each would be pruned and rounded by itself."""
    b = Builder()
    half = b.const(b.rng.standard_normal((40, 40)).astype(np.float16))
    b.ops("Cast", [half], ["w"], to=T.FLOAT)
    x = b.op("MatMul", b.input("x", ["n", 40]), "w")
    b.op("MatMul", x, b.op("Transpose", "w", perm=[1, 0]), to="y")
    b.output("y", ["n", 40])
    ran = run("fold-constants", b.model())
    assert ran.ops == {"Cast": 1, "Transpose": 1, "MatMul": 2}
    assert ran.codes == {"grows"}


@pytest.mark.parametrize("tied", [False, True])
def test_weight_that_others_read_is_not_stored_twice(tied: bool) -> None:
    b = Builder()
    w = b.weight(40, 40)
    x = b.op("Add", b.input("x", [40, 40]), w) if tied else b.input("x", [40, 40])
    b.op("Mul", x, b.op("Transpose", w, perm=[1, 0]), to="y")
    b.output("y", [40, 40])
    ran = run("fold-constants", b.model())
    assert ("Transpose" in ran.ops) == tied
    ran.same_bits()


def _i(*numbers: int) -> np.ndarray:
    return np.asarray(numbers, np.int64)


@pytest.mark.parametrize("op", ["DequantizeLinear", "RandomNormalLike"])
def test_quantized_and_random_nodes_stay(op: str) -> None:
    b = Builder()
    if op == "DequantizeLinear":
        value = b.op(op, b.const(np.asarray([1, 2], np.int8)), b.const(np.float32(0.5)))
    else:
        value = b.op(op, b.weight(2))
    ran = run("fold-constants", _after_x(b, value, [2]))
    assert not ran.outcome
    assert not ran.remarks


def test_failure_of_one_node_spares_the_others() -> None:
    b = Builder()
    good = b.op("Sin", b.weight(4))
    bad = b.op("Gather", b.weight(4), b.const(_i(9, 9, 9, 9)))  # out of range
    value = b.op("Cos", b.op("Add", good, bad))
    ran = run("fold-constants", _after_x(b, value, [4]))
    assert ran.ops == {"Gather": 1, "Add": 1, "Cos": 1, "Mul": 1}
    assert ran.codes == {"not-computable"}
    assert [r.op_type for r in ran.remarks] == ["Gather"]


def test_defaults_of_inputs_are_no_constants() -> None:
    b = Builder()
    b.input("w", [4])
    b.const(np.ones(4, np.float32), "w")
    assert not run("fold-constants", _after_x(b, b.op("Sin", "w"), [4])).outcome


def test_opset_the_runtime_does_not_know_is_said_once() -> None:
    b = Builder()
    b.op("Mul", b.input("x", [4]), b.op("Sin", b.op("Cos", b.weight(4))), to="y")
    b.output("y", [4])
    model = b.model()
    model.opsets[""] = 999
    ran = run("fold-constants", model, types=False)
    assert not ran.outcome

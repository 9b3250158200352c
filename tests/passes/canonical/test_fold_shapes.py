"""Known extents become constants, unknown ones stay computed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto as T

from ocompress.ir import Model
from passes.canonical.fold_shapes import gathered, known, sliced
from tests.build import Builder
from tests.passes.canonical.exact import Ran, run

SHAPE = ("n", 3, 8)


def _run(*ops: tuple[Any, ...], shape: Any = SHAPE, out: Any = ("k",)) -> Ran:
    b = Builder()
    value = b.op("Neg", b.input("x", list(shape)))
    for op, *constants, attrs in ops:
        value = b.op(op, value, *(b.const(np.asarray(c, np.int64)) for c in constants), **attrs)
    b.op("Identity", value, to="y")
    b.output("y", list(out), T.INT64)
    return run("fold-shapes", b.model())


@pytest.mark.parametrize(
    ("ops", "out"),
    [
        ([("Shape", {"start": 1})], ["k"]),
        ([("Shape", {"start": -2, "end": -1})], ["k"]),
        ([("Shape", {}), ("Gather", 1, {})], []),
        ([("Shape", {}), ("Gather", [2, -2], {})], ["k"]),
        ([("Shape", {}), ("Slice", [1], [3], {})], ["k"]),
        ([("Shape", {}), ("Slice", [-2], [1000], {})], ["k"]),
    ],
)
def test_known_part(ops: list[tuple[Any, ...]], out: list[str]) -> None:
    ran = _run(*ops, out=out)
    kept = {"Shape"} if len(ops) > 1 else set()
    assert set(ran.ops) - kept == {"Neg", "Identity"}
    ran.same_bits()


@pytest.mark.parametrize(
    "ops",
    [
        [("Shape", {})],
        [("Shape", {}), ("Gather", [0, 1], {})],
        [("Shape", {}), ("Slice", [0], [2], {})],
        [("Shape", {}), ("Slice", [0], [3], [0], [2], {})],
    ],
)
def test_unknown_part_stays(ops: list[tuple[Any, ...]]) -> None:
    assert not _run(*ops).outcome


def test_static_size() -> None:
    ran = _run(("Size", {}), shape=(2, 3), out=())
    assert ran.ops["Size"] == 0
    ran.same_bits()
    assert not _run(("Size", {}), out=()).outcome


def test_declared_outputs_are_not_believed() -> None:
    b = Builder()
    b.op("Relu", b.input("x", ["n", 3]), to="y")
    b.output("y", [1, 3])  # what exporters leave when somebody makes the batch dynamic
    b.op("Shape", "y", to="s")
    b.output("s", [2], T.INT64)
    ran = run("fold-shapes", b.model())
    assert not ran.outcome


def test_stale_recorded_shapes_are_not_believed() -> None:
    b = Builder()
    h = b.op("Relu", b.input("x", ["n", 3]))
    b.op("Shape", h, to="s")
    b.output("s", [2], T.INT64)
    model = _with_recorded(b.model(), h, (1, 3))
    assert not run("fold-shapes", model).outcome


def _with_recorded(model: Model, name: str, shape: tuple[int, ...]) -> Model:
    value = next(n for n in model.graph.nodes if n.output.name == name).output
    value.set_type(value.dtype or model.graph.inputs[0].dtype, shape)
    return model


def test_arithmetic() -> None:
    assert known((1, "n")) is None
    assert gathered((4, "n", 6), np.asarray([[2], [0]])).tolist() == [[6], [4]]  # type: ignore[union-attr]
    assert gathered((4, "n"), np.asarray(1)) is None
    assert gathered((4,), np.asarray(1)) is None
    one, two = np.asarray([0]), np.asarray([2])
    assert sliced((4, 5, "n"), one, two, None).tolist() == [4, 5]  # type: ignore[union-attr]
    assert sliced((4, 5, 6), one, np.asarray([3]), two).tolist() == [4, 6]  # type: ignore[union-attr]
    assert sliced((4, 5, 6), one, two, np.asarray([-1])) is None

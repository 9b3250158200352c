"""Gradients of operators that move, choose, repeat or resize elements."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.analysis.gradients.differences import check, unary
from tests.build import Builder

F = np.float32


def ints(*numbers: int) -> Any:
    return np.array(numbers, np.int64)


MOVES: list[tuple[str, Any, list[Any], dict[str, Any]]] = [
    ("Reshape", (2, 6), [ints(3, -1)], {}),
    ("Flatten", (2, 3, 2), [], {"axis": 2}),
    ("Squeeze", (2, 1, 3), [ints(1)], {}),
    ("Unsqueeze", (2, 3), [ints(0, 2)], {}),
    ("Transpose", (2, 3, 4), [], {"perm": [1, 2, 0]}),
    ("Transpose", (2, 3), [], {}),
    ("Expand", (2, 1, 3), [ints(2, 4, 1)], {}),
    ("Tile", (2, 3), [ints(2, 3)], {}),
    ("DepthToSpace", (1, 8, 2, 3), [], {"blocksize": 2, "mode": "DCR"}),
    ("DepthToSpace", (1, 8, 2, 3), [], {"blocksize": 2, "mode": "CRD"}),
    ("SpaceToDepth", (1, 2, 4, 6), [], {"blocksize": 2}),
    ("Trilu", (2, 3, 3), [ints(1).reshape(())], {"upper": 0}),
    ("CumSum", (2, 4), [ints(1).reshape(())], {"exclusive": 1}),
    ("Slice", (4, 5), [ints(1, 0), ints(4, 9)], {}),
    ("Slice", (4, 5), [ints(-2), ints(-1), ints(1)], {}),
    ("Slice", (7, 5), [ints(1), ints(7), ints(0), ints(2)], {}),
    ("Slice", (7, 5), [ints(-1), ints(-100), ints(0), ints(-3)], {}),
    ("Slice", (7, 5), [ints(5, 1), ints(1, 4), ints(0, 1), ints(-2, 1)], {}),
    ("Pad", (2, 3), [ints(1, 0, 2, 1), F(5)], {}),
    ("Pad", (4, 4), [ints(-1, 1, -1, 0)], {}),
    ("Pad", (3, 4), [ints(2, 1, 1, 2)], {"mode": "reflect"}),
    ("Pad", (3, 4), [ints(2, 1, 1, 2)], {"mode": "edge"}),
    ("Gather", (4, 3), [ints(2)], {}),
    ("Gather", (2, 5), [ints(1, 2, 3)], {"axis": 1}),
    ("Gather", (4, 3), [ints(0, -1, 0, 2).reshape(2, 2)], {}),
    ("Gather", (2, 4, 2), [ints(-2).reshape(())], {"axis": 1}),
    ("GatherElements", (3, 2), [ints(0, 0, 2, 1).reshape(2, 2)], {}),
    ("GatherND", (3, 2), [ints(0, 0, 2).reshape(3, 1)], {}),
]


@pytest.mark.parametrize(("op", "shape", "rest", "attrs"), MOVES)
def test_moves(op: str, shape: Any, rest: list[Any], attrs: dict[str, Any]) -> None:
    check(unary(op, shape, *rest, **attrs), linear=True)


def test_forms_of_older_opsets() -> None:
    check(unary("Slice", (4, 5), starts=[1], ends=[3], axes=[1]), opset=9, linear=True)
    check(unary("Squeeze", (2, 1, 3), axes=[1]), opset=11, linear=True)
    check(unary("Unsqueeze", (2, 3), axes=[1]), opset=11, linear=True)
    check(unary("Pad", (2, 3), pads=[1, 0, 2, 1]), opset=10, linear=True)


def test_concat() -> None:
    def build(b: Builder) -> None:
        x, z = b.input("x", [2, 3]), b.input("z", [2, 1])
        b.op("Concat", x, b.const(np.ones((2, 2), F)), z, x, to="y", axis=-1)
        b.output("y")

    check(build)


@pytest.mark.parametrize("sizes", [None, [1, 3]])
def test_split_with_a_part_that_nobody_reads(sizes: list[int] | None) -> None:
    def build(b: Builder) -> None:
        x = b.input("x", [2, 4])
        rest = [b.const(ints(*sizes))] if sizes else []
        attrs = {} if sizes else {"num_outputs": 2}
        b.ops("Split", [x, *rest], ["s0", "s1"], axis=1, **attrs)
        b.op("Exp", "s1", to="y")
        b.output("y")

    check(build)


@pytest.mark.parametrize("how", ["none", "add"])
@pytest.mark.parametrize(
    ("op", "places", "written", "attrs"),
    [
        ("ScatterElements", ints(2, 0, -1, 1, 3, 0).reshape(2, 3), (2, 3), {"axis": 0}),
        ("ScatterElements", ints(2, 0, 1, 2).reshape(4, 1), (4, 1), {"axis": 1}),
        ("ScatterND", ints(2, 0).reshape(2, 1), (2, 3), {}),
        ("ScatterND", ints(2, 0, -1, 1).reshape(2, 2), (2,), {}),
    ],
)
def test_what_is_written_at_places(
    op: str, places: np.ndarray, written: Any, attrs: dict[str, Any], how: str
) -> None:
    def build(b: Builder) -> None:
        x, new = b.input("x", [4, 3]), b.input("new", list(written))
        b.op(op, b.op("Exp", x), b.const(places), b.op("Exp", new), to="y", reduction=how, **attrs)
        b.output("y")

    check(build)


def test_sums_of_what_comes_to_one_place() -> None:
    def build(b: Builder) -> None:
        x, new = b.input("x", [4, 3]), b.input("new", [5, 3])
        at = b.const(ints(1, 1, 0, 3, 1).reshape(5, 1))
        b.op("ScatterND", x, at, b.op("Exp", new), to="y", reduction="add")
        b.output("y")

    check(build)


def test_indices_that_are_fed() -> None:
    def build(b: Builder) -> None:
        x, at = b.input("x", [4, 3]), b.input("at", [3], 7)
        b.op("Gather", x, at, to="y")
        b.output("y")

    check(build, fed={"at": ints(1, 1, -1)})


def test_limits_that_are_computed_from_the_shape() -> None:
    def build(b: Builder) -> None:
        x = b.input("x", ["n", 5])
        width = b.op("Slice", b.op("Shape", x), *(b.const(ints(v)) for v in (1, 2)))
        end = b.op("Sub", width, b.const(ints(2)))
        b.op("Slice", x, b.const(ints(1)), end, b.const(ints(1)), to="y")
        b.output("y")

    check(build)


RESIZE: list[tuple[Any, list[float], dict[str, Any]]] = [
    (
        (1, 2, 3, 3),
        [1, 1, 2, 3],
        {
            "mode": "nearest",
            "nearest_mode": "floor",
            "coordinate_transformation_mode": "asymmetric",
        },
    ),
    ((1, 1, 4, 3), [1, 1, 1.5, 2.5], {"mode": "nearest"}),
    ((1, 1, 4, 4), [1, 1, 0.5, 0.5], {"mode": "nearest"}),
    ((1, 1, 3, 4), [1, 1, 2, 2], {"mode": "linear"}),
    (
        (1, 1, 3, 4),
        [1, 1, 2, 1.5],
        {"mode": "linear", "coordinate_transformation_mode": "align_corners"},
    ),
    ((1, 1, 4, 5), [1, 1, 2, 2], {"mode": "cubic"}),
]


@pytest.mark.parametrize(("shape", "scales", "attrs"), RESIZE)
def test_resize_by_scales(shape: Any, scales: list[float], attrs: dict[str, Any]) -> None:
    check(unary("Resize", shape, None, np.array(scales, F), **attrs), linear=True)


def test_resize_to_sizes() -> None:
    check(unary("Resize", (1, 2, 3, 3), None, None, ints(1, 2, 5, 6), mode="linear"), linear=True)


def test_resize_of_older_opsets() -> None:
    scales = np.array([1, 1, 2, 2], F)
    check(unary("Resize", (1, 2, 2, 3), np.zeros(0, F), scales), opset=11, linear=True)
    check(unary("Resize", (1, 2, 2, 3), scales), opset=10, linear=True)
    check(unary("Upsample", (1, 2, 2, 3), scales), opset=9, linear=True)
    check(unary("Upsample", (1, 2, 2, 3), scales=[1.0, 1, 2, 2]), opset=7, linear=True)

"""Parts of an output behind changes of layout."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from ocompress.analysis.gradients.joints import along_one_axis, joint_behind
from ocompress.analysis.gradients.seeds import Currency, Joined, Seeding, choose
from ocompress.analysis.output_parts import parts_of
from ocompress.ir import DType
from ocompress.ir.onnx_api import infer_types
from ocompress.runtime import Session
from tests.build import Builder, feeds


def detector(ending: str) -> Joined:
    """Two scales of four numbers of a box beside five scores a cell, in some layout."""
    b = Builder()
    scales = []
    for size, extents in ((4, [0, 9, -1]), (2, [0, 9, -1])):
        x = b.input(f"x{size}", ["n", 6, size, size])
        boxes, scores = (b.op("Conv", x, b.weight(c, 6, 1, 1)) for c in (4, 5))
        both = b.op("Concat", boxes, b.op("Sigmoid", scores), axis=1)
        scales.append(b.op("Reshape", both, b.const(np.array(extents, np.int64))))
    both = b.op("Concat", *scales, axis=2)
    if ending == "cells first":
        b.op("Transpose", both, to="y", perm=[0, 2, 1])
    elif ending == "flat":
        b.op("Flatten", both, to="y")
    else:
        b.op("Unsqueeze", both, b.const(np.array([1], np.int64)), to="y")
    b.output("y")
    model = b.model()
    found = choose(model, Session(model).run(feeds(model)), {})["y"]
    assert isinstance(found, Joined)
    return found


@pytest.mark.parametrize(
    ("ending", "axis", "each"), [("cells first", 2, 1), ("more", 2, 1), ("flat", 1, 20)]
)
def test_kinds_are_found_behind_changes_of_layout(ending: str, axis: int, each: int) -> None:
    found = detector(ending)
    assert found.axis == axis
    assert [list(there) for there in found.channels] == [
        list(range(4 * each)),
        list(range(4 * each, 9 * each)),
    ]
    kinds = [p.currency for p in found.parts if isinstance(p, Seeding)]
    assert kinds == [Currency.SQUARES, Currency.BERNOULLI]


def test_parts_of_flat_pieces_are_kept_apart() -> None:
    b = Builder()
    x, rows = b.input("x", ["n", 6]), []
    for boxes, scores in ((2, 3), (4, 5)):
        layers = (b.op("MatMul", x, b.weight(6, c)) for c in (boxes, scores))
        rows.append(
            b.op("Concat", b.op("Exp", next(layers)), b.op("Sigmoid", next(layers)), axis=1)
        )
    b.op("Concat", *rows, to="y", axis=1)
    b.output("y")
    model = b.model()
    made = Session(model).run(feeds(model))
    parts = parts_of(made["y"], choose(model, made, {})["y"])
    assert [p.name for p in parts if p.within_unit] == ["2..4", "9..13"]


def test_seeds_of_parts_lie_where_the_parts_do() -> None:
    output = np.random.default_rng(0).random((3, 20, 9)).astype(np.float32)
    found = detector("cells first")
    drawn = found.draw(output, 3, np.random.default_rng(1))
    assert drawn.shape == output.shape
    p = output[..., 4:].astype(np.float64)
    np.testing.assert_allclose(np.abs(drawn[..., 4:]), 1 / np.sqrt(p * (1 - p)), rtol=1e-5)
    assert np.abs(drawn[..., :4]).max() < 1


def test_places_of_large_outputs_take_little_memory() -> None:
    b = Builder()
    x = b.input("x", ["n", 6, 8, 8])
    boxes, scores = (b.op("Conv", x, b.weight(c, 6, 1, 1)) for c in (4, 5))
    both = b.op("Concat", boxes, b.op("Sigmoid", scores), axis=1)
    rows = b.op("Reshape", both, b.const(np.array([0, 9, -1], np.int64)))
    b.op("Flatten", b.op("Transpose", rows, perm=[0, 2, 1]), to="y")
    b.output("y")
    model = b.model()
    infer_types(model)
    output = np.zeros((2000, 64 * 9), np.float32)
    tracemalloc.start()
    found = joint_behind(model.graph.outputs[0], output)
    assert found is not None
    _, made, layout = found
    assert made.shape == (2000, 9, 8, 8)
    laid = along_one_axis(1, [np.arange(4), np.arange(4, 9)], made.shape, layout)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert laid is not None
    assert [laid[0], *map(len, laid[1])] == [1, 4 * 64, 5 * 64]
    assert peak < 3 * output.size


def test_parts_that_lie_along_no_axis_are_not_taken_for_parts() -> None:
    channels = [np.array([0]), np.array([1, 2])]
    assert along_one_axis(1, channels, (2, 3, 4), lambda a: a.reshape(2, 2, 6)) is None
    axis, there = along_one_axis(1, channels, (2, 3, 4), lambda a: a.reshape(2, 12)) or (0, [])
    assert axis == 1
    assert [list(t) for t in there] == [list(range(4)), list(range(4, 12))]


@pytest.mark.parametrize("extent", [0, 7])
def test_shapes_that_cannot_be_are_not_believed(extent: int) -> None:
    b = Builder()
    x = b.input("x", ["n", 6])
    both = b.op("Concat", b.op("Exp", x), b.op("Sigmoid", x), axis=1)
    b.op("Reshape", both, b.const(np.array([0, 3, 4], np.int64)), to="y")
    b.output("y")
    model = b.model()
    joint = model.graph.nodes[-2].outputs[0]
    assert joint is not None
    joint.set_type(DType.FLOAT, (None, extent))
    output = np.zeros((3, 3, 4), np.float32)
    assert joint_behind(model.graph.outputs[0], output) is None

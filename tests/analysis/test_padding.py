"""What a Pad adds, however it is told."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ocompress.analysis.padding import pad_amounts
from ocompress.ir import Model
from tests.build import Builder


def ints(b: Builder, *numbers: int) -> str:
    return b.const(np.array(numbers, np.int64))


def pad(b: Builder, *inputs: str, shape: Any = ("n", 3, 4, 5), opset: int = 18) -> Model:
    b.op("Pad", b.input("x", shape), *inputs, to="y")
    b.output("y")
    return b.model(opset)


def test_all_axes_beginnings_before_ends() -> None:
    b = Builder()
    model = pad(b, ints(b, 0, 1, 2, 3, 4, 5, 6, 7))
    assert pad_amounts(model.graph.nodes[0]) == {0: (0, 4), 1: (1, 5), 2: (2, 6), 3: (3, 7)}


@pytest.mark.parametrize("axes", [(3, 1), (-1, -3)])
def test_named_axes_in_the_order_in_which_they_are_told(axes: tuple[int, int]) -> None:
    b = Builder()
    model = pad(b, ints(b, 1, 2, 3, -4), "", ints(b, *axes))
    found = pad_amounts(model.graph.nodes[0])
    assert found == {3: (1, 3), 1: (2, -4)}
    assert list(found) == [3, 1]  # what is written back goes by that


def test_an_attribute_of_old_operators() -> None:
    b = Builder()
    b.op("Pad", b.input("x", ["n", 3]), to="y", pads=[0, 1, 0, 2])
    b.output("y")
    assert pad_amounts(b.model(10).graph.nodes[0]) == {0: (0, 0), 1: (1, 2)}


def test_what_is_computed_is_not_known() -> None:
    b = Builder()
    told = b.input("pads", [8], 7)
    assert pad_amounts(pad(b, told).graph.nodes[0]) is None
    b = Builder()
    axes = b.input("axes", [2], 7)
    assert pad_amounts(pad(b, ints(b, 1, 2, 3, 4), "", axes).graph.nodes[0]) is None
    b = Builder()
    model = pad(b, ints(b, 1, 2), "", ints(b, -1), shape=None)  # from the back of what?
    assert pad_amounts(model.graph.nodes[0]) is None

"""Pads that convolutions and poolings take over."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ocompress.analysis.padding import same_pads
from tests.build import Builder
from tests.passes.canonical.folding import run

PADS = np.array([0, 0, 1, 0, 0, 0, 1, 2])
DATA = ["n", 3, 8, 9]


def padded(b: Builder, x: str, pads: Any = PADS, value: float | None = None) -> str:
    given = [] if value is None else [b.const(np.float32(value))]
    return b.op("Pad", x, b.const(np.asarray(pads, np.int64)), *given)


def conv(b: Builder, h: str, **attrs: Any) -> str:
    return b.op("Conv", h, b.weight(4, 3, 3, 3), b.weight(4), **attrs)


def pool(kind: str, **attrs: Any) -> Callable[[Builder, str], str]:
    return lambda b, h: b.op(kind, h, kernel_shape=[3, 3], **attrs)


@pytest.mark.parametrize(
    ("reader", "value"),
    [
        (conv, None),
        (lambda b, h: conv(b, h, pads=[2, 1, 0, 3], strides=[2, 1]), 0.0),
        (lambda b, h: conv(b, h, auto_pad="VALID", dilations=[2, 1]), 0.0),
        (pool("AveragePool"), 0.0),
        (pool("AveragePool", pads=[1, 1, 0, 0], count_include_pad=1, strides=[2, 2]), None),
        (pool("MaxPool", strides=[2, 2]), -np.inf),
        (pool("MaxPool"), float(np.finfo(np.float32).min)),
    ],
)
def test_folds(reader: Callable[[Builder, str], str], value: float | None) -> None:
    b = Builder()
    b.op("Identity", reader(b, padded(b, b.input("x", DATA), value=value)), to="y")
    b.output("y")
    result = run("fold-pad", b.model())
    assert "Pad" not in result.ops
    assert not result.codes
    result.same()


def test_zeros_in_front_of_max_pool_behind_relu() -> None:
    b = Builder()
    h = padded(b, b.op("Relu", b.input("x", DATA)))
    b.op("MaxPool", h, to="y", kernel_shape=[3, 3])
    b.output("y")
    result = run("fold-pad", b.model())
    assert "Pad" not in result.ops
    result.same()


@pytest.mark.parametrize("auto", ["SAME_UPPER", "SAME_LOWER"])
def test_auto_pad_with_known_extents(auto: str) -> None:
    b = Builder()
    h = padded(b, b.input("x", [2, 3, 8, 9]))
    b.op("Conv", h, b.weight(4, 3, 4, 2), to="y", auto_pad=auto, strides=[2, 3])
    b.output("y")
    result = run("fold-pad", b.model())
    assert "Pad" not in result.ops
    result.same()


@pytest.mark.parametrize("opset", [9, 11, 18])
def test_spellings_of_pad(opset: int) -> None:
    b = Builder()
    x = b.input("x", DATA)
    if opset == 9:
        h = b.op("Pad", x, pads=PADS.tolist())
    elif opset == 11:
        h = padded(b, x)
    else:
        amounts, axes = b.const(np.array([2, 1, 0, 3])), b.const(np.array([-1, 2]))
        h = b.op("Pad", x, amounts, "", axes)
    b.op("Identity", conv(b, h), to="y")
    b.output("y")
    result = run("fold-pad", b.model(opset))
    assert "Pad" not in result.ops
    result.same()


def test_several_readers_that_all_can() -> None:
    b = Builder()
    h = padded(b, b.input("x", DATA))
    b.op("Concat", conv(b, h), conv(b, h), to="y", axis=1)
    b.output("y")
    result = run("fold-pad", b.model())
    assert "Pad" not in result.ops
    result.same()


@pytest.mark.parametrize(
    ("reader", "pads", "value", "code"),
    [
        (conv, PADS, 1.0, "value"),
        (conv, [0, 1, 0, 0, 0, 0, 0, 0], 0.0, "not-spatial"),
        (conv, [0, 0, -1, 0, 0, 0, 0, 0], 0.0, "negative-pads"),
        (lambda b, h: conv(b, h, auto_pad="SAME_UPPER"), PADS, 0.0, "auto-pad"),
        (pool("MaxPool"), PADS, 0.0, "value"),
        (pool("MaxPool", ceil_mode=1), PADS, -np.inf, "ceil-mode"),
        (pool("MaxPool", dilations=[2, 2]), PADS, -np.inf, "dilated"),
        (pool("MaxPool", pads=[2, 0, 0, 0]), PADS, -np.inf, "pads-too-large"),
        (pool("AveragePool", pads=[1, 0, 0, 0]), PADS, 0.0, "uncounted-pads"),
        (pool("AveragePool"), PADS, 1.0, "value"),
        (lambda b, h: b.op("Add", conv(b, h), b.op("ReduceMax", h)), PADS, 0.0, "several-readers"),
    ],
)
def test_left_alone(
    reader: Callable[[Builder, str], str], pads: Any, value: float, code: str
) -> None:
    b = Builder()
    shape: list[Any] = ["n", 2, 8, 9] if code == "not-spatial" else ["n", 3, "h", 9]
    b.op("Identity", reader(b, padded(b, b.input("x", shape), pads, value)), to="y")
    b.output("y")
    result = run("fold-pad", b.model())
    assert result.codes == {code: 1}
    assert not result.outcome


def test_indices_count_the_padding() -> None:
    b = Builder()
    h = padded(b, b.input("x", DATA), value=-np.inf)
    b.ops("MaxPool", [h], ["y", "i"], kernel_shape=[3, 3])
    b.output("y")
    b.output("i", None, 7)
    assert run("fold-pad", b.model()).codes == {"indices": 1}


@pytest.mark.parametrize("mode", ["reflect", "edge"])
def test_other_modes(mode: str) -> None:
    b = Builder()
    h = b.op("Pad", b.input("x", DATA), b.const(PADS), mode=mode)
    b.op("Identity", conv(b, h), to="y")
    b.output("y")
    assert run("fold-pad", b.model()).codes == {"mode": 1}


def test_same_pads_arithmetic() -> None:
    assert same_pads([5, 6], [2, 3], [1, 2], [1, 2], upper=True) == [0, 1, 1, 2]
    assert same_pads([5, 6], [2, 3], [1, 2], [1, 2], upper=False) == [1, 2, 0, 1]
    assert same_pads([4], [1], [3], [1], upper=True) == [0, 0]

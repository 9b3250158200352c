"""Extents that a file leaves free are those of the weights that read them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

import ocompress
from ocompress.errors import UnsupportedModelError
from ocompress.io import synthetic_data
from ocompress.io.implied import implied_extents
from ocompress.runtime import Session
from tests.build import Builder

FREE = ["a", "b", "c", "d"]


def conv(b: Builder, x: str) -> str:
    return b.op("Conv", x, b.weight(6, 2, 3, 3), group=3)


def picture(b: Builder, x: str) -> str:
    """Channels last, numbers of channels subtracted and multiplied."""
    h = b.op("Div", b.op("Sub", x, b.weight(3)), b.positive(3))
    return b.op("Conv", b.op("Transpose", h, perm=[0, 3, 1, 2]), b.weight(6, 3, 3, 3))


def squared(b: Builder, x: str) -> str:
    return b.op("Add", b.op("Relu", x), b.weight(1, 7, 1, 1))


def heads(b: Builder, x: str) -> str:
    return b.op("Add", b.op("MatMul", x, b.weight(12, 20)), b.op("MatMul", x, b.weight(12, 20)))


def left(b: Builder, x: str) -> str:
    return b.op("MatMul", b.weight(5, 11), x)


def nothing(b: Builder, x: str) -> str:
    return b.op("Relu", b.op("ReduceMean", x, axes=[1], keepdims=1))


@pytest.mark.parametrize(
    ("build", "rank", "extents"),
    [
        (conv, 4, {1: 6}),
        (picture, 4, {3: 3}),
        (squared, 4, {1: 7}),
        (heads, 3, {2: 12}),
        (left, 3, {1: 11}),
        (lambda b, x: b.op("Gemm", x, b.weight(9, 4)), 2, {1: 9}),
        (lambda b, x: b.op("Gemm", x, b.weight(4, 9), transB=1), 2, {1: 9}),
        (lambda b, x: b.op("Gemm", x, b.weight(9, 4), transA=1), 2, {0: 9}),
        (lambda b, x: b.op("Gemm", b.weight(4, 9), x), 2, {0: 9}),
        (lambda b, x: b.op("Gemm", b.weight(4, 9), x, transB=1), 2, {1: 9}),
        (lambda b, x: b.op("LayerNormalization", x, b.positive(8)), 3, {2: 8}),
        (lambda b, x: b.batch_norm(x, 8), 3, {1: 8}),
        (lambda b, x: b.op("ConvTranspose", x, b.weight(5, 4, 3)), 3, {1: 5}),
        (nothing, 4, {}),
    ],
)
def test_weights_say_how_long_an_axis_is(
    build: Callable[[Builder, str], str], rank: int, extents: dict[int, int]
) -> None:
    b = Builder()
    b.output(build(b, b.input("x", list(FREE[:rank]))), None)
    model = b.model()
    assert implied_extents(model) == {"x": extents}
    feed = next(iter(synthetic_data(model, 2)))
    assert {axis: feed["x"].shape[axis] for axis in extents} == extents
    assert Session(model).run(feed)


def test_the_first_layer_that_reads_them_decides() -> None:
    b = Builder()
    x = b.input("x", ["n", "k"])
    h = b.op("Mul", x, b.const(np.ones((1, 10), np.float32)))
    b.output(b.op("MatMul", h, b.weight(10, 4)), None)
    model = b.model()
    assert implied_extents(model) == {"x": {1: 10}}


def test_extents_that_somebody_gives_are_taken() -> None:
    b = Builder()
    b.output(conv(b, b.input("x", list(FREE))), None)
    feed = next(iter(synthetic_data(b.model(), 1, shapes={"x": (1, 6, 9, 9)})))
    assert feed["x"].shape == (1, 6, 9, 9)


def test_other_extents_are_tried_where_the_usual_ones_do_not_run() -> None:
    """A reader of lines takes pictures of one height, which its file does not say."""
    b = Builder()
    x = b.input("x", ["n", 3, "h", "w"])
    h = b.op("Relu", b.op("Conv", x, b.weight(4, 3, 48, 4), strides=[48, 4]))
    h = b.op("Squeeze", h, b.const(np.array([2])))
    b.output(b.op("Transpose", h, perm=[0, 2, 1]), None)
    sound = b.input("sound", ["n", "t"])
    b.output(b.op("Reshape", sound, b.const(np.array([0, 32, -1]))), None)
    model = b.model()
    feed = next(iter(synthetic_data(model, 1)))
    assert (feed["x"].shape, feed["sound"].shape) == ((1, 3, 48, 320), (1, 128))
    assert Session(model).run(feed)


def test_what_runs_on_no_guess_is_told_to_be_given_data() -> None:
    b = Builder()
    x = b.input("x", ["n", "k"])
    b.output(b.op("Reshape", x, b.const(np.array([-1, 7919]))), None)
    with pytest.raises(UnsupportedModelError, match="give data with --data"):
        ocompress.optimize(b.model(), passes="canonicalize", synthetic=4)


def test_states_stay_as_many_as_samples_where_sounds_get_longer() -> None:
    b = Builder()
    sound, state = b.input("sound", ["n", "t"]), b.input("state", [2, "m", 8])
    parts = b.op("Reshape", sound, b.const(np.array([0, 64, -1])))
    b.output(b.op("Add", b.op("ReduceMean", state), b.op("ReduceMean", parts)), None)
    b.output(b.op("Reshape", state, b.const(np.array([2, 1, 8]))), None)
    feed = next(iter(synthetic_data(b.model(), 1)))
    assert (feed["sound"].shape, feed["state"].shape) == ((1, 128), (2, 1, 8))

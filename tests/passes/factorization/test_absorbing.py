"""Orders of channels that weights take in, and those that they must not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from ocompress.ir import Model, onnx_api
from passes.factorization.absorbing import absorb
from tests.build import Builder
from tests.contract.harness import check
from tests.passes.factorization.chains import kinds, lost

Build = Callable[[Builder, str], str]


def ordered(b: Builder, data: str, count: int) -> str:
    order = b.const(np.roll(b.rng.permutation(count), 1))
    return b.op("Gather", data, order, axis=1)


def through(build: Build, channels: int = 8) -> tuple[Model, Model, int]:
    """Build a graph on an input of some channels and let it take in the orders it holds."""
    b = Builder(2)
    made = build(b, b.input("x", [2, channels, 6, 7]))
    b.output(made, [None] * (2 if build is flat else 4))
    return taken_in(b.model())


def taken_in(model: Model, *, last: bool = False) -> tuple[Model, Model, int]:
    onnx_api.infer_types(model)
    after = model.clone()
    gathers = [n for n in after.graph.nodes if n.is_op("Gather")]
    gone = absorb(gathers[-1:] if last else gathers)
    after.sort()
    check(after)
    assert lost(model, after) < 1e-5
    used = {v.name for n in after.graph.nodes for v in n.inputs if v is not None}
    assert set(after.graph.initializers) <= used
    return model, after, gone


def conv(b: Builder, data: str, outs: int, ins: int, k: int = 1, group: int = 1) -> str:
    weight = b.weight(outs, ins // group, k, k)
    return b.op("Conv", data, weight, b.weight(outs), group=group)


def behind(b: Builder, x: str) -> str:
    h = b.op("Relu", ordered(b, x, 8))
    h = b.op("Mul", b.op("MaxPool", h, kernel_shape=[2, 2]), b.const(np.float32(0.5)))
    return conv(b, h, 6, 8, 3)


def through_depthwise(b: Builder, x: str) -> str:
    h = conv(b, ordered(b, x, 8), 8, 8, 3, group=8)
    return conv(b, b.op("LeakyRelu", h), 6, 8)


def before(b: Builder, x: str) -> str:
    h = b.op("Relu", conv(b, x, 10, 8, 3))
    h = ordered(b, conv(b, h, 10, 10, 3, group=10), 10)
    return conv(b, h, 6, 10, group=2)


def flat(b: Builder, x: str) -> str:
    h = b.op("Flatten", b.op("AveragePool", ordered(b, x, 8), kernel_shape=[2, 2]))
    return b.op("Gemm", h, b.weight(5, 8 * 30), b.weight(5), transB=1)


def both_ways(b: Builder, x: str) -> str:
    h = ordered(b, x, 8)
    return b.op("Concat", conv(b, h, 3, 8), conv(b, b.op("Relu", h), 4, 8), axis=1)


def one_after_the_other(b: Builder, x: str) -> str:
    h = ordered(b, conv(b, x, 8, 8, group=2), 8)
    h = ordered(b, b.op("Sigmoid", h), 8)
    return conv(b, h, 6, 8, group=2)


def shared(b: Builder, x: str) -> str:
    weight = b.weight(6, 8, 1, 1)
    left = b.op("Conv", ordered(b, x, 8), weight)
    return b.op("Add", left, b.op("Conv", x, weight))


@pytest.mark.parametrize(
    ("build", "gone", "left"),
    [
        (behind, 1, 0),
        (through_depthwise, 1, 0),
        (before, 1, 0),
        (flat, 1, 0),
        (both_ways, 1, 0),
        (one_after_the_other, 1, 1),
        (shared, 1, 0),
    ],
)
def test_orders_are_taken_in(build: Build, gone: int, left: int) -> None:
    model, after, found = through(build)
    assert found == gone
    assert kinds(after).count("Gather") == left
    assert len(after.graph.nodes) == len(model.graph.nodes) - gone


def sum_of_both(b: Builder, x: str) -> str:
    return conv(b, b.op("Add", ordered(b, x, 8), x), 6, 8)


def result(b: Builder, x: str) -> str:
    return ordered(b, x, 8)


def each_channel_its_own(b: Builder, x: str) -> str:
    return conv(b, b.op("Mul", ordered(b, x, 8), b.weight(8, 1, 1)), 6, 8)


def groups_all_around(b: Builder, x: str) -> str:
    h = ordered(b, conv(b, x, 8, 8, group=2), 8)
    return conv(b, h, 8, 8, group=4)


def last_axis(b: Builder, x: str) -> str:
    return b.op("MatMul", ordered(b, x, 8), b.weight(7, 3))


def across_channels(b: Builder, x: str) -> str:
    return conv(b, b.op("Softmax", ordered(b, x, 8), axis=1), 6, 8)


def some_channels(b: Builder, x: str) -> str:
    picked = b.op("Gather", x, b.const(np.array([3, 1, 2])), axis=1)
    return conv(b, picked, 6, 3)


def other_axis(b: Builder, x: str) -> str:
    picked = b.op("Gather", x, b.const(np.array([3, 1, 2, 0, 5, 4])), axis=2)
    return conv(b, picked, 6, 8)


def read_twice(b: Builder, x: str) -> str:
    h = conv(b, x, 8, 8)
    return b.op("Add", conv(b, ordered(b, h, 8), 8, 8, group=2), h)


@pytest.mark.parametrize(
    "build",
    [
        sum_of_both,
        result,
        each_channel_its_own,
        groups_all_around,
        last_axis,
        across_channels,
        some_channels,
        other_axis,
        read_twice,
    ],
)
def test_orders_that_have_to_stay_do(build: Build) -> None:
    _, after, found = through(build)
    assert found == 0
    assert kinds(after).count("Gather") == 1


def test_a_formal_output_keeps_its_name() -> None:
    def build(b: Builder, x: str) -> str:
        return ordered(b, conv(b, x, 6, 8), 6)

    model, after, found = through(build)
    assert found == 1
    assert [v.name for v in after.graph.outputs] == [v.name for v in model.graph.outputs]


def test_what_is_a_formal_output_on_the_way_stays_in_order() -> None:
    b = Builder(3)
    h = b.op("Relu", ordered(b, b.input("x", [2, 8, 6, 7]), 8), to="seen")
    b.output(h, [None] * 4)
    b.output(conv(b, h, 6, 8), [None] * 4)
    assert taken_in(b.model())[2] == 0


def test_an_order_of_another_joins_the_one_before() -> None:
    b = Builder(4)
    h = b.op("Tanh", ordered(b, b.input("x", [2, 8, 6, 7]), 8))
    b.output(conv(b, ordered(b, h, 8), 6, 8, group=2), [None] * 4)
    _, after, gone = taken_in(b.model(), last=True)
    assert gone == 1
    assert kinds(after) == ["Gather", "Tanh", "Conv"]

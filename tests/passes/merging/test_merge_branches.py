"""Layers side by side in a Concat, against ONNX Runtime."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from tests.build import Builder
from tests.passes.merging.merged import Net, merge, refused

SHAPE = ["n", 4, 9, 8]


def conv(b: Builder, x: str, o: int, *kernel: int, bias: bool = True, **attrs: Any) -> str:
    weight = b.weight(o, 4 // attrs.get("group", 1), *(kernel or (1, 1)))
    return b.op("Conv", x, weight, *([b.weight(o)] if bias else []), **attrs)


def clipped(b: Builder, x: str, most: float = 0.5) -> str:
    return b.op("Clip", x, b.const(np.float32(-0.5)), b.const(np.float32(most)))


FUNCTIONS: dict[str, Net] = {
    "none": lambda _, x: x,
    "relu": lambda b, x: b.op("Relu", x),
    "leaky": lambda b, x: b.op("LeakyRelu", x, alpha=0.3),
    "clip": clipped,
    "several": lambda b, x: clipped(b, b.op("Sigmoid", x)),
}


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_convolutions(function: str, rank: int) -> None:
    attrs: dict[str, Any] = {"pads": [1] * 2 * rank, "strides": [2] * rank, "dilations": [2] * rank}

    def net(b: Builder, x: str) -> str:
        widths = enumerate([3, 2, 5])
        made = [conv(b, x, o, *[2] * rank, bias=i != 1, **attrs) for i, o in widths]
        return b.op("Concat", *(FUNCTIONS[function](b, h) for h in made), axis=1 - 2 - rank)

    done = merge("merge-branches", net, ["n", 4, *[9, 8, 7][:rank]]).cheaper()
    steps = {"none": 0, "several": 2}.get(function, 1)
    assert done.ops["Conv"] == 1
    assert sum(done.ops.values()) == 1 + steps
    assert done.ratio == 1.0


@pytest.mark.parametrize("auto", ["SAME_UPPER", "SAME_LOWER", "VALID"])
def test_auto_pad(auto: str) -> None:
    def net(b: Builder, x: str) -> str:
        made = [conv(b, x, o, 3, 3, auto_pad=auto, strides=[2, 2]) for o in (2, 3)]
        return b.op("Concat", *made, axis=1)

    assert merge("merge-branches", net, SHAPE).cheaper().ops == {"Conv": 1}


@pytest.mark.parametrize("biases", [(False, False), (False, True), (True, False), (True, True)])
@pytest.mark.parametrize("left", [False, True])
def test_products(left: bool, biases: Sequence[bool]) -> None:
    def one(b: Builder, x: str, o: int, bias: bool) -> str:
        weight = b.weight(*((o, 6) if left else (6, o)))
        h = b.op("MatMul", *((weight, x) if left else (x, weight)))
        return b.op("Add", h, b.weight(*((o, 1) if left else (o,)))) if bias else h

    def net(b: Builder, x: str) -> str:
        made = [one(b, x, o, bias) for o, bias in zip((3, 5), biases, strict=True)]
        return b.op("Relu", b.op("Concat", *made, axis=-2 if left else -1))

    done = merge("merge-branches", net, ["n", 6, 7] if left else ["n", 7, 6]).cheaper()
    assert done.ops == {"MatMul": 1, "Relu": 1} | ({"Add": 1} if any(biases) else {})


def test_gemms() -> None:
    def net(b: Builder, x: str) -> str:
        first = b.op("Gemm", x, b.weight(3, 6), b.weight(3), transB=1, alpha=0.5, beta=2.0)
        second = b.op("Gemm", x, b.weight(6, 5))
        third = b.op("Add", b.op("MatMul", x, b.weight(6, 2)), b.weight(2))
        return b.op("Concat", *(b.op("Tanh", h) for h in (first, second, third)), axis=1)

    assert merge("merge-branches", net, ["n", 6]).cheaper().ops == {"Gemm": 1, "Tanh": 1}


def test_runs_of_neighbours_among_others() -> None:
    """Two runs of two, a larger kernel between them, and something else at both ends."""

    def net(b: Builder, x: str) -> str:
        relu = b.op("Relu", x)
        runs = [conv(b, x, o) for o in (1, 2, 3, 4)]
        large = conv(b, x, 2, 3, 3, pads=[1] * 4)
        return b.op("Concat", relu, *runs[:2], large, *runs[2:], relu, axis=1)

    done = merge("merge-branches", net, SHAPE).cheaper()
    assert done.ops == {"Relu": 1, "Conv": 3, "Concat": 1}
    assert done.codes == {"other-window": 1}


def test_channels_after_the_concat_keep_their_order() -> None:
    def net(b: Builder, x: str) -> str:
        h = b.op("Concat", *(conv(b, x, o) for o in (3, 2)), axis=1)
        return b.op(
            "Slice", h, b.const(np.array([2])), b.const(np.array([4])), b.const(np.array([1]))
        )

    assert merge("merge-branches", net, SHAPE).cheaper().ops == {"Conv": 1, "Slice": 1}


def test_recorded_shapes_follow() -> None:
    def net(b: Builder, x: str) -> str:
        relus = [b.op("Relu", conv(b, x, o)) for o in (3, 2)]
        return b.op("Concat", *relus, b.op("Exp", x), axis=1)

    done = merge("merge-branches", net, SHAPE).cheaper()
    shapes = {n.op_type: n.output.shape for _, n in done.result.after.nodes()}
    assert shapes["Conv"] == shapes["Relu"] == ("n", 5, 9, 8)


def test_the_concat_is_an_output() -> None:
    def net(b: Builder, x: str) -> str:
        b.op("Concat", *(conv(b, x, o) for o in (3, 2)), to="z", axis=1)
        b.output("z")
        return "z"

    done = merge("merge-branches", net, SHAPE).cheaper()
    assert [v.name for v in done.result.after.graph.outputs] == ["z", "y"]
    assert done.ops == {"Conv": 1}


def _queries_keys_values(b: Builder, x: str) -> str:
    q, k, v = (b.op("Add", b.op("MatMul", x, b.weight(8, 8)), b.weight(8)) for _ in range(3))
    scores = b.op("MatMul", q, b.op("Transpose", k, perm=[0, 1, 3, 2]))
    return b.op("MatMul", b.op("Softmax", scores), v)


def _apart(b: Builder, x: str) -> str:
    return b.op("Concat", conv(b, x, 2), b.op("Relu", x), conv(b, x, 3), axis=1)


def _twice(b: Builder, x: str) -> str:
    h = conv(b, x, 4)
    return b.op("Add", b.op("Concat", h, conv(b, x, 4), axis=1), b.op("ReduceMax", h))


def _one_of_two_has_a_bias(b: Builder, x: str) -> str:
    return b.op("Concat", conv(b, x, 40, bias=False), conv(b, x, 2), axis=1)


def _one_weight(b: Builder, x: str) -> str:
    weight = b.weight(2, 4, 1, 1)
    made = [b.op("Conv", x, weight, b.weight(2)) for _ in range(2)]
    return b.op("Concat", *made, axis=1)


@pytest.mark.parametrize(
    ("net", "code"),
    [
        (_queries_keys_values, "no-concat"),
        (lambda b, x: b.op("Concat", conv(b, x, 2), conv(b, x, 2), axis=2), "no-concat"),
        (lambda b, x: b.op("Mul", conv(b, x, 2), conv(b, x, 2)), "no-concat"),
        (
            lambda b, x: b.op("Concat", conv(b, x, 2), conv(b, x, 2, 3, 3, pads=[1] * 4), axis=1),
            "other-window",
        ),
        (
            lambda b, x: b.op("Concat", conv(b, x, 2), b.op("Relu", conv(b, x, 2)), axis=1),
            "other-function",
        ),
        (
            lambda b, x: b.op("Concat", *(clipped(b, conv(b, x, 2), m) for m in (1, 2)), axis=1),
            "other-function",
        ),
        (_apart, "not-adjacent"),
        (
            lambda b, x: b.op("Concat", conv(b, x, 2, group=2), conv(b, x, 2, group=2), axis=1),
            "grouped",
        ),
        (_twice, "several-readers"),
        (_one_weight, "shared-weight"),
        (_one_of_two_has_a_bias, "larger"),
    ],
)
def test_left_alone(net: Net, code: str) -> None:
    refused("merge-branches", net, SHAPE, code)


def test_a_single_layer_is_not_looked_at() -> None:
    net: Net = lambda b, x: b.op("Concat", conv(b, x, 4), x, axis=1)  # noqa: E731
    assert not merge("merge-branches", net, SHAPE).codes

"""Averages and pointwise convolutions change places, against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import pytest

from tests.build import Builder
from tests.passes.merging.merged import Merged, Net, merge, refused

SHAPE = ["n", 6, 9, 8]


def point(b: Builder, x: str, i: int, o: int, *, bias: bool = True, **attrs: Any) -> str:
    weight = b.weight(o, i // attrs.get("group", 1), 1, 1)
    return b.op("Conv", x, weight, *([b.weight(o)] if bias else []), **attrs)


def pool(b: Builder, x: str, *kernel: int, **attrs: Any) -> str:
    return b.op("AveragePool", x, kernel_shape=list(kernel), **attrs)


def order(done: Merged) -> list[str]:
    return [node.op_type for _, node in done.result.after.nodes()][:-1]


HALVED: dict[str, dict[str, Any]] = {
    "plain": {},
    "uncounted pads": {"pads": [1, 0, 1, 1]},
    "rounding up": {"ceil_mode": 1},
    "same": {"auto_pad": "SAME_UPPER"},
}


@pytest.mark.parametrize("channels", [(6, 3), (6, 6), (6, 8)])
@pytest.mark.parametrize("attrs", HALVED.values(), ids=HALVED)
def test_average_that_shrinks_goes_first(attrs: dict[str, Any], channels: tuple[int, int]) -> None:
    def net(b: Builder, x: str) -> str:
        return pool(b, point(b, x, *channels), 2, 2, strides=[2, 2], **attrs)

    done = merge("swap-pool", net, SHAPE).cheaper()
    assert order(done) == ["AveragePool", "Conv"]
    assert done.bytes[0] == done.bytes[1]


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("extents", [[9, 8], ["h", "w"]])
def test_extents_that_are_not_known(extents: list[Any], groups: int) -> None:
    def net(b: Builder, x: str) -> str:
        return pool(b, point(b, x, 6, 6, group=groups), 2, 2, strides=[2, 2])

    done = merge("swap-pool", net, ["n", 6, *extents])
    done.result.same()
    assert order(done) == ["AveragePool", "Conv"]


def test_counted_padding_without_a_bias() -> None:
    def net(b: Builder, x: str) -> str:
        h = point(b, x, 6, 4, bias=False)
        return pool(b, h, 3, 3, strides=[2, 2], pads=[1] * 4, count_include_pad=1)

    assert order(merge("swap-pool", net, SHAPE).cheaper()) == ["AveragePool", "Conv"]


@pytest.mark.parametrize("mean", ["GlobalAveragePool", "ReduceMean"])
@pytest.mark.parametrize("extents", [[9, 8], ["h", "w"]])
def test_mean_over_everything(mean: str, extents: list[Any]) -> None:
    def net(b: Builder, x: str) -> str:
        attrs: dict[str, Any] = {"axes": [-1, 2]} if mean == "ReduceMean" else {}
        return b.op(mean, point(b, x, 6, 4), **attrs)

    done = merge("swap-pool", net, ["n", 6, *extents])
    done.result.same()
    assert order(done) == [mean, "Conv"]


def test_mean_along_one_axis() -> None:
    done = merge("swap-pool", lambda b, x: b.op("ReduceMean", point(b, x, 6, 4), axes=[3]), SHAPE)
    assert order(done.cheaper()) == ["ReduceMean", "Conv"]


@pytest.mark.parametrize("extents", [[9, 8], ["h", "w"]])
def test_average_of_fewer_channels(extents: list[Any]) -> None:
    def net(b: Builder, x: str) -> str:
        return point(b, pool(b, x, 3, 3, pads=[1] * 4), 6, 4)

    done = merge("swap-pool", net, ["n", 6, *extents])
    done.result.same()
    assert order(done) == ["Conv", "AveragePool"]


def test_two_averages_behind() -> None:
    def net(b: Builder, x: str) -> str:
        h = pool(b, point(b, x, 6, 6), 2, 2, strides=[2, 2])
        return pool(b, h, 2, 1, strides=[2, 1])

    assert order(merge("swap-pool", net, SHAPE).cheaper()) == ["AveragePool", "AveragePool", "Conv"]


def test_output_of_the_graph_keeps_its_name_and_shape() -> None:
    def net(b: Builder, x: str) -> str:
        b.op("AveragePool", point(b, x, 6, 4), to="z", kernel_shape=[2, 2], strides=[2, 2])
        b.output("z")
        return "z"

    done = merge("swap-pool", net, SHAPE).cheaper()
    graph = done.result.after.graph
    assert [v.name for v in graph.outputs] == ["z", "y"]
    assert [n.output.shape for n in graph.nodes[:2]] == [("n", 6, 4, 4), ("n", 4, 4, 4)]


def _both(b: Builder, x: str) -> str:
    h = point(b, x, 6, 4)
    return b.op("Add", pool(b, h, 2, 2, strides=[2, 2]), b.op("ReduceMax", h))


@pytest.mark.parametrize(
    ("net", "code"),
    [
        (lambda b, x: point(b, pool(b, x, 3, 3), 6, 5), "not-cheaper"),
        (lambda b, x: point(b, pool(b, x, 3, 3, pads=[1] * 4), 6, 6), "not-cheaper"),
        (lambda b, x: pool(b, point(b, x, 6, 6), 3, 3, pads=[1] * 4), "not-cheaper"),
        (
            lambda b, x: pool(
                b, point(b, x, 6, 4), 2, 2, strides=[2, 2], pads=[1] * 4, count_include_pad=1
            ),
            "counted-pads",
        ),
        (_both, "several-readers"),
    ],
)
def test_left_alone(net: Net, code: str) -> None:
    refused("swap-pool", net, SHAPE, code)


def test_extents_that_decide() -> None:
    net: Net = lambda b, x: point(b, pool(b, x, 3, 3), 6, 4)  # noqa: E731
    refused("swap-pool", net, ["n", 6, "h", "w"], "unknown-extents")


@pytest.mark.parametrize("axes", [[1], [0, 2], [1, 2, 3]])
def test_means_over_channels_or_the_batch(axes: list[int]) -> None:
    done = merge("swap-pool", lambda b, x: b.op("ReduceMean", point(b, x, 6, 4), axes=axes), SHAPE)
    assert not done.result.outcome
    assert not done.codes


@pytest.mark.parametrize("extents", [[9, 8], ["h", "w"]])
def test_averages_that_leave_fewer_places_are_where_they_belong(extents: list[Any]) -> None:
    def net(b: Builder, x: str) -> str:
        h = b.op("Relu", point(b, pool(b, x, 2, 2, strides=[2, 2]), 6, 4))
        return point(b, b.op("GlobalAveragePool", h), 4, 2)

    done = merge("swap-pool", net, ["n", 6, *extents])
    assert not done.result.outcome
    assert not done.codes


def test_kernels_of_several_elements_are_not_looked_at() -> None:
    def net(b: Builder, x: str) -> str:
        return pool(b, b.op("Conv", x, b.weight(4, 6, 3, 3)), 2, 2, strides=[2, 2])

    assert not merge("swap-pool", net, SHAPE).codes

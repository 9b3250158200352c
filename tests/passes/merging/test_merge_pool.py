"""Averages next to convolutions, against ONNX Runtime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ocompress.pipeline import PassManager, Pipeline
from ocompress.targets import find
from passes.merging import pools
from passes.merging.forms import Axis, form_of
from passes.merging.merge_pool import MergePool
from tests.build import Builder
from tests.passes.merging.merged import Net, merge, refused

SHAPE = ["n", 4, 9, 8]


def conv(b: Builder, x: str, i: int, o: int, *kernel: int, bias: bool = True, **attrs: Any) -> str:
    weight = b.weight(o, i // attrs.get("group", 1), *kernel)
    return b.op("Conv", x, weight, *([b.weight(o)] if bias else []), **attrs)


def pool(b: Builder, x: str, *kernel: int, **attrs: Any) -> str:
    return b.op("AveragePool", x, kernel_shape=list(kernel), **attrs)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("seed", range(8))
def test_average_behind(seed: int, rank: int) -> None:
    rng = np.random.default_rng(seed)
    attrs: dict[str, Any] = {
        "dilations": rng.integers(1, 3, rank).tolist(),
        "pads": rng.integers(0, 2, 2 * rank).tolist(),
        "group": [1, 2, 4][seed % 3],
    }

    def net(b: Builder, x: str) -> str:
        h = conv(b, x, 4, 8, *[3] * rank, **attrs)
        return pool(b, h, *[2] * rank, strides=[2 + seed % 2] * rank)

    done = merge("merge-pool", net, ["n", 4, *[14, 15, 13][:rank]])
    if done.codes:  # with gaps between the taps, the merged kernel has many zeros
        assert done.codes == {"not-cheaper": 1}
        assert set(attrs["dilations"]) == {2} or rank == 3
        return
    assert done.cheaper().ops == {"Conv": 1}


def test_three_by_three_then_halved_takes_sixteen_of_thirty_six() -> None:
    def net(b: Builder, x: str) -> str:
        return pool(b, conv(b, x, 4, 4, 3, 3, pads=[1] * 4), 2, 2, strides=[2, 2])

    done = merge("merge-pool", net, ["n", 4, 8, 8]).cheaper()
    assert done.ratio == pytest.approx(16 * 16 / (36 * 16 + 16), abs=1e-9)


@pytest.mark.parametrize("pads", [[0, 0, 0, 0], [0, 1, 0, 1]])
def test_average_that_counts_its_padding(pads: list[int]) -> None:
    """It pads with zeros, and that is what the convolution would make there."""

    def net(b: Builder, x: str) -> str:
        h = conv(b, x, 4, 4, 3, 1, bias=False)
        return pool(b, h, 2, 2, pads=pads, strides=[2, 2], count_include_pad=1)

    done = merge("merge-pool", net, SHAPE).cheaper()
    assert done.ops == {"Conv": 1}


@pytest.mark.parametrize("extents", [[9, 9], ["h", "w"]])
def test_extents_that_are_not_known(extents: list[Any]) -> None:
    def net(b: Builder, x: str) -> str:
        return pool(b, conv(b, x, 4, 4, 1, 3), 2, 1, strides=[2, 1])

    done = merge("merge-pool", net, ["n", 4, *extents])
    assert done.ops == {"Conv": 1}
    done.result.same()


@pytest.mark.parametrize("auto", ["SAME_UPPER", "SAME_LOWER", "VALID"])
def test_auto_pad(auto: str) -> None:
    def net(b: Builder, x: str) -> str:
        h = conv(b, x, 4, 4, 3, 3, auto_pad=auto, strides=[1, 2])
        return pool(b, h, 2, 2, strides=[2, 2], auto_pad="VALID")

    assert merge("merge-pool", net, ["n", 4, 8, 16]).cheaper().ops == {"Conv": 1}


@pytest.mark.parametrize(("extent", "merges"), [(9, True), (10, False)])
def test_rounding_up_that_changes_nothing(extent: int, merges: bool) -> None:
    def net(b: Builder, x: str) -> str:
        h = conv(b, x, 4, 4, 3, 3, pads=[1] * 4)
        return pool(b, h, 3, 3, strides=[2, 2], ceil_mode=1)

    if merges:
        assert merge("merge-pool", net, ["n", 4, extent, extent]).cheaper().ops == {"Conv": 1}
    else:
        refused("merge-pool", net, ["n", 4, extent, extent], "ceil-mode")


def test_average_with_gaps() -> None:
    def net(b: Builder, x: str) -> str:
        h = conv(b, x, 4, 4, 3, 3, pads=[1] * 4, dilations=[2, 2])
        return pool(b, h, 2, 2, strides=[3, 3], dilations=[2, 2])

    done = merge("merge-pool", net, ["n", 4, 14, 14], opset=19).cheaper()
    assert done.ops == {"Conv": 1}


@pytest.mark.parametrize("pads", [[], [1, 1, 0, 0]])
def test_average_in_front_of_what_scales_channels(pads: list[int]) -> None:
    def net(b: Builder, x: str) -> str:
        attrs: dict[str, Any] = {"pads": pads, "count_include_pad": 1} if pads else {}
        return conv(b, pool(b, x, 2, 3, strides=[2, 1], **attrs), 4, 4, 1, 1, group=4)

    assert merge("merge-pool", net, SHAPE).cheaper().ops == {"Conv": 1}


def test_every_other_element_in_front_of_a_padded_convolution() -> None:
    def net(b: Builder, x: str) -> str:
        return conv(b, pool(b, x, 1, 1, strides=[2, 2]), 4, 6, 3, 3, pads=[1] * 4, group=2)

    done = merge("merge-pool", net, ["n", 4, 8, 8])
    done.cheaper()
    [node] = [n for _, n in done.result.after.nodes() if n.is_op("Conv")]
    assert node.attr("dilations") == [2, 2]


def test_output_of_the_graph_keeps_its_name() -> None:
    def net(b: Builder, x: str) -> str:
        h = conv(b, x, 4, 4, 3, 3)
        b.op("AveragePool", h, to="z", kernel_shape=[2, 2], strides=[2, 2])
        b.output("z")
        return "z"

    done = merge("merge-pool", net, SHAPE).cheaper()
    assert [v.name for v in done.result.after.graph.outputs] == ["z", "y"]


def _both(b: Builder, x: str) -> str:
    h = conv(b, x, 4, 4, 3, 3)
    return b.op("Add", pool(b, h, 2, 2, strides=[2, 2]), b.op("ReduceMax", h))


@pytest.mark.parametrize(
    ("net", "code"),
    [
        (lambda b, x: pool(b, conv(b, x, 4, 4, 3, 3), 3, 3), "not-cheaper"),
        (lambda b, x: conv(b, pool(b, x, 2, 2, strides=[2, 2]), 4, 8, 1, 1), "not-cheaper"),
        (
            lambda b, x: pool(b, conv(b, x, 4, 4, 3, 3), 2, 2, strides=[2, 2], pads=[1] * 4),
            "uncounted-pads",
        ),
        (
            lambda b, x: pool(
                b, conv(b, x, 4, 4, 3, 3), 2, 2, strides=[2] * 2, pads=[1] * 4, count_include_pad=1
            ),
            "padding",
        ),
        (_both, "several-readers"),
    ],
)
def test_left_alone(net: Net, code: str) -> None:
    refused("merge-pool", net, SHAPE, code)


def test_averages_over_everything_are_not_looked_at() -> None:
    done = merge(
        "merge-pool", lambda b, x: b.op("GlobalAveragePool", conv(b, x, 4, 4, 3, 3)), SHAPE
    )
    assert not done.result.outcome
    assert not done.codes


def test_weight_of_an_average() -> None:
    weight = pools.weight(form_of(5, 5, [Axis(2, 1, 1, 0, 0), Axis(3, 1, 1, 0, 0)], 5))
    assert weight.shape == (5, 1, 2, 3)
    np.testing.assert_allclose(weight.sum((1, 2, 3)), 1)


@pytest.mark.parametrize(("target", "left"), [("x86-avx2", 0), ("x86-avx512", 1)])
def test_blocks_of_outputs_are_the_target_s(target: str, left: int) -> None:
    # Two groups of eight outputs fill a block of eight and half of one of sixteen; an average
    # over all sixteen channels fills either. So 64 multiplications in groups are fewer than 16 in
    # groups and 64 in averages, but with blocks of sixteen they take longer.
    b = Builder()
    h = conv(b, b.input("x", ["n", 2, 9, 9]), 2, 16, 1, 1, bias=False, group=2)
    b.output(pool(b, h, 2, 2), ["n", 16, 8, 8])
    result = PassManager(target=find(target)).run(Pipeline((MergePool(),)), b.model())
    assert sum(n.is_op("AveragePool") for n in result.model.graph.nodes) == left

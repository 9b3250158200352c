"""Groups checked by hand, one structure at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ocompress.analysis import AnalysisManager
from ocompress.analysis.channels import ChannelGroups, Group
from ocompress.ir import Model, onnx_api
from tests.build import Builder


def find(model: Model, label: str, split: str = "inner") -> Group:
    """Return the group that a layer of that name makes."""
    onnx_api.infer_types(model)
    groups = AnalysisManager().get(ChannelGroups(split), model)
    return next(g for g in groups if any(c.node.label == label for c in g.producers))


def names(group: Group) -> tuple[list[str], list[str]]:
    return [c.node.label for c in group.producers], [c.node.label for c in group.consumers]


def ints(b: Builder, *numbers: int) -> str:
    return b.const(np.array(numbers, np.int64))


def finish(b: Builder, h: str, width: int) -> Model:
    b.op("Conv", h, b.weight(2, width, 1, 1), to="last")
    b.output("last", ["n", 2, None, None])
    return b.model()


def start(channels: int = 4, side: int = 6) -> tuple[Builder, str]:
    b = Builder()
    x = b.input("x", ["n", 3, side, side])
    return b, b.op("Conv", x, b.weight(channels, 3, 1, 1), b.weight(channels), to="first")


def test_chain_with_everything_on_the_way() -> None:
    b, h = start()
    h = b.op("PRelu", b.batch_norm(h, 4, to="bn"), b.weight(4, 1, 1), to="prelu")
    h = b.op("MaxPool", b.op("Mul", h, b.positive(1, 4, 1, 1), to="mul"), kernel_shape=[2, 2])
    group = find(finish(b, h, 4), "first")
    assert group.refusal is None
    assert group.size == 4
    assert names(group) == (["first"], ["last"])
    constants = [(c.node.label, c.index, c.axis) for c in group.constants]
    assert sorted(constants) == [
        *(("bn", i, 0) for i in (1, 2, 3, 4)),
        *(("first", 2, 0), ("mul", 1, 1), ("prelu", 1, 0)),
    ]
    assert {(v.value.name, v.axis) for v in group.values} == {
        *(("first", 1), ("bn", 1), ("prelu", 1), ("mul", 1), (h, 1)),
    }


def test_residual_ties_all_that_is_added() -> None:
    b, h = start()
    inner = b.op("Relu", b.op("Conv", h, b.weight(5, 4, 1, 1), to="widen"))
    h = b.op("Add", h, b.op("Conv", inner, b.weight(4, 5, 1, 1), to="narrow"))
    model = finish(b, h, 4)
    assert names(find(model, "first")) == (["first", "narrow"], ["widen", "last"])
    assert names(find(model, "widen")) == (["widen"], ["narrow"])


def test_extent_of_one_ties_nothing() -> None:
    b, h = start()
    h = b.op("Mul", h, b.op("Conv", h, b.weight(1, 4, 1, 1), to="gate"))
    group = find(finish(b, h, 4), "first")
    assert names(group) == (["first"], ["gate", "last"])


def test_parts_of_a_concat_are_groups_of_their_own() -> None:
    b, h = start()
    other = b.op("Conv", "x", b.weight(3, 3, 1, 1), to="second")
    model = finish(b, b.op("Concat", h, "x", other, axis=1), 10)
    first, second = find(model, "first"), find(model, "second")
    assert (first.size, second.size) == (4, 3)
    assert first.consumers[0].positions.tolist() == [[0], [1], [2], [3]]
    assert second.consumers[0].positions.tolist() == [[7], [8], [9]]
    assert first.refusal is second.refusal is None


def test_flatten_gives_a_channel_many_positions() -> None:
    b, h = start(channels=3, side=2)
    b.op("Gemm", b.op("Flatten", h), b.weight(5, 12), to="y", transB=1)
    b.output("y", ["n", 5])
    group = find(b.model(), "first")
    assert group.consumers[0].axis == 1
    assert group.consumers[0].positions.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]


def test_flatten_with_channels_last() -> None:
    b, h = start(channels=3, side=2)
    h = b.op("Reshape", b.op("Transpose", h, perm=[0, 2, 3, 1]), ints(b, 0, -1))
    b.op("MatMul", h, b.weight(12, 5), to="y")
    b.output("y", ["n", 5])
    group = find(b.model(), "first")
    assert group.consumers[0].positions.tolist() == [[0, 3, 6, 9], [1, 4, 7, 10], [2, 5, 8, 11]]


def test_split_has_offsets() -> None:
    b, h = start(channels=6)
    b.ops("Split", [h, ints(b, 2, 4)], ["a", "c"], axis=1)
    b.op("Conv", "a", b.weight(2, 2, 1, 1), to="small")
    b.output("small", ["n", 2, 6, 6])
    group = find(finish(b, "c", 4), "small")
    assert group.refusal is not None
    groups = [g for g in all_groups(b.model()) if names(g)[0] == ["first"]]
    assert [(g.size, names(g)[1]) for g in groups] == [(2, ["small"]), (4, ["last"])]
    assert groups[1].producers[0].positions.tolist() == [[2], [3], [4], [5]]
    assert groups[1].consumers[0].positions.tolist() == [[0], [1], [2], [3]]


def all_groups(model: Model, split: str = "inner") -> tuple[Group, ...]:
    onnx_api.infer_types(model)
    return AnalysisManager().get(ChannelGroups(split), model)


def test_depthwise_passes_channels_on() -> None:
    b, h = start()
    h = b.op("Conv", h, b.weight(8, 1, 3, 3), b.weight(8), group=4, to="depthwise")
    group = find(finish(b, h, 8), "first")
    assert group.size == 4
    assert names(group) == (["first"], ["last"])
    assert ("depthwise", 1) in [(c.node.label, c.index) for c in group.constants]
    assert group.consumers[0].positions.tolist() == [[0, 1], [2, 3], [4, 5], [6, 7]]
    assert [(r.node.label, r.attribute) for r in group.repairs] == [("depthwise", "group")]


def test_groups_of_a_convolution_lose_equally_many() -> None:
    b, h = start(channels=6)
    h = b.op("Conv", h, b.weight(4, 3, 1, 1), group=2, to="grouped")
    model = finish(b, h, 4)
    first, second = find(model, "first"), find(model, "grouped")
    assert first.consumers[0].positions.tolist() == [[0, 3], [1, 4], [2, 5]]
    assert second.producers[0].positions.tolist() == [[0, 2], [1, 3]]


@pytest.mark.parametrize(
    ("channels", "parts", "runs"),
    [
        (8, 2, [[0, 1, 4, 5], [2, 3, 6, 7]]),
        (20, 4, [[0, 1, 2, 3, 10, 11, 12, 13], [4, 5, 6, 7, 14, 15, 16, 17]]),
    ],
)
def test_channel_shuffle_before_groups(channels: int, parts: int, runs: list[list[int]]) -> None:
    """Runs of neighbours go; of 10 channels in a group, two are left of rounds of 4, and stay."""
    b, h = start(channels=channels)
    h = b.op("Reshape", h, ints(b, 0, parts, channels // parts, 6, 6))
    h = b.op("Reshape", b.op("Transpose", h, perm=[0, 2, 1, 3, 4]), ints(b, 0, channels, 6, 6))
    h = b.op("Conv", h, b.weight(4, channels // 2, 1, 1), group=2, to="grouped")
    group = find(finish(b, h, 4), "first")
    assert group.refusal is None
    assert group.consumers[0].positions.tolist() == runs


def heads(split_sizes: tuple[int, int] = (3, 4)) -> Model:
    b = Builder()
    x = b.input("x", ["n", 5, 7])
    count, width = split_sizes
    shape = ints(b, 0, 0, count, width)
    q, k, v = (b.op("MatMul", x, b.weight(7, count * width), to=name) for name in "qkv")
    q, k, v = (b.op("Reshape", t, shape) for t in (q, k, v))
    q, v = (b.op("Transpose", t, perm=[0, 2, 1, 3]) for t in (q, v))
    scores = b.op("MatMul", q, b.op("Transpose", k, perm=[0, 2, 3, 1]), to="scores")
    h = b.op("MatMul", b.op("Softmax", scores, axis=-1), v)
    h = b.op("Reshape", b.op("Transpose", h, perm=[0, 2, 1, 3]), ints(b, 0, 0, -1))
    b.op("MatMul", h, b.weight(count * width, 2), to="y")
    b.output("y", ["n", 5, 2])
    return b.model()


def test_positions_within_heads() -> None:
    model = heads()
    group = find(model, "q")
    assert names(group) == (["q", "k"], [])
    assert [(s.node.label, s.index, s.axis) for s in group.sinks] == [
        ("scores", 0, 3),
        ("scores", 1, 2),
    ]
    assert group.producers[0].positions.tolist() == [[d, d + 4, d + 8] for d in range(4)]
    assert names(find(model, "v")) == (["v"], ["y"])


def test_whole_heads() -> None:
    group = find(heads(), "q", "outer")
    assert names(group) == (["q", "k", "v"], ["y"])
    assert group.size == 3
    assert group.consumers[0].positions.tolist() == [
        [4 * g + d for d in range(4)] for g in range(3)
    ]
    assert not group.sinks


def test_squeeze_and_excite_is_one_group_with_a_bottleneck() -> None:
    b, h = start()
    s = b.op("Conv", b.op("GlobalAveragePool", h), b.weight(3, 4, 1, 1), to="down")
    s = b.op("Sigmoid", b.op("Conv", b.op("Relu", s), b.weight(4, 3, 1, 1), to="up"))
    model = finish(b, b.op("Mul", h, s), 4)
    assert names(find(model, "first")) == (["first", "up"], ["down", "last"])
    assert names(find(model, "down")) == (["down"], ["up"])


def test_sums_are_sinks() -> None:
    b, h = start()
    b.op("ReduceSum", b.op("Relu", h), ints(b, 1), to="y")
    b.output("y", ["n", 1, 6, 6])
    group = find(b.model(), "first")
    assert group.refusal is None
    assert [(s.node.label, s.axis, s.channel.tolist()) for s in group.sinks] == [
        ("y", 1, [0, 1, 2, 3])
    ]


def test_the_answer_is_kept() -> None:
    b, h = start()
    model, analyses = finish(b, h, 4), AnalysisManager()
    onnx_api.infer_types(model)
    assert analyses.get(ChannelGroups(), model) is analyses.get(ChannelGroups("inner"), model)
    assert analyses.get(ChannelGroups(), model) is not analyses.get(ChannelGroups("outer"), model)
    with pytest.raises(ValueError, match="neither 'inner' nor 'outer'"):
        ChannelGroups("both")


@pytest.mark.parametrize("op", ["ScatterND", "ScatterElements"])
def test_messages_between_the_nodes_of_a_graph_keep_their_channels(op: str) -> None:
    """Features are gathered by the sources of edges, added up at their targets, and read."""
    b = Builder()
    h = b.op("Gemm", b.input("x", [8, 5]), b.weight(5, 4), to="first")
    sources, targets = (b.input(name, [12], 7) for name in ("sources", "targets"))
    column = ints(b, 1)
    messages = b.op("GatherND", h, b.op("Unsqueeze", sources, column), to="messages")
    at = b.op("Unsqueeze", targets, column)
    if op == "ScatterElements":
        at = b.op("Expand", at, ints(b, 12, 4), to="places")
    nothing = b.const(np.zeros((8, 4), np.float32))
    attrs: dict[str, Any] = {"axis": 0} if op == "ScatterElements" else {}
    sums = b.op(op, nothing, at, messages, to="sums", reduction="add", **attrs)
    b.op("Gemm", b.op("Add", h, sums), b.weight(4, 2), to="last")
    b.output("last", [8, 2])
    group = find(b.model(), "first")
    assert group.refusal is None
    assert group.size == 4
    assert names(group) == (["first"], ["last"])
    expected = {("messages", 1), ("sums", 1)} | ({("places", 1)} if "Elem" in op else set())
    assert expected <= {(v.value.name, v.axis) for v in group.values}


def test_the_axis_that_indices_choose_along_stays() -> None:
    b = Builder()
    h = b.op("Gemm", b.input("x", [8, 5]), b.weight(5, 4), to="first")
    b.op("GatherElements", h, b.input("i", [8, 4], 7), axis=1, to="last")
    b.output("last", [8, 4])
    refusal = find(b.model(), "first").refusal
    assert refusal is not None
    assert refusal.code == "gathered-axis"

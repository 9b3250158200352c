"""Channels in another order: the model computes what it did."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ocompress.analysis.channels import ChannelGroups
from ocompress.ir import DType, Model, onnx_api, packed
from ocompress.runtime import Level, Session
from passes.pruning.reordering import Reorder, movable, put_in_order, reorder
from tests.build import Builder, feeds
from tests.graphs import ZOO
from tests.passes.pruning.random_nets import BLOCKS, net
from tests.passes.pruning.removed import group_of, groups_of


def moved(model: Model, seed: int, split: str = "inner") -> int:
    """Deal channels of all groups that may move anew, and compare; return how many groups."""
    groups = [g for g in groups_of(model, split) if movable(g)]
    wanted = Session(model, level=Level.DISABLED).run(feeds(model))
    twin, names = model.clone(), [n.label for _, n in model.nodes()]
    kept = {id(w): w.copy() for w in model.weights()}
    rng = np.random.default_rng(seed)
    reorder([(g, rng.permutation(g.size)) for g in groups])
    for weight in twin.weights():
        np.testing.assert_array_equal(weight, kept[id(weight)])  # shared, so never edited
    assert [n.label for _, n in model.nodes()] == names
    assert sum(w.nbytes for w in model.weights()) == sum(w.nbytes for w in twin.weights())
    model.verify()
    onnx_api.infer_types(model)
    found = Session(model, level=Level.DISABLED).run(feeds(model))
    for name, array in wanted.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-4, atol=1e-4)
    return len(groups)


@settings(max_examples=120, deadline=None, derandomize=True)
@given(
    st.lists(st.sampled_from(sorted(BLOCKS)), max_size=5),
    st.integers(0, 1000),
    st.booleans(),
    st.sampled_from(["inner", "outer"]),
)
def test_nets_compute_the_same(blocks: list[str], seed: int, flat: bool, split: str) -> None:
    moved(net(blocks, seed, flat=flat), seed, split)


@pytest.mark.parametrize("name", sorted(BLOCKS))
@pytest.mark.parametrize("flat", [False, True])
def test_every_block_alone(name: str, flat: bool) -> None:
    assert moved(net([name], 3, flat=flat), 1)


@pytest.mark.parametrize("name", sorted(ZOO))
def test_every_graph_of_the_zoo(name: str) -> None:
    moved(ZOO[name](), 0)


def dense(b: Builder, x: str, inputs: int, outputs: int, name: str) -> str:
    return b.op("Gemm", x, b.weight(inputs, outputs), b.weight(outputs), to=name)


def pointwise(b: Builder, x: str, inputs: int, outputs: int, name: str) -> str:
    return b.op("Conv", x, b.weight(outputs, inputs, 1, 1), b.weight(outputs), to=name)


def coupled() -> Model:
    """A residual Add with a BatchNormalization, a depthwise layer, a Flatten before a Gemm."""
    b = Builder()
    h = pointwise(b, b.input("x", ["n", 3, 4, 4]), 3, 8, "stem")
    g = b.op("Relu", b.batch_norm(pointwise(b, h, 8, 12, "up"), 12))
    h = b.op("Add", h, pointwise(b, g, 12, 8, "down"))
    d = b.op("Conv", h, b.weight(16, 1, 3, 3), b.weight(16), group=8, to="depth")
    d = b.op("PRelu", d, b.weight(16, 1, 1))
    b.output(dense(b, b.op("Flatten", d), 64, 5, "head"), ["n", 5])
    return b.model()


def test_what_is_coupled_moves_together() -> None:
    assert moved(coupled(), 0) == 2
    group = group_of(coupled(), "stem")
    assert {c.node.label for c in group.cuts} >= {"stem", "down", "up", "depth", "head"}
    assert movable(group)


def test_channels_come_where_the_order_says() -> None:
    model = coupled()
    weights = {n.label: n.inputs[1] for n in model.graph.nodes if n.is_op("Conv", "Gemm")}
    before = {label: v.data for label, v in weights.items() if v is not None and v.data is not None}
    order = [3, 1, 0, 2, 7, 6, 5, 4]
    reorder([(group_of(model, "stem"), order)])
    after = {label: v.data for label, v in weights.items() if v is not None and v.data is not None}
    np.testing.assert_array_equal(after["stem"], before["stem"][order])
    np.testing.assert_array_equal(after["down"], before["down"][order])
    np.testing.assert_array_equal(after["up"], before["up"][:, order])
    twice = before["depth"].reshape(8, 2, 1, 3, 3)[order].reshape(16, 1, 3, 3)
    np.testing.assert_array_equal(after["depth"], twice)
    flat = before["head"].reshape(8, 8, 5)[order].reshape(64, 5)
    np.testing.assert_array_equal(after["head"], flat)


def test_channels_of_grouped_layers_and_of_shuffles_stay() -> None:
    for name in ("grouped", "shuffle"):
        free = [g for g in groups_of(net([name], 1, flat=False)) if g.refusal is None]
        held = [g for g in free if not g.exchangeable]
        assert held
        assert not any(map(movable, held))


def crossed(again: list[int]) -> Model:
    """Channels whose differences from their neighbours are taken, then picked in some order."""
    b = Builder()
    h = dense(b, b.input("x", ["n", 4]), 4, 6, "first")
    h = b.op("Sub", h, b.op("Gather", h, b.const(np.array([1, 0, 3, 2, 5, 4])), axis=1))
    h = b.op("Gather", h, b.const(np.array(again)), axis=1)
    b.output(dense(b, h, 6, 5, "last"), ["n", 5])
    return b.model()


@pytest.mark.parametrize(
    ("again", "free"),
    [([1, 0, 3, 2, 5, 4], True), ([0, 1, 2, 3, 4, 5], True), ([1, 0, 2, 3, 4, 5], False)],
)
def test_ties_must_be_alike_in_all_channels(again: list[int], free: bool) -> None:
    group = group_of(crossed(again), "first")
    assert group.refusal is None
    assert group.size == 3
    assert group.exchangeable is free
    assert moved(crossed(again), 3) == free


def twice(*, apart: bool) -> Model:
    """Two layers with one weight; `apart`, one of them is read by others."""
    b = Builder()
    w = b.weight(8, 8)
    h = dense(b, b.input("x", ["n", 4]), 4, 8, "first")
    h = b.op("Relu", b.op("MatMul", h, w, to="one"))
    h = b.op("Relu", b.op("MatMul", h, w, to="two")) if apart else h
    b.output(dense(b, h, 8, 5, "last"), ["n", 5])
    return b.model()


def test_a_weight_that_would_have_to_be_copied_stays() -> None:
    model = twice(apart=True)
    for label in ("first", "one", "two"):
        group = group_of(model, label)
        assert group.exchangeable
        assert not movable(group)
    assert moved(twice(apart=False), 0) == 2


def test_equal_biases_may_be_shared() -> None:
    b = Builder()
    zero = b.const(np.zeros(8, np.float32))
    h = b.op("Gemm", b.input("x", ["n", 4]), b.weight(4, 8), zero, to="first")
    h = b.op("Gemm", b.op("Relu", h), b.weight(8, 8), zero, to="second")
    b.output(dense(b, b.op("Relu", h), 8, 5, "last"), ["n", 5])
    assert moved(b.model(), 0) == 2


def test_what_a_file_computes_stays() -> None:
    model = coupled()
    node = next(n for n in model.graph.nodes if n.label == "up")
    value = node.inputs[1]
    assert value is not None
    assert value.data is not None
    value.data = value.data.astype(np.float16).astype(np.float32)
    packed.cast(value, DType.FLOAT16, model.graph)
    assert not movable(group_of(model, "up"))
    assert group_of(model, "up").exchangeable


def test_orders_that_are_none() -> None:
    model = coupled()
    with pytest.raises(ValueError, match="each channel from 0 to 7 once"):
        reorder([(group_of(model, "stem"), [0, 1, 2, 3, 4, 5, 6, 6])])
    with pytest.raises(ValueError, match="cannot trade places"):
        reorder([(group_of(model, "head"), [0, 1, 2, 3, 4])])


def test_edits_find_their_groups_in_clones() -> None:
    model = coupled()
    groups = groups_of(model)
    places = [at for at, g in enumerate(groups) if movable(g)]
    edits = [Reorder(ChannelGroups(), at, tuple(range(groups[at].size))[::-1]) for at in places]
    clone = model.clone()
    put_in_order(clone, pickle.loads(pickle.dumps(edits)))
    reorder([(groups[at], np.arange(groups[at].size)[::-1]) for at in places])
    for a, b in zip(model.weights(), clone.weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    before = [w.copy() for w in clone.weights()]
    put_in_order(clone, [])
    for a, b in zip(before, clone.weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    one = coupled()
    onnx_api.infer_types(one)
    assert edits[0].apply(one)

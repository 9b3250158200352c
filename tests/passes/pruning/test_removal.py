"""What is left computes what the whole did with the channels zeroed where they are read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto as T
from onnx import helper

from ocompress.io import load_model
from ocompress.ir import Model
from ocompress.pipeline import PassManager, Pipeline
from ocompress.targets import find
from passes.pruning.removal import remove
from tests.build import Builder
from tests.graphs import ZOO
from tests.passes.pruning.random_nets import BLOCKS, net
from tests.passes.pruning.removed import compare, group_of, groups_of, some

MODELS = Path(__file__).parents[3] / "models"


def compare_some(model: Model, share: float, seed: int, split: str = "inner") -> int:
    rng = np.random.default_rng(seed)
    free = [g for g in groups_of(model, split) if g.refusal is None]
    chosen = [g for g in free if rng.integers(4)] or free
    compare(model, [(g, some(g, share, rng)) for g in chosen])
    return len(free)


@settings(max_examples=120, deadline=None, derandomize=True)
@given(
    st.lists(st.sampled_from(sorted(BLOCKS)), max_size=5),
    st.integers(0, 1000),
    st.booleans(),
    st.sampled_from(["inner", "outer"]),
)
def test_removal_equals_zeroing(blocks: list[str], seed: int, flat: bool, split: str) -> None:
    assert compare_some(net(blocks, seed, flat=flat), 0.4, seed, split)


@pytest.mark.parametrize("name", sorted(BLOCKS))
@pytest.mark.parametrize("flat", [False, True])
def test_every_block_alone(name: str, flat: bool) -> None:
    assert compare_some(net([name], 3, flat=flat), 0.5, 1)


@pytest.mark.parametrize("name", sorted(ZOO))
def test_every_graph_of_the_zoo(name: str) -> None:
    compare_some(ZOO[name](), 0.5, 0)


@pytest.mark.parametrize("split", ["inner", "outer"])
def test_removing_twice(split: str) -> None:
    model = net(["attention", "shuffle", "depthwise"], 0, flat=True)
    for seed in range(2):
        compare_some(model, 0.3, seed, split)


@pytest.mark.parametrize("path", sorted(MODELS.glob("*.onnx")), ids=lambda p: p.stem)
def test_trained_nets(path: Path) -> None:
    manager = PassManager(target=find("portable"))
    model = manager.run(Pipeline.parse("canonicalize"), load_model(path)).model
    assert compare_some(model, 0.3, 0)


def test_weights_stored_in_half() -> None:
    b = Builder()
    h = b.input("x", ["n", 4])
    for at, shape in enumerate([(4, 8), (8, 3)]):
        weight = b.weight(*shape, dtype=np.float16)
        b.nodes.append(helper.make_node("Cast", [weight], [f"c{at}"], name=f"c{at}", to=T.FLOAT))
        h = b.op("MatMul", h, f"c{at}", to=f"m{at}")
    b.output("m1", ["n", 3])
    model = b.model()
    group = group_of(model, "c0")
    assert [c.node.label for c in group.consumers] == ["c1"]
    compare(model, [(group, [2, 3])])


def _two_layers() -> Model:
    b = Builder()
    x = b.input("x", ["n", 4])
    h = b.op("Relu", b.op("Gemm", x, b.weight(4, 8), b.weight(8), to="first"))
    b.op("Gemm", h, b.weight(8, 3), b.weight(3), to="y")
    b.output("y", ["n", 3])
    return b.model()


def test_the_right_columns_go() -> None:
    model = _two_layers()
    first, second = model.graph.nodes[0], model.graph.nodes[2]
    assert first.inputs[1] is not None
    assert second.inputs[1] is not None
    before, after = first.inputs[1].constant, second.inputs[1].constant
    assert before is not None
    assert after is not None
    remove(model, [(group_of(model, "first"), [1, 6])])
    np.testing.assert_array_equal(first.inputs[1].constant, np.delete(before, [1, 6], 1))
    np.testing.assert_array_equal(second.inputs[1].constant, np.delete(after, [1, 6], 0))
    assert first.output.shape == ("n", 6)


@pytest.mark.parametrize(
    ("channels", "message"),
    [([8], "has channels 0 to 7"), ([-1], "has channels"), (range(8), "must be left")],
)
def test_impossible_wishes(channels: list[int], message: str) -> None:
    model = _two_layers()
    with pytest.raises(ValueError, match=message):
        remove(model, [(group_of(model, "first"), channels)])


def test_refused_group() -> None:
    model = _two_layers()
    with pytest.raises(ValueError, match="cannot be removed: the channels leave as output 'y'"):
        remove(model, [(group_of(model, "y"), [0])])


def test_nothing_changes_nothing() -> None:
    model = _two_layers()
    remove(model, [(g, []) for g in groups_of(model)])
    assert model.weight_bytes == _two_layers().weight_bytes


def test_small_shared_constants_are_copied_where_cuts_differ() -> None:
    b = Builder()
    x, shared = b.input("x", ["n", 4]), b.weight(8)
    for name in ("left", "right"):
        h = b.op("Gemm", x, b.weight(4, 8), shared, to=name)
        b.op("MatMul", b.op("Relu", h), b.weight(8, 2), to=f"{name}_y")
        b.output(f"{name}_y", ["n", 2])
    model = b.model()
    compare(model, [(group_of(model, "left"), [0, 3])])
    shapes = [n.inputs[2].shape for _, n in model.nodes() if n.op_type == "Gemm" and n.inputs[2]]
    assert shapes == [(6,), (8,)]


def test_shared_constants_stay_shared_where_cuts_agree() -> None:
    b = Builder()
    x, shared = b.input("x", ["n", 4]), b.weight(8)
    left = b.op("Gemm", x, b.weight(4, 8), shared, to="left")
    right = b.op("Gemm", x, b.weight(4, 8), shared)
    b.op("MatMul", b.op("Add", left, right), b.weight(8, 2), to="y")
    b.output("y", ["n", 2])
    model = b.model()
    compare(model, [(group_of(model, "left"), [0, 3])])
    biases = [n.inputs[2] for _, n in model.nodes() if n.op_type == "Gemm"]
    assert biases[0] is biases[1]


def test_joined_shape_of_one_reader_is_copied() -> None:
    """Three reshapes read one computed shape, and only one loses channels."""
    b = Builder()
    x = b.input("x", ["n", "s", 8])
    lead = b.op("Slice", b.op("Shape", x), *(b.const(np.array([i], np.int64)) for i in (0, 2)))
    shape = b.op("Concat", lead, b.const(np.array([-1], np.int64)), b.const(np.array([4])), axis=0)
    parts = [b.op("Reshape", b.op("MatMul", x, b.weight(8, 8), to=f"m{i}"), shape) for i in (0, 1)]
    for i, part in enumerate(parts):
        h = b.op("Reshape", b.op("Relu", part), b.const(np.array([0, 0, 8], np.int64)))
        b.op("MatMul", h, b.weight(8, 3), to=f"y{i}")
        b.output(f"y{i}", ["n", "s", 3])
    model = b.model()
    group = group_of(model, "m1")
    assert group.size == 4
    compare(model, [(group, [2])])


def test_groups_of_a_convolution_may_lose_different_inputs() -> None:
    b = Builder()
    h = b.op("Conv", b.input("x", ["n", 3, 4, 4]), b.weight(4, 3, 1, 1), to="first")
    turned = b.op("Gather", h, b.const(np.array([1, 2, 3, 0])), axis=1)
    h = b.op("Concat", b.op("Relu", h), turned, axis=1)
    b.op("Conv", h, b.weight(6, 4, 3, 3), group=2, to="y")
    b.output("y", ["n", 6, 2, 2])
    model = b.model()
    group = group_of(model, "first")
    assert group.size == 4
    assert group.consumers[0].positions.tolist() == [[0, 7], [1, 4], [2, 5], [3, 6]]
    compare(model, [(group, [1])])


def test_large_shared_weights_are_cut_once() -> None:
    """Two layers with one large weight lose the same, so that it stays one."""
    b = Builder()
    x, z = b.input("x", ["n", 130]), b.input("z", ["n", 130])
    weight = b.weight(130, 130)
    for name, data in (("left", x), ("right", z)):
        b.op(
            "MatMul",
            b.op("Relu", b.op("MatMul", data, weight, to=name)),
            b.weight(130, 2),
            to=f"{name}_y",
        )
        b.output(f"{name}_y", ["n", 2])
    model = b.model()
    group = group_of(model, "left")
    assert {c.node.label for c in group.producers} == {"left", "right"}
    compare(model, [(group, range(0, 130, 3))])
    assert len({id(n.inputs[1]) for _, n in model.nodes() if n.label in ("left", "right")}) == 1


def test_bodies_of_if_are_followed() -> None:
    """Both branches make the channels that a layer after the If reads."""
    model = ZOO["if_bodies"]()
    group = next(g for g in groups_of(model) if g.refusal is None and g.consumers)
    assert group.size == 16
    assert len(group.producers) == 2
    compare(model, [(group, [0, 5, 6])])

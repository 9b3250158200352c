"""A large model runs in stages as it does in one session."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ocompress.analysis import staged
from ocompress.analysis.staged import Segment, Staged
from ocompress.ir import Model
from ocompress.ir.extract import extract
from ocompress.ir.inference import infer_types
from ocompress.runtime import Level, Session
from tests.build import Builder

X = np.array([[1, -2, 3, -4]], np.float32)


def forked() -> Model:
    """Return nine nodes, of which an early one is read late."""
    b = Builder(1)
    x = b.input("x", ["n", 4])
    early = value = b.op("Mul", x, b.weight(4), to="early")
    for at in range(6):
        value = b.op("Add" if at % 2 else "Tanh", *([value, x] if at % 2 else [value]))
    b.op("Add", value, early, to="y")
    b.op("Mul", "y", b.const(np.float32(2)), to="z")
    for name in "yz":
        b.output(name, ["n", 4])
    return b.model()


@pytest.mark.parametrize("most", [1, 3, 4, 1000])
def test_stages_make_what_one_session_does(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    model = forked()
    seen = [v for n in model.graph.nodes for v in n.outputs if v is not None and not v.is_output]
    wanted = Session(model, extra_outputs=seen).run({"x": X})
    monkeypatch.setattr(staged, "MOST_NODES", most)
    made = Staged(model, extra_outputs=seen)
    for feed in (X, np.tile(X, (3, 1))):  # of another extent than what it was loaded with
        found = made.run({"x": feed})
        assert found.keys() == wanted.keys()
        for name, array in wanted.items():
            assert np.allclose(found[name], np.tile(array, (len(feed), 1)), atol=1e-6)
    assert list(made.run({"x": X}, ["z"])) == ["z"]


def test_no_stage_has_more_nodes_than_are_loaded_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[int] = []

    def spy(model: Model, **kwargs: Any) -> Session:
        loaded.append(len(model.graph.nodes))
        return Session(model, **kwargs)

    monkeypatch.setattr(staged, "Session", spy)
    monkeypatch.setattr(staged, "MOST_NODES", 4)
    made = Staged(forked())
    assert not loaded  # before it runs
    for _ in range(2):
        made.run({"x": X})
    assert loaded == [3, 3, 3]


def test_defaults_of_inputs_and_bodies_are_seen_by_all_stages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    b = Builder(1)
    x, factor = b.input("x", ["n", 4]), b.const(np.array([3], np.float32), b.input("factor", [1]))
    then, other = Builder(), Builder()
    then.output(then.op("Mul", "scaled", factor), ["n", 4])
    other.output(other.op("Neg", "scaled"), ["n", 4])
    value = b.op("Mul", x, factor, to="scaled")
    for _ in range(3):
        value = b.op("Relu", value)
    flag = b.op("Greater", b.op("ReduceSum", value, keepdims=0), b.const(np.float32(9)))
    b.op("If", flag, to="y", then_branch=then.graph("then"), else_branch=other.graph("else"))
    b.output("y", ["n", 4])
    model = b.model()
    monkeypatch.setattr(staged, "MOST_NODES", 1)
    for feeds in ({"x": X}, {"x": X, "factor": np.array([5], np.float32)}):
        assert np.array_equal(Staged(model).run(feeds)["y"], Session(model).run(feeds)["y"])


def test_probes_at_the_end_hold_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model = forked()
    values = [v for n in model.graph.nodes for v in n.outputs if v is not None]
    shown = [model.graph.add_op("Shape", [v], name="shape").output for v in values]
    monkeypatch.setattr(staged, "MOST_NODES", 6)
    made = Staged(model, extra_outputs=shown, level=Level.DISABLED)
    found = made.run({"x": X}, [v.name for v in shown])
    assert all(np.array_equal(shape, [1, 4]) for shape in found.values())
    assert max(len(stage.segment.inputs) for stage in made.stages) <= 3


def test_a_segment_keeps_the_extents_that_its_operators_cannot_do_without() -> None:
    """Of rows whose width it is not told, Attention of opset 23 makes rows of another width."""
    b = Builder()
    x = b.input("x", ["n", "steps", 8])
    q, k, v = (b.op("MatMul", x, b.weight(8, 8)) for _ in "qkv")
    mixed = b.op("Attention", q, k, v, q_num_heads=2, kv_num_heads=2)
    b.op("MatMul", mixed, b.weight(8, 6), to="y")
    b.output("y", ["n", "steps", 6])
    model = b.model(opset=23, ir_version=11)
    infer_types(model)
    inner = [v for v in (n.outputs[0] for n in model.graph.nodes[:3]) if v is not None]
    names = sorted(v.name for v in inner)
    part = extract(model, model.graph.nodes[3:], inner, model.graph.outputs)
    whole = Session(model, extra_outputs=inner)
    segment = Segment(part, names)
    for shape in ((2, 5, 8), (1, 3, 8)):
        made = whole.run({"x": np.random.default_rng(0).standard_normal(shape, np.float32)})
        fed = {name: made[name] for name in names}
        found = segment.session(fed).run(fed, ["y"])["y"]
        np.testing.assert_allclose(found, made["y"], atol=1e-6)

"""A walk holds what the whole model makes, and follows changes made on the way."""

from __future__ import annotations

import numpy as np
import pytest

from ocompress.analysis.segment_runner import Walk
from ocompress.ir import Model, edit
from ocompress.runtime import Session
from tests.build import Builder, InMemory, feeds


def residual() -> Model:
    b = Builder()
    x = b.input("x", ["n", 3, 6, 6])
    h = b.op("Conv", x, b.weight(4, 3, 3, 3), to="c0", pads=[1, 1, 1, 1])
    r = b.op("Relu", h, to="r0")
    g = b.op("Conv", r, b.const(b.rng.standard_normal((4, 4, 1, 1)).astype("f"), "kernel"), to="c1")
    s = b.op("Add", g, r, to="sum")
    y = b.op("Conv", s, b.weight(2, 4, 3, 3), to="c2")
    b.output(y, ["n", 2, 4, 4])
    return b.model()


def data_for(model: Model, count: int = 3) -> InMemory:
    return InMemory([feeds(model, seed) for seed in range(count)])


def node(model: Model, label: str):  # type: ignore[no-untyped-def]
    return next(n for _, n in model.nodes() if n.label == label)


def everything(model: Model, data: InMemory, name: str) -> list[np.ndarray]:
    value = next(
        v for n in model.graph.nodes for v in n.outputs if v is not None and v.name == name
    )
    session = Session(model, extra_outputs=[value])
    return [session.run(f, [name])[name] for f in data]


@pytest.mark.parametrize("most_bytes", [1 << 30, 0])
def test_holds_what_the_whole_model_makes(most_bytes: int) -> None:
    model = residual()
    data = data_for(model)
    walk = Walk(model, data, most_bytes=most_bytes)
    for label, held in (("c1", "r0"), ("c2", "sum")):
        walk.before(node(model, label))
        source = node(model, held).output
        for at, wanted in enumerate(everything(model, data, held)):
            np.testing.assert_allclose(walk.held(source, at), wanted, atol=1e-5)
    assert not walk.has(node(model, "r0").output)  # nobody reads it any more
    walk.past(node(model, "c2"))
    np.testing.assert_allclose(
        walk.held(node(model, "c2").output, 0), everything(model, data, "c2")[0], atol=1e-5
    )


def test_changes_ahead_count_and_those_behind_do_not() -> None:
    model = residual()
    data = data_for(model)
    walk = Walk(model, data)
    walk.before(node(model, "c1"))
    before = everything(model, data, "r0")[0]
    first = node(model, "c0").inputs[1]
    edit.set_weight(first, np.zeros_like(first.data))
    edit.set_weight(node(model, "c1").inputs[1], np.zeros((4, 4, 1, 1), np.float32))
    walk.before(node(model, "c2"))
    np.testing.assert_allclose(walk.held(node(model, "sum").output, 0), before, atol=1e-6)


def test_peek_does_not_move() -> None:
    model = residual()
    data = data_for(model)
    walk = Walk(model, data)
    walk.before(node(model, "c1"))
    ahead, here = node(model, "sum").output, node(model, "r0").output
    seen = list(walk.peek([ahead, here]))
    wanted = everything(model, data, "sum")
    assert len(seen) == 3
    for made, expected in zip(seen, wanted, strict=True):
        np.testing.assert_allclose(made["sum"], expected, atol=1e-5)
    assert not walk.has(ahead)
    assert walk.has(here)


def test_a_node_behind_is_an_error() -> None:
    model = residual()
    walk = Walk(model, data_for(model))
    walk.past(node(model, "c1"))
    with pytest.raises(ValueError, match="c0"):
        walk.before(node(model, "c0"))


def test_bodies_read_what_is_held() -> None:
    b = Builder()
    x = b.input("x", ["n", 4])
    h = b.op("Gemm", x, b.weight(4, 4), to="g0")
    then, other = Builder(), Builder()
    then.op("Relu", h, to="t")
    then.output("t", ["n", 4])
    other.op("Neg", h, to="o")
    other.output("o", ["n", 4])
    flag = b.op("Greater", b.op("ReduceSum", h, keepdims=0), b.const(np.float32(0)), to="flag")
    b.op("If", flag, to="y", then_branch=then.graph("then"), else_branch=other.graph("else"))
    z = b.op("Gemm", "y", b.weight(4, 2), to="z")
    b.output(z, ["n", 2])
    model = b.model()
    data = data_for(model)
    walk = Walk(model, data)
    walk.past(node(model, "g0"))
    walk.past(node(model, "z"))
    for at, wanted in enumerate(everything(model, data, "z")):
        np.testing.assert_allclose(walk.held(node(model, "z").output, at), wanted, atol=1e-5)


def test_what_nobody_reads_any_more_is_let_go() -> None:
    model = residual()
    walk = Walk(model, data_for(model))
    read = node(model, "c1").inputs[0]
    walk.before(node(model, "c1"))
    walk.held(read, 0)
    walk.past(node(model, "sum"))
    with pytest.raises(KeyError):
        walk.held(read, 0)
    assert not walk.has(model.graph.inputs[0])


def test_what_only_a_body_that_was_run_read_is_let_go() -> None:
    b = Builder()
    h = b.op("Gemm", b.input("x", ["n", 4]), b.weight(4, 4), to="g0")
    bodies = []
    for op in ("Relu", "Neg"):
        inner = Builder()
        inner.output(inner.op(op, h, to=f"{op}_out"), ["n", 4])
        bodies.append(inner.graph(op))
    flag = b.input("flag", [], 9)
    b.op("If", flag, to="y", then_branch=bodies[0], else_branch=bodies[1])
    b.output(b.op("Gemm", "y", b.weight(4, 2), to="z"), ["n", 2])
    model = b.model()
    walk = Walk(model, data_for(model))
    walk.before(node(model, "y"))
    assert walk.has(node(model, "g0").output)
    walk.past(node(model, "y"))
    assert not walk.has(node(model, "g0").output)


@pytest.mark.parametrize("sorts", [False, True])
def test_nodes_that_are_put_in_ahead_are_run(sorts: bool) -> None:
    model = residual()
    data = data_for(model)
    walk = Walk(model, data)
    walk.before(node(model, "c1"))
    reader = node(model, "c2")
    extra = model.graph.add_op("Neg", [reader.inputs[0]], name="negated")
    reader.set_input(0, extra.output)
    if sorts:
        model.sort()
    (ahead,) = list(walk.peek([extra.output]))[:1]
    walk.before(reader)
    (before,) = everything(residual(), InMemory(data.batches[:1]), "sum")
    np.testing.assert_allclose(walk.held(extra.output, 0), -before, atol=1e-6)
    np.testing.assert_allclose(ahead[extra.output.name], -before, atol=1e-6)


def test_nodes_that_were_taken_out_ahead_are_not_run() -> None:
    model = residual()
    data = data_for(model)
    walk = Walk(model, data)
    walk.before(node(model, "c1"))
    gone, wanted = node(model, "c1"), node(model, "r0").output
    edit.replace(gone.output, wanted)
    model.graph.remove(gone)
    walk.before(node(model, "c2"))
    (before,) = everything(residual(), InMemory(data.batches[:1]), "r0")
    np.testing.assert_allclose(walk.held(node(model, "sum").output, 0), 2 * before, atol=1e-6)


def test_a_node_in_place_of_another_is_no_reason_to_run_what_comes_later() -> None:
    model = residual()
    walk = Walk(model, data_for(model))
    walk.before(node(model, "c1"))
    first = node(model, "c1")
    behind = model.graph.add_op("Neg", [first.output], name="behind")
    node(model, "sum").set_input(0, behind.output)
    walk.past(first)
    assert walk.ahead(behind)
    walk.before(node(model, "c2"))
    assert not walk.ahead(behind)

"""Edits that passes are made of."""

from __future__ import annotations

import numpy as np

from ocompress.ir import Graph, edit
from tests.build import Builder
from tests.contract.harness import check


def test_to_constants_keeps_names_and_readers() -> None:
    b = Builder()
    b.ops("Split", [b.input("x", [4])], ["left", "right"])
    b.op("Neg", "left", to="y")
    b.output("y", [2])
    b.output("right", [2])
    model = b.model()
    halves = [np.ones(2, np.float32), np.zeros(2, np.float32)]
    edit.to_constants(model.graph.nodes[0], halves)
    model.sort()
    check(model)
    assert list(model.graph.initializers) == ["left"]
    assert {n.op_type for n in model.graph.nodes} == {"Neg", "Constant"}
    assert [v.name for v in model.graph.outputs] == ["y", "right"]


def test_inline_body_renames_what_is_taken() -> None:
    inner = Builder()
    inner.op("Sin", "x", to="h")
    inner.output("h", [2])
    other = Builder()
    other.op("Cos", "x", to="h")
    other.output("h", [2])
    b = Builder()
    b.input("x", [2])
    b.const(np.asarray(True), "c")
    b.op("If", "c", to="y", then_branch=inner.graph(), else_branch=other.graph())
    b.output("y", [2])
    model = b.model()
    edit.inline_body(model.graph.nodes[0], "then_branch")
    model.sort()
    check(model)
    assert [(n.op_type, n.output.name) for n in model.graph.nodes] == [("Sin", "y")]


def test_outer_value_returned_by_a_body_is_not_replaced() -> None:
    b = Builder()
    h = b.op("Neg", b.input("x", [2]))
    b.op("Identity", h, to="copy")
    b.op("Relu", "copy", to="y")
    b.output("y", [2])
    model = b.model()
    copy = model.graph.nodes[1].output
    body = Graph("body", model.graph.names)
    body.set_outputs([copy])
    assert not edit.can_replace(copy, model.graph.nodes[0].output)
    body.set_outputs([])
    assert edit.can_replace(copy, model.graph.nodes[0].output)


def test_what_is_unread_goes_with_what_only_it_read() -> None:
    b = Builder()
    x = b.input("x", ["n", 4])
    kept = b.op("Mul", x, b.const(np.float32(2), "shared"), to="kept")
    made = b.op("Add", b.op("Mul", kept, "shared", to="scaled"), b.weight(4), to="made")
    b.op("Neg", x, to="elsewhere")
    b.output(b.op("Relu", kept, to="y"), ["n", 4])
    model = b.model()
    found = {n.label: n for n in model.graph.nodes}
    assert edit.remove_unread(found["kept"]) == 0  # it is read
    assert edit.remove_unread(found[made]) == 3  # two nodes and a constant
    assert [n.label for n in model.graph.nodes] == ["kept", "elsewhere", "y"]
    assert list(model.graph.initializers) == ["shared"]
    assert edit.remove_dead(model.graph) == 1

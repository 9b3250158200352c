"""What no gradient reaches, and what is said about it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from onnx import TensorProto as T

from tests.analysis.gradients.test_sweep import sweep
from tests.build import Builder, feeds
from tests.graphs import ZOO

F = np.float32
Answer = tuple[set[str], dict[str, str]]


def ask(build: Callable[[Builder, str], None], *names: str, opset: int = 18) -> Answer:
    b = Builder()
    build(b, b.input("x", ["n", 6]))
    model = b.model(opset)
    seen, missing = sweep(model, list(names), [feeds(model)])
    return {n for n, _, _ in seen}, missing


def test_an_operator_without_a_rule_stops_what_is_before_it() -> None:
    def build(b: Builder, x: str) -> None:
        h = b.op("Tanh", x, to="before")
        b.op("Exp", b.op("Round", h, to="round"), to="y")
        b.output("y")

    seen, missing = ask(build, "x", "before", "round", "y")
    assert seen == {"round", "y"}
    why = "no gradient passes through Round 'round': no rule is known."
    assert missing == {"x": why, "before": why}


def test_one_path_that_is_cut_takes_the_whole_gradient() -> None:
    def build(b: Builder, x: str) -> None:
        h = b.op("Tanh", x, to="h")
        left, right = b.op("Exp", h, to="left"), b.op("Floor", h, to="right")
        b.op("Add", left, right, to="y")
        b.output("y")

    seen, missing = ask(build, "x", "h", "left", "right")
    assert seen == {"left", "right"}
    assert set(missing) == {"x", "h"}


def test_shapes_comparisons_and_integer_outputs_are_no_paths() -> None:
    def build(b: Builder, x: str) -> None:
        h = b.op("Tanh", x, to="h")
        big = b.op("Greater", h, b.const(F(0)))
        masked = b.op("Where", big, h, b.const(F(0)))
        b.op("Reshape", masked, b.op("Shape", h), to="y")
        b.op("ArgMax", h, to="best", axis=1)
        b.output("y")
        b.output("best", None, T.INT64)

    seen, missing = ask(build, "x", "h")
    assert seen == {"x", "h"}
    assert missing == {}


def test_a_path_through_integers_is_named() -> None:
    def build(b: Builder, x: str) -> None:
        h = b.op("Mul", x, b.const(F(100)), to="h")
        b.ops("Cast", [h], ["whole"], to=T.INT32)
        b.ops("Cast", ["whole"], ["back"], to=T.FLOAT)
        b.op("Add", h, "back", to="y")
        b.output("y")

    seen, missing = ask(build, "x", "h", "back", "whole")
    assert seen == {"back"}
    assert missing["h"] == "no gradient passes through Cast 'whole': it converts to integers."
    assert missing["whole"] == "'whole' is not of a float type."


def test_names_that_are_no_values_to_differentiate_by() -> None:
    def build(b: Builder, x: str) -> None:
        b.const(np.ones(6, F), "w")
        b.op("Exp", x, to="aside")
        b.op("ArgMax", "aside", to="best", axis=1)
        b.op("Mul", x, "w", to="y")
        b.output("y")
        b.output("best", None, T.INT64)

    seen, missing = ask(build, "w", "nowhere", "aside")
    assert seen == set()
    assert missing == {
        "w": "'w' does not depend on what is fed.",
        "nowhere": "'nowhere' is not in the model.",
        "aside": "no float output depends on 'aside'.",
    }


def test_weights_that_are_computed_from_the_data() -> None:
    def build(b: Builder, x: str) -> None:
        image = b.op("Reshape", x, b.const(np.array([3, 1, 2, 3], np.int64)), to="image")
        kernel = b.op("Slice", image, *(b.const(np.array([v], np.int64)) for v in (0, 1, 0)))
        b.op("Conv", image, kernel, to="y")
        b.output("y")

    seen, missing = ask(build, "x", "image")
    assert seen == set()
    assert (
        missing["x"]
        == "no gradient passes through Conv 'y': its input 1 is computed from the data."
    )


def test_a_form_that_a_rule_does_not_know() -> None:
    def build(b: Builder, x: str) -> None:
        b.op("LpNormalization", x, to="y", p=1)
        b.output("y")

    seen, missing = ask(build, "x")
    assert seen == set()
    assert missing == {
        "x": "no gradient passes through LpNormalization 'y': only the 2-norm has a rule."
    }


def test_control_flow() -> None:
    model = ZOO["if_bodies"]()
    seen, missing = sweep(model, ["x", "h1", "z"], [feeds(model)])
    assert {n for n, _, _ in seen} == {"z"}
    assert missing["x"] == "no gradient passes through If 'z': it is control flow."
    assert missing["h1"] == "'h1' is in a body of control flow."


def test_integer_inputs() -> None:
    model = ZOO["embedding"]()
    gathered = model.graph.nodes[0].output.name
    seen, missing = sweep(model, ["ids", gathered], [feeds(model)])
    assert {n for n, _, _ in seen} == {gathered}
    assert missing == {"ids": "'ids' is not of a float type."}

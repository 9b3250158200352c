"""Limits where outputs lose in several units: each is held against what its own unit may lose."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto as T

import ocompress
from ocompress.ir import Model
from ocompress.validation import AccuracyGuard, LossUnit
from ocompress.validation.result import Interval, Loss
from ocompress.validation.unit_limits import DropLimit
from tests.build import Builder, InMemory

ROWS = np.random.default_rng(0).standard_normal((400, 24)).astype(np.float32)


def net(classes: float = 0, numbers: float = 0, *, scores: bool = False) -> Model:
    """Classes beside a regression of three numbers, each with noise of its own in the weights."""
    b = Builder(1)
    wide, narrow = b.rng.standard_normal((24, 10)) * 2, b.rng.standard_normal((24, 3))
    noise = np.random.default_rng(7)
    wide = (wide + classes * noise.standard_normal(wide.shape)).astype("f4")
    narrow = (narrow + numbers * noise.standard_normal(narrow.shape)).astype("f4")
    x = b.input("x", ["n", 24])
    h = b.op("MatMul", x, b.const(wide))
    if scores:
        b.op("Softmax", h, axis=-1, to="class")
    else:
        b.op("ArgMax", h, axis=-1, keepdims=0, to="class")
    b.output("class", ["n", 10] if scores else ["n"], T.FLOAT if scores else T.INT64)
    b.op("Tanh", b.op("MatMul", x, b.const(narrow)), to="numbers")
    b.output("numbers", ["n", 3])
    return b.model()


def samples() -> InMemory:
    return InMemory([{"x": ROWS[i : i + 100]} for i in range(0, 400, 100)])


def lost(model: Model) -> dict[str, float]:
    found = ocompress.validate(net(), model, {"x": ROWS}).levels[0]
    return {o.losses[0].unit: o.losses[0].drop.value for o in found.outputs}


CLASSES, NUMBERS = net(0.1), net(0, 0.09)
"""Two to four points are lost of the first output alone, and of the second alone."""


def test_the_nets_lose_what_they_should() -> None:
    assert 0.02 < lost(CLASSES)["agreement"] < 0.04
    assert lost(CLASSES)["error"] == 0
    assert 0.02 < lost(NUMBERS)["error"] < 0.04
    assert lost(NUMBERS)["agreement"] == 0


@pytest.mark.parametrize(("candidate", "held"), [(CLASSES, True), (NUMBERS, False)])
def test_by_default_each_unit_has_a_limit_of_its_own(candidate: Model, *, held: bool) -> None:
    """Neither is the numbers' limit as wide as that of agreement, nor the other way round."""
    model = net()
    guard = AccuracyGuard(model, samples(), 0.01, default=True)
    verdict = guard.judge(candidate, model)
    assert verdict.held is held
    found = ocompress.validate(model, candidate, {"x": ROWS})
    assert found.passed is held
    noun, unit = ("agreement", "agreement") if held else ("explained variance", "error")
    assert verdict.message.startswith(f"{noun} fell by {lost(candidate)[unit]:.4f} ")
    assert ("0.05 allowed" if held else "0.01 allowed") in verdict.message


def test_the_limit_of_each_unit_is_said() -> None:
    model = net()
    guard = AccuracyGuard(model, samples(), 0.01, default=True)
    assert guard.meaning == (
        "at most 1 point of explained variance, and 5 points of agreement "
        "(the default; set another with --max-drop)"
    )
    assert guard.currency == "explained variance (or 5 of agreement)"
    asked = AccuracyGuard(model, samples(), 0.01)
    assert asked.meaning == "at most 1 point of agreement or explained variance"
    assert asked.currency == asked.noun == "agreement or explained variance"


def test_a_limit_that_is_given_is_one_for_all_units() -> None:
    model = net()
    guard = AccuracyGuard(model, samples(), 0.015)
    assert not guard.judge(CLASSES, model).held
    assert not guard.judge(NUMBERS, model).held
    assert not ocompress.validate(model, CLASSES, {"x": ROWS}, max_drop=0.015).passed


def test_figures_are_in_the_unit_that_may_lose_least() -> None:
    model = net()
    guard = AccuracyGuard(model, samples(), 0.01, default=True)
    figures = guard.judge(CLASSES, model).figures
    assert figures["drop"] == pytest.approx(lost(CLASSES)["agreement"] / 5)
    assert figures["limit"] == pytest.approx(0.01)
    again = guard.again(figures)
    assert again is not None
    assert again.held
    assert again.figures == figures
    guard.close(type("P", (), {"numerics": None})(), CLASSES, guard.judge(CLASSES, model))
    assert guard._used == pytest.approx(figures["drop"])


def test_expected_accuracy_keeps_its_reserve_beside_other_units() -> None:
    model = net(scores=True)
    guard = AccuracyGuard(model, samples(), 0.04)
    assert guard.meaning == (
        "at most 4 points of expected accuracy, of which half is kept as a reserve, and "
        "4 points of explained variance"
    )
    verdict = guard.judge(net(0, 0.09, scores=True), model)
    assert verdict.held
    assert "within the 0.04 allowed" in verdict.message
    assert not guard.judge(net(0.7, 0, scores=True), model).held
    assert guard.currency == "expected accuracy (or 2 of explained variance)"


def test_nothing_may_be_lost_of_any_unit() -> None:
    model = net()
    guard = AccuracyGuard(model, samples(), 0.0)
    assert guard.judge(model.clone(), model).held
    assert not guard.judge(CLASSES, model).held
    assert not guard.judge(NUMBERS, model).held


def test_what_is_no_number_is_the_worst() -> None:
    def loss(unit: LossUnit, value: float) -> Loss:
        return Loss("", unit.value, Interval(value, value, value, ""), 1)

    limit = DropLimit(0.01, default=True)
    nan, flips, error = (
        loss(LossUnit.AGREEMENT, float("nan")),
        loss(LossUnit.AGREEMENT, 0.04),
        loss(LossUnit.ERROR, 0.009),
    )
    assert limit.worst([flips, nan, error]) is nan
    assert limit.worst([flips, error]) is error
    assert limit.worst([]) is None

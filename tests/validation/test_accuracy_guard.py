"""The guard behind --max-drop."""

from __future__ import annotations

import numpy as np
import pytest

from ocompress.errors import DataError
from ocompress.ir import Model
from ocompress.validation import AccuracyGuard, Metric, validate
from ocompress.validation.accuracy_guard import Kind
from tests.build import Builder, InMemory
from tests.validation.nets import after, classifier, data, predictions

MODEL = classifier()
SHIFTED = after("Add", np.array([0.0, 0.4, 0.0], np.float32))


def agreement_of_shifted() -> float:
    agreement = validate(MODEL, SHIFTED, data()).levels[0].agreement
    assert agreement is not None
    return agreement.value


def test_agreement_is_that_of_validation() -> None:
    drop = 1 - agreement_of_shifted()
    assert 0 < drop < 0.5
    verdict = AccuracyGuard(MODEL, data(), drop).judge(SHIFTED, MODEL)
    assert verdict.held
    assert verdict.figures["drop"] == pytest.approx(drop)
    assert not AccuracyGuard(MODEL, data(), drop - 0.01).judge(SHIFTED, MODEL).held


def test_the_original_always_holds() -> None:
    labels = np.arange(40) % 3
    scored = Metric("m:f", lambda outputs, *_: outputs["y0"][:, 0])
    metrics: list[Kind | Metric] = ["agreement", "accuracy", scored]
    for metric in metrics:
        guard = AccuracyGuard(MODEL, data(labels=labels), 0.0, metric=metric)
        for _ in range(2):
            verdict = guard.judge(MODEL.clone(), MODEL)
            assert (verdict.held, verdict.figures["drop"]) == (True, 0.0)


def test_accuracy_may_rise() -> None:
    labels = predictions(SHIFTED, data())
    verdict = AccuracyGuard(MODEL, data(labels=labels), 0.0, metric="accuracy").judge(
        SHIFTED, MODEL
    )
    assert verdict.held
    assert verdict.figures["drop"] == pytest.approx(agreement_of_shifted() - 1)
    falling = AccuracyGuard(SHIFTED, data(labels=labels), 0.01, metric="accuracy")
    assert not falling.judge(MODEL, MODEL).held


def test_the_users_metric_decides() -> None:
    metric = Metric("m:f", lambda outputs, *_: outputs["y0"][:, 1])
    candidate = after("Sub", np.float32(0.25))
    verdict = AccuracyGuard(MODEL, data(), 0.3, metric=metric).judge(candidate, MODEL)
    assert verdict.held
    assert verdict.figures["drop"] == pytest.approx(0.25, abs=1e-6)
    assert "m:f fell by 0.2500" in verdict.message
    assert not AccuracyGuard(MODEL, data(), 0.2, metric=metric).judge(candidate, MODEL).held


def test_nan_and_failure_are_refused() -> None:
    guard = AccuracyGuard(MODEL, data(), 0.01)
    assert not guard.judge(after("Sqrt"), MODEL).held
    verdict = guard.judge(after("Reshape", np.array([5, 3])), MODEL)
    assert not verdict.held
    assert "does not run any more" in verdict.message


def test_the_least_agreeing_output_counts() -> None:
    two = classifier(outputs=2)
    swapped = two.clone()
    for node in swapped.graph.nodes[1:]:
        node.set_input(2, swapped.graph.constant("b", np.array([9, 0, 0], np.float32)))
    verdict = AccuracyGuard(two, data(), 0.1).judge(swapped, two)
    assert not verdict.held
    assert verdict.figures["drop"] > 0.3


def test_probabilities_are_cut_at_one_half() -> None:
    def build(bias: float) -> Model:
        b = Builder()
        h = b.op("ReduceMean", b.input("x", ["n", 4]), axes=[1], keepdims=1)
        h = b.op("Add", b.op("Sigmoid", h), b.const(np.float32(bias)))
        b.op("Clip", h, b.const(np.float32(0)), b.const(np.float32(1)), to="y")
        b.output("y", ["n", 1])
        return b.model()

    reference, candidate = build(0.0), build(-0.3)
    verdict = AccuracyGuard(reference, data(), 0.2).judge(candidate, reference)
    assert verdict.figures["drop"] > 0.2


def test_accuracy_needs_labels_that_fit() -> None:
    with pytest.raises(DataError, match="no class ids"):
        AccuracyGuard(MODEL, data(), 0.1, metric="accuracy")
    with pytest.raises(DataError, match=r"labels \[8, 7\], outputs y0 \[8, 3\]"):
        AccuracyGuard(MODEL, data(labels=np.zeros((40, 7), int)), 0.1, metric="accuracy")


def test_feeds_of_one_sample_each() -> None:
    one = InMemory([{"x": f["x"][i : i + 1]} for f in data() for i in range(8)])
    verdict = AccuracyGuard(MODEL, one, 0.5).judge(SHIFTED, MODEL)
    assert verdict.figures["drop"] == pytest.approx(1 - agreement_of_shifted())

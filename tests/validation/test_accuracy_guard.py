"""The guard behind --max-drop."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from ocompress.errors import DataError
from ocompress.pipeline import Numerics, Outcome, Pass, Verdict, option
from ocompress.runtime import Session
from ocompress.validation import AccuracyGuard, Metric, validate
from ocompress.validation.drops import Drop, Meter
from ocompress.validation.loss_meter import LossMeter
from ocompress.validation.meters import LastMeter
from ocompress.validation.result import Interval
from ocompress.validation.unit_limits import DropLimit
from tests.build import Builder, InMemory
from tests.counting import counting
from tests.validation.nets import after, classifier, data, heads, predictions


class Lossy(Pass):
    """Does nothing, at any strength."""

    name = "lossy"
    numerics = Numerics.LOSSY
    goals = ("strength",)
    strength: int = option(1, help="How much.")

    def run(self, *_: object) -> Outcome:
        return Outcome()


MODEL = classifier()
SHIFTED = after("Add", np.array([0.0, 0.4, 0.0], np.float32))


def agreement_of_shifted() -> float:
    agreement = validate(MODEL, SHIFTED, data()).levels[0].agreement
    assert agreement is not None
    return agreement.value


def test_agreement_is_that_of_validation() -> None:
    drop = 1 - agreement_of_shifted()
    assert 0 < drop < 0.5
    verdict = AccuracyGuard(MODEL, data(), 0.15, metric="agreement").judge(SHIFTED, MODEL)
    assert verdict.held
    assert verdict.figures["drop"] == pytest.approx(drop)
    tight = AccuracyGuard(MODEL, data(), drop - 0.01, metric="agreement")
    assert not tight.judge(SHIFTED, MODEL).held


def test_expected_accuracy_is_what_the_probabilities_say() -> None:
    x = np.concatenate([f["x"] for f in data(4000)])
    logits, shifted = (Session(m).run({"x": x})["y0"] for m in (MODEL, SHIFTED))
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    lost = p.max(1) - p[np.arange(len(p)), shifted.argmax(1)]
    verdict = AccuracyGuard(MODEL, data(4000), 0.5).judge(SHIFTED, MODEL)
    assert verdict.figures["drop"] == pytest.approx(lost.mean(), rel=0.1)
    assert 0 < lost.mean() < 1 - agreement_of_shifted()
    assert "expected accuracy fell" in verdict.message
    found = validate(MODEL, SHIFTED, data(4000)).levels[0].loss
    assert found is not None
    assert (found.unit, found.count) == ("expected", 4000)
    assert found.drop.value == verdict.figures["drop"]


@pytest.mark.parametrize(("metric", "most"), [("agreement", 2.0), ("expected", 1.0)])
def test_the_bound_may_be_twice_what_may_be_spent_and_no_more(metric: str, most: float) -> None:
    def held(limit: float, confidence: float | None = None) -> Verdict:
        guard = AccuracyGuard(MODEL, data(), limit, metric=metric, confidence=confidence)
        return guard.judge(SHIFTED, MODEL)

    seen = held(1.0).figures
    assert seen["drop"] < 0.9 * seen["high"] / 2  # the bound is what decides
    assert held(seen["high"] / most * 1.01).held
    assert not held(seen["high"] / most * 0.99).held
    assert held(seen["high"] * 1.01, 0.95).held
    verdict = held(seen["high"] * 0.99, 0.95)
    assert not verdict.held
    assert "it may be more than" in verdict.message
    assert f"which the limit of {verdict.figures['limit']:.4g} rules out" in verdict.message


def test_half_a_limit_that_no_label_confirms_is_a_reserve() -> None:
    drop = AccuracyGuard(MODEL, data(4000), 1.0).judge(SHIFTED, MODEL).figures["drop"]
    guard = AccuracyGuard(MODEL, data(4000), 2 * drop * 1.01)
    assert guard.judge(SHIFTED, MODEL).held
    assert "half is kept as a reserve" in guard.meaning
    assert not AccuracyGuard(MODEL, data(4000), 2 * drop * 0.99).judge(SHIFTED, MODEL).held
    labels = predictions(MODEL, data(4000))
    known = AccuracyGuard(MODEL, data(4000, labels=labels), 0.2)
    spent = known.judge(SHIFTED, MODEL).figures["drop"]
    known = AccuracyGuard(MODEL, data(4000, labels=labels), spent)
    assert known.judge(SHIFTED, MODEL).held
    assert "reserve" not in known.meaning


def test_all_there_is_to_lose_is_no_limit_and_said_to_be_none() -> None:
    guard = AccuracyGuard(MODEL, data(), 1.0)
    assert guard.meaning.startswith("none: --max-drop 1 is all 100 points of expected accuracy")
    assert guard.limit == 1.0
    assert AccuracyGuard(MODEL, data(), 0.5).limit == 0.25


def test_numbers_and_nouns_agree() -> None:
    guard = AccuracyGuard(MODEL, data(1), 0.01)
    assert "1 held-out sample cannot show" in guard.too_few
    assert "by at most 1 point," in guard.too_few
    assert "at most 2 points of" in AccuracyGuard(MODEL, data(), 0.02).meaning


def test_too_few_samples_are_said_in_numbers() -> None:
    guard = AccuracyGuard(MODEL, data(), 0.01, metric="agreement")
    assert "that takes 133 held-out samples" in guard.too_few
    assert guard.judge(MODEL.clone(), MODEL).held
    with pytest.raises(DataError, match="that takes 268 held-out samples"):
        AccuracyGuard(MODEL, data(), 0.01, metric="agreement", confidence=0.95)
    assert AccuracyGuard(MODEL, data(133), 0.01, metric="agreement").too_few == ""


def test_labels_of_some_samples_correct_an_original_that_is_too_sure() -> None:
    sharp = after("Mul", np.float32(8))
    labels = np.full(400, -1)
    x = np.concatenate([f["x"] for f in data(400)])
    logits = Session(MODEL).run({"x": x})["y0"]
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    rng = np.random.default_rng(0)
    labels[:300] = [rng.choice(3, p=row) for row in p[:300]]
    shifted = after("Mul", np.float32(8))
    shifted.graph.nodes[0].set_input(
        2, shifted.graph.constant("b", np.array([0.4, 0.2, -1.0], np.float32))
    )
    plain, corrected = (
        AccuracyGuard(sharp, data(400, labels=given), 1.0, metric="expected")
        .judge(shifted, sharp)
        .figures["drop"]
        for given in (None, labels)
    )
    calm = AccuracyGuard(MODEL, data(400), 1.0, metric="expected")
    wanted = calm.judge(shifted, MODEL).figures["drop"]
    assert abs(corrected - wanted) < 0.15 * abs(plain - wanted)


def test_passes_share_the_limit() -> None:
    guard = AccuracyGuard(MODEL, data(), 0.3, metric="agreement")
    first, second, third = Lossy(), Lossy(), Lossy()
    guard.open(first, MODEL, [second, third])
    assert guard.limit == pytest.approx(0.1)
    guard.close(first, MODEL, Verdict(True, "max-drop", "", {"drop": 0.04}))
    guard.open(second, MODEL, [third])
    assert guard.limit == pytest.approx(0.04 + 0.13)
    guard.close(second, MODEL, None)  # it was refused and has spent nothing
    guard.open(third, MODEL, [])
    assert guard.limit == pytest.approx(0.3)


def test_what_a_pass_gains_the_next_one_does_not_owe() -> None:
    guard = AccuracyGuard(MODEL, data(), 0.3, metric="agreement")
    guard.open(Lossy(), MODEL, [Lossy()])
    guard.close(Lossy(), MODEL, Verdict(True, "max-drop", "", {"drop": -0.4}))
    guard.open(Lossy(), MODEL, [])
    assert guard.limit == pytest.approx(0.3)


def test_a_goal_takes_all_that_is_left() -> None:
    guard = AccuracyGuard(MODEL, data(), 0.3, metric="agreement")
    aimed = Lossy(strength=2)
    assert aimed.has_goal
    guard.open(aimed, MODEL, [Lossy()])
    assert guard.limit == pytest.approx(0.3)
    guard.open(Lossy(), MODEL, [aimed])
    assert guard.limit == pytest.approx(0.3)


def test_the_default_limit_is_not_for_passes_with_a_goal() -> None:
    guard = AccuracyGuard(MODEL, data(), 0.01, metric="agreement", default=True)
    aimed = Lossy(strength=2)
    assert not guard.applies_to(aimed)
    assert guard.applies_to(Lossy())
    guard.close(aimed, SHIFTED, None)
    lost = 1 - agreement_of_shifted()
    guard.open(Lossy(), SHIFTED, [])
    assert guard.limit == pytest.approx(lost + 0.05)  # five times that of accuracy
    assert guard.judge(SHIFTED, SHIFTED).held
    assert "the default" in guard.meaning


def test_the_original_always_holds() -> None:
    labels = np.arange(40) % 3
    scored = Metric("m:f", lambda outputs, *_: outputs["y0"][:, 0])
    metrics: list[str | Metric] = ["auto", "agreement", "accuracy", scored]
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


def test_each_unit_is_measured_and_named() -> None:
    far = after("Mul", np.array([1, -1, 1], np.float32))
    x = np.concatenate([f["x"] for f in data()])
    a, b = (Session(m).run({"x": x})["y0"].astype(np.float64) for m in (MODEL, far))
    cosine = 1 - (a * b).sum(1) / np.sqrt((a * a).sum(1) * (b * b).sum(1))
    wanted = {
        "cosine": cosine.mean(),
        "error": np.square(a - b).mean() / a.var(axis=0, ddof=1).mean(),
    }
    for metric, drop in wanted.items():
        guard = AccuracyGuard(MODEL, data(), 9.0, metric=metric)
        assert guard.judge(far, MODEL).figures["drop"] == pytest.approx(drop, rel=1e-5)
    with pytest.raises(DataError, match="metric 'expected' fits no output of the model"):
        AccuracyGuard(heads("e", last="Tanh"), data(), 0.1, metric="expected")


def test_nan_and_failure_are_refused() -> None:
    guard = AccuracyGuard(MODEL, data(), 0.01)
    assert not guard.judge(after("Sqrt"), MODEL).held
    verdict = guard.judge(after("Reshape", np.array([5, 3])), MODEL)
    assert not verdict.held
    assert "no longer runs" in verdict.message


def test_the_least_agreeing_output_counts() -> None:
    two = classifier(outputs=2)
    swapped = two.clone()
    for node in swapped.graph.nodes[1:]:
        node.set_input(2, swapped.graph.constant("b", np.array([9, 0, 0], np.float32)))
    verdict = AccuracyGuard(two, data(), 0.1, metric="agreement").judge(swapped, two)
    assert not verdict.held
    assert verdict.figures["drop"] > 0.3


def test_accuracy_needs_labels_that_fit() -> None:
    with pytest.raises(DataError, match="no class ids"):
        AccuracyGuard(MODEL, data(), 0.1, metric="accuracy")
    with pytest.raises(DataError, match=r"labels \[8, 7\], outputs y0 \[8, 3\]"):
        AccuracyGuard(MODEL, data(labels=np.zeros((40, 7), int)), 0.1, metric="accuracy")


def test_feeds_of_one_sample_each() -> None:
    one = InMemory([{"x": f["x"][i : i + 1]} for f in data() for i in range(8)])
    verdict = AccuracyGuard(MODEL, one, 0.5, metric="agreement").judge(SHIFTED, MODEL)
    assert verdict.figures["drop"] == pytest.approx(1 - agreement_of_shifted())


def test_probabilities_that_take_themselves_to_be_wrong_are_not_believed() -> None:
    flat, moved = after("Mul", np.float32(0.2)), after("Add", np.array([0, 0.4, 0], np.float32))
    moved.graph.nodes[-1].set_input(1, moved.graph.constant("c", np.array([0, 0.5, 0], np.float32)))
    guard = AccuracyGuard(flat, data(), 0.5)
    assert guard.noun == "agreement"
    (why,) = guard.reasons
    assert why.endswith(
        "is counted by agreement: scores of 3 classes, none of which is likely as a rule"
    )
    verdict = guard.judge(moved, flat)
    plain = AccuracyGuard(flat, data(), 0.5, metric="agreement").judge(moved, flat)
    assert verdict.figures["drop"] == plain.figures["drop"] > 0
    asked = AccuracyGuard(flat, data(), 0.5, metric="expected").judge(moved, flat)
    assert asked.figures["drop"] < 0.3 * plain.figures["drop"]


@pytest.mark.parametrize(("likely", "noun"), [(0.36, "expected accuracy"), (0.28, "agreement")])
def test_a_third_is_much_among_a_hundred_classes(likely: float, noun: str) -> None:
    classes = 100
    scores = np.eye(classes, dtype=np.float32) * np.float32(np.log(likely / (1 - likely) * 99))
    b, weight = Builder(), np.eye(classes, dtype=np.float32) - np.float32(1 / classes)
    b.op("MatMul", b.input("x", ["n", classes]), b.const(weight), to="y")
    b.output("y", ["n", classes])
    assert AccuracyGuard(b.model(), InMemory([{"x": scores}]), 0.5).noun == noun


def test_what_is_lost_on_samples_fitted_to_counts_too() -> None:
    half = data().take(1)
    alone = AccuracyGuard(MODEL, half, 1.0, metric="agreement").judge(SHIFTED, MODEL)
    others = AccuracyGuard(MODEL, data(), 1.0, metric="agreement").judge(SHIFTED, MODEL)
    low, high = sorted((alone.figures["drop"], others.figures["drop"]))
    assert low < high
    judged, fitted = (half, data()) if alone.figures["drop"] == low else (data(), half)
    limit = 0.99 * high
    lenient = AccuracyGuard(MODEL, judged, limit, metric="agreement").judge(SHIFTED, MODEL)
    assert lenient.held
    strict = AccuracyGuard(MODEL, judged, limit, metric="agreement", fitted=fitted)
    verdict = strict.judge(SHIFTED, MODEL)
    assert not verdict.held
    assert "on samples it was fitted to" in verdict.message
    assert verdict.figures["drop"] == pytest.approx(high)
    assert strict.judge(MODEL, MODEL).held


def test_samples_fitted_to_are_counted_as_those_that_judge() -> None:
    """The original is not sure of them, but what a decision is worth was settled before."""
    flat, other = after("Mul", np.float32(0.2)), after("Mul", np.float32(0.1))
    clear = InMemory([{"x": f["x"] * np.float32(20)} for f in data()])
    assert LossMeter(flat, clear).noun == "expected accuracy"
    assert LossMeter(flat, data()).noun == "agreement"
    meter = LossMeter(flat, clear, fitted=data())
    drop = meter.drop(other, 0.95, DropLimit(1.0, units=meter.units))
    assert drop.fitted is not None
    assert drop.unit == drop.fitted.unit == "expected"


def test_the_refusal_names_the_unit_of_what_fitted_samples_lost() -> None:
    guard = AccuracyGuard(MODEL, data(), 0.5, metric="agreement", fitted=data())
    lost = Drop(Interval(0.75, 0.7, 0.8, "wilson"), "explained variance", 8, 0.0)
    same = Drop(Interval(0.0, 0.0, 0.06, "wilson"), "agreement", 40, 0.06, fitted=lost)
    vars(guard)["_meter"] = cast("Meter", SimpleNamespace(drop=lambda *_: same))
    message = guard.judge(MODEL, MODEL).message
    assert message.startswith("agreement fell by 0.0000")
    assert "but explained variance by 0.7500 on samples it was fitted to" in message


def test_what_clearly_lost_too_much_is_not_looked_at_any_farther_until_it_may_hold() -> None:
    guard = AccuracyGuard(MODEL, data(), 0.005, metric="agreement", fitted=data(80))
    refused = guard.judge(SHIFTED, MODEL)
    assert not refused.held
    assert "seen" not in refused.figures
    assert guard.again(refused.figures) == refused
    wide = AccuracyGuard(MODEL, data(), 0.9, metric="agreement", fitted=data(80))
    assert wide.again(refused.figures) is None  # it takes a look
    assert "seen" in wide.judge(SHIFTED, MODEL).figures


def test_samples_fitted_to_need_no_labels() -> None:
    labels = np.zeros(data().samples, np.int64)
    labelled, plain = data(labels=labels), data()
    guard = AccuracyGuard(MODEL, labelled, 1.0, metric="accuracy", fitted=plain)
    alone = AccuracyGuard(MODEL, labelled, 1.0, metric="accuracy")
    assert guard.judge(SHIFTED, MODEL) == alone.judge(SHIFTED, MODEL)


def test_the_same_model_is_run_once_however_often_it_is_asked_about(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loaded: list[int] = []
    load = Session.__init__

    def counted(self: Session, *args: Any, **kwargs: Any) -> None:
        loaded.append(1)
        load(self, *args, **kwargs)

    guard = AccuracyGuard(MODEL, data(), 1.0, metric="agreement", fitted=data(80))
    monkeypatch.setattr(Session, "__init__", counted)
    first, same = guard.judge(SHIFTED, MODEL), guard.judge(MODEL, MODEL)
    assert same.figures["value"] < first.figures["value"]
    runs = len(loaded)
    assert guard.judge(SHIFTED.clone(), MODEL) == first
    assert guard.judge(MODEL.clone(), MODEL) == same
    assert len(loaded) == runs == 3  # each model, and the original on what was fitted to


def test_other_data_than_those_judged_on_say_nothing_of_what_is_lost_on_these() -> None:
    found = []
    for fitted, alike in ((None, True), (data(400), True), (data(400), False)):
        guard = AccuracyGuard(MODEL, data(60), 1.0, fitted=fitted, alike=alike)
        found.append(guard.judge(SHIFTED, MODEL).figures)
    alone, drawn, other = (f["high"] for f in found)
    assert drawn < 0.95 * alone
    assert other == alone
    assert found[1]["seen"] == found[2]["seen"]


def test_guards_that_ask_for_the_same_run_the_original_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    meter, judged, fitted = LastMeter(), data(), data(80)

    def made(limit: float, metric: str = "auto", seen: InMemory = judged) -> tuple[Verdict, int]:
        with counting(monkeypatch) as counts:
            guard = AccuracyGuard(MODEL, seen, limit, metric=metric, fitted=fitted, meter=meter)
            return guard.judge(SHIFTED, MODEL), counts["sessions"]

    first, loaded = made(0.5)
    again, fewer = made(0.5)
    assert again == first
    assert (loaded, fewer) == (3, 1)  # the original on both samples, and the candidate
    assert made(0.001)[0].held is False  # another limit, the same meter
    assert made(0.5, "agreement")[1] == 3
    assert made(0.5, "agreement", data())[1] == 3
